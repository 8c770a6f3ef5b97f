"""The first labels of peers' names in the account's domain: what they are made of, and what keeps them apart."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address

from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom_management.errors import AlreadyExists, InvalidArgument

_LONGEST = 63
"""Characters of a label (RFC 1035 section 2.3.4)."""
_LONGEST_NAMED = 59
"""Characters that a name gives to a label, as NetBird's servers do."""
_EXTRA = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_LONGEST_EXTRA = 190
"""So that the account's domain fits behind it (RFC 1035 section 2.3.4: 255 in all)."""


def label_of(name: str) -> str:
    """Returns the label that a name asks for: of "Bob's PC.example.net" it is ``bob-s-pc``.

    It begins and ends with a letter or digit (RFC 1123 section 2.1).

    Raises:
        InvalidArgument: No character of the name can be in a label.
    """
    first = name.partition(".")[0]
    ascii_only = first if first.isascii() else f"xn--{first.encode('punycode').decode()}"
    label = re.sub(r"[^a-z0-9-]", "-", ascii_only.lower()).strip("-")[:_LONGEST_NAMED].rstrip("-")
    if not label:
        raise InvalidArgument(f"peer name {name!r} has no character that a DNS name may have")
    return label


def free_label(
    state: AccountState, name: str, ip: IPv4Address, besides: PeerID | None = None, *, marked: bool = False
) -> str:
    """The name's label, with the end of the address after it where another peer than ``besides`` has it.

    Neither is it an extra label of another peer. Where it is to be *marked*, the end of the address is always there.

    Raises:
        InvalidArgument: No character of the name can be in a label.
    """
    known = state.peers.get(besides) if besides is not None else None
    own = set() if known is None else {known.dns_label}
    own_extras = set() if known is None else set(known.extra_dns_labels)
    taken = state.taken

    def is_free(label: str) -> bool:
        others = taken.extras.get(label, 0) - (label in own_extras)
        return others == 0 and (label in own or label not in taken.labels)

    label = label_of(name)
    if not marked and is_free(label):
        return label
    octets = [str(octet) for octet in ip.packed]
    for ending in ("-".join(octets[2:]), "-".join(octets)):
        if is_free(candidate := _with_ending(label, ending)):
            return candidate
    number = 1
    while not is_free(candidate := _with_ending(label, str(number))):
        number += 1
    return candidate


def better_label(state: AccountState, peer: Peer) -> str:
    """Returns the label that a peer gets whose name is given once more: without an ending that nothing asks for now.

    The peer's own stays where it is a good one and the shorter is still taken, or must not be had.
    """
    if peer.dns_label == label_of(peer.name):
        return peer.dns_label
    wished = free_label(state, peer.name, peer.ip, besides=PeerID(peer.id), marked=peer.ephemeral)
    is_good = re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", peer.dns_label) is not None
    return wished if wished == label_of(peer.name) or not is_good else peer.dns_label


def _with_ending(label: str, ending: str) -> str:
    """Returns both in one label; of a long one the end is cut off."""
    return f"{label[: _LONGEST - 1 - len(ending)].rstrip('-')}-{ending}"


def extra_labels(state: AccountState, asked: Iterable[str]) -> tuple[str, ...]:
    """Further labels of a new peer, in lower case: names below the account's domain, also ``*.name``.

    Several peers may have the same, and a resolver then tells of all of them.

    Raises:
        InvalidArgument: One is not a DNS name.
        AlreadyExists: One is another machine's name.
    """
    labels = tuple(dict.fromkeys(label.lower() for label in asked))
    for label in labels:
        if not _EXTRA.fullmatch(label) or len(label) > _LONGEST_EXTRA:
            raise InvalidArgument(f"invalid DNS label {label!r}: write a name like web, a.web or *.web")
        if label in state.taken.labels:
            raise AlreadyExists(f"the extra DNS label {label!r} is the name of another machine: choose another label")
    return labels
