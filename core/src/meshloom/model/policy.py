"""Policies: who may reach what."""

from enum import StrEnum

import attrs

from meshloom.model.fields import reference
from meshloom.model.ids import AccountID, GroupID, PeerID, PolicyID


class Action(StrEnum):
    """What a rule does with matching traffic."""

    ACCEPT = "accept"
    DROP = "drop"


class Protocol(StrEnum):
    """The traffic that a rule speaks of."""

    ALL = "all"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    NETBIRD_SSH = "netbird-ssh"


@attrs.frozen
class PortRange:
    """Ports from ``start`` to ``end``, both included."""

    start: int
    end: int


@attrs.frozen
class Rule:
    """One sentence of a policy: sources may (or may not) reach destinations.

    Args:
        bidirectional: Destinations may reach the sources the same way.
        sources: Groups whose peers may connect.
        destinations: Groups whose peers may be connected to.
        source_peer: One peer instead of the source groups.
        destination_peer: One peer instead of the destination groups.
        ports: Single ports; empty for all (or for ``port_ranges``).
        authorized_groups: For SSH: which operating-system users the members of a group may become.
    """

    id: str
    name: str
    description: str = ""
    enabled: bool = True
    action: Action = Action.ACCEPT
    bidirectional: bool = True
    protocol: Protocol = Protocol.ALL
    ports: tuple[str, ...] = ()
    port_ranges: tuple[PortRange, ...] = ()
    sources: frozenset[GroupID] = frozenset()
    destinations: frozenset[GroupID] = frozenset()
    source_peer: PeerID | None = None
    destination_peer: PeerID | None = None
    authorized_groups: dict[GroupID, tuple[str, ...]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Policy:
    """A named, switchable list of rules."""

    id: PolicyID
    account_id: AccountID = reference("Account")
    name: str
    description: str = ""
    enabled: bool = True
    rules: tuple[Rule, ...] = ()
    source_posture_checks: tuple[str, ...] = ()
