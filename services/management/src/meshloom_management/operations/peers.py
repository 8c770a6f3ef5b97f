"""Peers: what an administrator may change of them."""

from ipaddress import AddressValueError, IPv4Address, IPv6Address

import attrs

from meshloom.model.group import Group
from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.errors import InvalidArgument, NotFound, PreconditionFailed
from meshloom_management.operations.addresses import reserved
from meshloom_management.operations.labels import better_label, free_label
from meshloom_management.operations.names import checked_name


@attrs.frozen(kw_only=True)
class PeerWish:
    """What a peer shall be.

    Args:
        ip: Its overlay address; None where it shall stay.
        ipv6: The same of IPv6.
    """

    name: str
    ssh_enabled: bool
    login_expiration_enabled: bool
    inactivity_expiration_enabled: bool
    ip: str | None = None
    ipv6: str | None = None


def update(draft: Draft, id: PeerID, wish: PeerWish) -> Peer:
    """Change a peer; a new name gives it a new DNS label, the same name once more a shorter one that is free now.

    Raises:
        NotFound: There is no such peer.
        InvalidArgument: The name or an address cannot be, or is another's.
        PreconditionFailed: It never logged in, so its login cannot expire.
    """
    checked_name(wish.name, "peer")
    ip = _ipv4(wish.ip) if wish.ip is not None else None
    ipv6 = _ipv6(wish.ipv6) if wish.ipv6 is not None else None
    peer = existing(draft.state, id)
    _check_expiration(peer, wish)
    changed = attrs.evolve(
        peer,
        name=wish.name,
        ssh_enabled=wish.ssh_enabled,
        login_expiration_enabled=wish.login_expiration_enabled,
        inactivity_expiration_enabled=wish.inactivity_expiration_enabled,
        ip=_free_ipv4(draft.state, peer, ip) if ip is not None else peer.ip,
        ipv6=_free_ipv6(draft.state, peer, ipv6) if ipv6 is not None else peer.ipv6,
    )
    if changed.name != peer.name:
        label = free_label(draft.state, wish.name, changed.ip, besides=id)
    else:
        label = better_label(draft.state, changed)
    changed = attrs.evolve(changed, dns_label=label)
    if changed != peer:
        draft.put(changed)
    return changed


def delete(draft: Draft, id: PeerID) -> None:
    """Remove a peer from the account, its groups, and the policies whose rules name it.

    Raises:
        NotFound: There is no such peer.
    """
    if id not in draft.state.peers:
        raise NotFound(f"peer {id} account not found")
    for group in list(draft.state.groups.values()):
        if id in group.peers:
            draft.put(attrs.evolve(group, peers=group.peers - {id}))
    for policy in list(draft.state.policies.values()):
        if any(id in (rule.source_peer, rule.destination_peer) for rule in policy.rules):
            _drop_rules(draft, policy, id)
    draft.delete(Peer, id)


def existing(state: AccountState, id: str) -> Peer:
    """The peer with that id.

    Raises:
        NotFound: There is none.
    """
    peer = state.peers.get(PeerID(id))
    if peer is None:
        raise NotFound(f"peer not found: {id}")
    return peer


def groups_of(state: AccountState, peer: PeerID) -> list[Group]:
    """The groups that a peer is in, that of all first."""
    found = [state.groups[id] for id in state.groups_of.get(peer, ())]
    return sorted(found, key=lambda group: (not group.is_all, group.id))


def _drop_rules(draft: Draft, policy: Policy, peer: PeerID) -> None:
    rules = tuple(rule for rule in policy.rules if peer not in (rule.source_peer, rule.destination_peer))
    if rules:
        draft.put(attrs.evolve(policy, rules=rules))
    else:
        draft.delete(Policy, policy.id)


def _check_expiration(peer: Peer, wish: PeerWish) -> None:
    if peer.user_id is not None:
        return
    for what in ("login", "inactivity"):
        if getattr(wish, f"{what}_expiration_enabled") != getattr(peer, f"{what}_expiration_enabled"):
            raise PreconditionFailed(
                f"this peer hasn't been added with the SSO login, therefore the {what} expiration can't be updated"
            )


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise InvalidArgument(f"invalid IP address {text}: unable to parse IP") from None


def _ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        address = None
    if address is None or address.scope_id:
        raise InvalidArgument(f"invalid IPv6 address {text}: unable to parse IP")
    return address


def _free_ipv4(state: AccountState, peer: Peer, ip: IPv4Address) -> IPv4Address:
    network = state.account.settings.network_range
    if ip not in network:
        raise InvalidArgument(f"IP {ip} is not within the account network range {network}")
    if ip in reserved(network):
        raise InvalidArgument(f"IP {ip} is reserved in the account network range {network}: choose another")
    for other in state.peers.values():
        if other.ip == ip and other.id != peer.id:
            raise InvalidArgument(f"IP {ip} is already assigned to peer {other.id}")
    return ip


def _free_ipv6(state: AccountState, peer: Peer, ip: IPv6Address) -> IPv6Address:
    network = state.account.settings.network_range_v6
    if ip not in network:
        raise InvalidArgument(f"IP {ip} is not within the account IPv6 range {network}")
    if ip in reserved(network):
        raise InvalidArgument(f"IP {ip} is reserved in the account IPv6 range {network}: choose another")
    for other in state.peers.values():
        if other.ipv6 == ip and other.id != peer.id:
            raise InvalidArgument(f"IP {ip} is already assigned to peer {other.id}")
    return ip
