"""The first labels of peers' names in the account's domain: what they are made of, and what keeps them apart."""

import re
from ipaddress import IPv4Address

from meshloom.model.ids import PeerID
from meshloom.model.state import AccountState
from meshloom_management.errors import InvalidArgument

_LONGEST = 59
"""Of 63 (RFC 1035 section 2.3.4); the rest is for what keeps equal names apart."""


def label_of(name: str) -> str:
    """The label that a name asks for: of "Bob's PC.example.net" it is ``bob-s-pc``.

    Raises:
        InvalidArgument: No character of the name can be in a label.
    """
    first = name.partition(".")[0]
    ascii_only = first if first.isascii() else f"xn--{first.encode('punycode').decode()}"
    label = re.sub(r"[^a-z0-9-]", "-", ascii_only.lower())[:_LONGEST]
    if not label.strip("-"):
        raise InvalidArgument(f"peer name {name!r} has no character that a DNS name may have")
    return label


def free_label(state: AccountState, name: str, ip: IPv4Address, besides: PeerID | None = None) -> str:
    """The name's label, with the end of the address after it where another peer than ``besides`` has it.

    Raises:
        InvalidArgument: No character of the name can be in a label.
    """
    known = state.peers.get(besides) if besides is not None else None
    taken = state.taken.labels - {known.dns_label} if known is not None else state.taken.labels
    label = label_of(name)
    if label not in taken:
        return label
    *_, third, fourth = ip.packed
    for candidate in (f"{label}-{third}-{fourth}", f"{label[:45]}-{'-'.join(map(str, ip.packed))}"):
        if candidate not in taken:
            return candidate
    number = 1
    while f"{label[:45]}-{number}" in taken:
        number += 1
    return f"{label[:45]}-{number}"
