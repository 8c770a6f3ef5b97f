"""Policies: what an administrator may write."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from meshloom.model.ids import GroupID, PeerID, PolicyID
from meshloom.model.policy import Action, Policy, PortRange, Protocol, Rule
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.errors import InvalidArgument, NotFound
from meshloom_management.operations.left_out import left_out
from meshloom_management.operations.names import checked_length, checked_name

_PORTS = range(1, 65536)
_WITHOUT_PORTS = {Protocol.ALL, Protocol.ICMP}


@attrs.frozen
class Target:
    """One thing in place of groups: ``type`` must be ``peer``."""

    id: str
    type: str


@attrs.frozen(kw_only=True)
class RuleWish:
    """What a rule shall be.

    Args:
        id: Of the rule that it replaces; None for a new one.
        sources: None where not given, which is not the same as an empty list.
        ports: Single ports, as text.
        port_ranges: First and last ports.
    """

    id: str | None
    name: str
    description: str
    enabled: bool
    action: str
    bidirectional: bool
    protocol: str
    ports: Sequence[str]
    port_ranges: Sequence[tuple[int, int]]
    sources: Sequence[str] | None
    destinations: Sequence[str] | None
    source_resource: Target | None
    destination_resource: Target | None
    authorized_groups: Mapping[str, Sequence[str]]


@attrs.frozen(kw_only=True)
class PolicyWish:
    """What a policy shall be."""

    name: str
    description: str
    enabled: bool
    rules: Sequence[RuleWish]
    posture_checks: Sequence[str] = ()


def create(draft: Draft, wish: PolicyWish) -> Policy:
    """Make a policy. Groups that there are not are left out of its rules.

    Raises:
        InvalidArgument: The wish breaks a rule.
    """
    return _put(draft, PolicyID(draft.new_id()), wish, None)


def update(draft: Draft, id: PolicyID, wish: PolicyWish) -> Policy:
    """Replace a policy.

    Raises:
        InvalidArgument: The wish breaks a rule.
        NotFound: There is no such policy.
    """
    _check(wish)
    return _put(draft, id, wish, existing(draft.state, id))


def delete(draft: Draft, id: PolicyID) -> None:
    """Remove a policy; the first one, of the account's beginning, too.

    Raises:
        NotFound: There is no such policy.
    """
    existing(draft.state, id)
    draft.delete(Policy, id)


def existing(state: AccountState, id: str) -> Policy:
    """The policy with that id.

    Raises:
        NotFound: There is none.
    """
    policy = state.policies.get(PolicyID(id))
    if policy is None:
        raise NotFound(f"policy: {id} not found")
    return policy


def left_out_of(state: AccountState, wish: PolicyWish) -> list[str]:
    """Returns sentences about what a policy names that there is not."""
    groups = [
        id
        for rule in wish.rules
        for ids in (rule.sources, rule.destinations, rule.authorized_groups)
        for id in ids or ()
    ]
    ends = [end.id for rule in wish.rules for end in (rule.source_resource, rule.destination_resource) if end]
    return [
        *left_out("groups", groups, state.groups),
        *left_out("peers", ends, state.peers),
        *left_out("posture checks", wish.posture_checks, ()),
    ]


def unenforced(policy: Policy) -> list[str]:
    """Returns a sentence where a policy's rules say more than who is connected with whom."""
    rules = [rule for rule in policy.rules if policy.enabled and rule.enabled]
    parts = {
        "ports": any(rule.ports or rule.port_ranges for rule in rules),
        "protocols": any(rule.protocol is not Protocol.ALL for rule in rules),
        "directions": any(not rule.bidirectional for rule in rules),
        "denials": any(rule.action is Action.DROP for rule in rules),
    }
    named = [name for name, is_there in parts.items() if is_there]
    if not named:
        return []
    ours = f"Meshloom's agents do not enforce {' and '.join(named)} yet, unlike NetBird's clients"
    return [f"{ours}: on them the peers of both sides reach each other in everything"]


def _put(draft: Draft, id: PolicyID, wish: PolicyWish, old: Policy | None) -> Policy:
    _check(wish)
    policy = Policy(
        id=id,
        account_id=draft.state.account.id,
        name=wish.name,
        description=wish.description,
        enabled=wish.enabled,
        rules=tuple(
            _rule(draft.state, rule, rule_id)
            for rule, rule_id in zip(wish.rules, _rule_ids(draft, id, wish.rules, old), strict=True)
        ),
    )
    draft.put(policy)
    return policy


def _rule_ids(draft: Draft, policy: PolicyID, rules: Sequence[RuleWish], old: Policy | None) -> list[str]:
    known = {rule.id for rule in old.rules} if old is not None else set()
    ids: list[str] = []
    for place, rule in enumerate(rules):
        if old is not None and rule.id:
            if rule.id not in known:
                raise InvalidArgument(f"invalid rule ID: {rule.id}")
            ids.append(rule.id)
        else:
            ids.append(str(policy) if place == 0 else draft.new_id())  # clients expect the first to be named so
    if len(set(ids)) != len(ids):
        raise InvalidArgument("a rule id is given twice")
    return ids


def _check(wish: PolicyWish) -> None:
    checked_name(wish.name, "policy")
    checked_length(wish.description, "policy description")
    if not wish.rules:
        raise InvalidArgument("policy rules shouldn't be empty")
    for rule in wish.rules:
        _check_rule(rule)


def _check_rule(rule: RuleWish) -> None:
    checked_length(rule.name, "rule name")
    checked_length(rule.description, "rule description")
    _check_ends(rule)
    if rule.action not in set(Action):
        raise InvalidArgument("unknown action type")
    if rule.protocol not in set(Protocol):
        raise InvalidArgument(f"unknown protocol type: {rule.protocol}")
    _check_ports(rule)
    ssh_users = rule.authorized_groups if rule.protocol == Protocol.NETBIRD_SSH else {}
    if ssh_users and not set(rule.sources or ()) <= set(ssh_users):
        raise InvalidArgument("authorized group for netbird-ssh protocol should be specified for each source group")


def _check_ends(rule: RuleWish) -> None:
    ends = (
        (rule.sources, rule.source_resource, "source"),
        (rule.destinations, rule.destination_resource, "destination"),
    )
    for groups, resource, what in ends:
        if groups and resource is not None:
            raise InvalidArgument(f"specify either {what}s or  {what} resources, not both")
        if resource is not None and resource.type != "peer":
            raise InvalidArgument(f"{what}Resource type {resource.type} is not offered by this server: use peer")
    if any(groups is None and resource is None for groups, resource, _ in ends):
        raise InvalidArgument("specify either sources or source resources and destinations or destination resources")


def _check_ports(rule: RuleWish) -> None:
    if rule.ports and rule.port_ranges:
        raise InvalidArgument("specify either individual ports or port ranges, not both")
    if (rule.ports or rule.port_ranges) and rule.protocol in _WITHOUT_PORTS:
        raise InvalidArgument("for ALL or ICMP protocol ports is not allowed")
    numbers: list[int | None] = [_number(port) for port in rule.ports]
    numbers += [port for both in rule.port_ranges for port in both]
    if any(number not in _PORTS for number in numbers):
        raise InvalidArgument("valid port value is in 1..65535 range")
    for first, last in rule.port_ranges:
        if first > last:
            raise InvalidArgument(f"port range {first}-{last} ends before it begins: write {last}-{first}")


def _number(port: str) -> int | None:
    return int(port) if port.isascii() and port.isdecimal() and len(port) <= len("65535") else None


def _rule(state: AccountState, wish: RuleWish, id: str) -> Rule:
    protocol = Protocol(wish.protocol)
    ssh = protocol is Protocol.NETBIRD_SSH
    return Rule(
        id=id,
        name=wish.name,
        description=wish.description,
        enabled=wish.enabled,
        action=Action(wish.action),
        bidirectional=wish.bidirectional,
        protocol=protocol,
        ports=tuple(wish.ports),
        port_ranges=tuple(PortRange(first, last) for first, last in wish.port_ranges),
        sources=_known(state, wish.sources or ()),
        destinations=_known(state, wish.destinations or ()),
        source_peer=PeerID(wish.source_resource.id) if wish.source_resource else None,
        destination_peer=PeerID(wish.destination_resource.id) if wish.destination_resource else None,
        authorized_groups={GroupID(group): tuple(names) for group, names in wish.authorized_groups.items()}
        if ssh
        else {},
    )


def _known(state: AccountState, groups: Iterable[str]) -> frozenset[GroupID]:
    return frozenset(GroupID(group) for group in groups if group in state.groups)
