"""``/api/peers``: enrolled machines."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

import attrs

from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom.model.user import Role
from meshloom.netmap.reach import Reach
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.json import optional
from meshloom_management.api.permissions import Module, Operation, denial
from meshloom_management.api.resources.groups import GroupMinimum, minimum
from meshloom_management.errors import PermissionDenied
from meshloom_management.operations import peers
from meshloom_management.operations.peers import PeerWish


@attrs.frozen
class PeerRequest:
    """What a peer shall be.

    Args:
        ip: Its overlay address; left out, it stays.
        ipv6: Its overlay address of IPv6; left out, it stays.
    """

    name: str = ""
    ssh_enabled: bool = False
    login_expiration_enabled: bool = False
    inactivity_expiration_enabled: bool = False
    approval_required: bool | None = None
    ip: str | None = None
    ipv6: str | None = None


@attrs.frozen
class LocalFlags:
    """Switches that the machine's user set on it."""

    rosenpass_enabled: bool
    rosenpass_permissive: bool
    server_ssh_allowed: bool
    disable_client_routes: bool
    disable_server_routes: bool
    disable_dns: bool
    disable_firewall: bool
    block_lan_access: bool
    block_inbound: bool
    lazy_connection_enabled: bool


@attrs.frozen(kw_only=True)
class PeerAnswer:
    """An enrolled machine.

    Args:
        dns_label: Its whole name in the account's domain.
        accessible_peers_count: In lists only; always 0, as counting would cost more than the list.
    """

    id: str
    name: str
    hostname: str
    dns_label: str
    extra_dns_labels: list[str]
    ip: IPv4Address
    ipv6: IPv6Address | None = optional()
    connection_ip: str
    connected: bool
    last_seen: datetime
    last_login: datetime
    created_at: datetime
    os: str
    kernel_version: str
    version: str
    ui_version: str
    serial_number: str
    user_id: str
    groups: list[GroupMinimum]
    local_flags: LocalFlags
    ephemeral: bool
    ssh_enabled: bool
    login_expiration_enabled: bool
    login_expired: bool
    inactivity_expiration_enabled: bool
    approval_required: bool = False
    city_name: str = ""
    country_code: str = ""
    geoname_id: int = 0
    accessible_peers_count: int | None = optional()


@attrs.frozen(kw_only=True)
class AccessiblePeerAnswer:
    """A machine that another one may reach, or that may reach it."""

    id: str
    name: str
    dns_label: str
    ip: IPv4Address
    ipv6: IPv6Address | None = optional()
    connected: bool
    last_seen: datetime
    os: str
    user_id: str
    city_name: str = ""
    country_code: str = ""
    geoname_id: int = 0


def _answer(call: Call, state: AccountState, peer: Peer, *, listed: bool = False) -> PeerAnswer:
    meta, flags = peer.meta, peer.meta.flags
    return PeerAnswer(
        id=peer.id,
        name=peer.name,
        hostname=meta.hostname,
        dns_label=_full_name(call, peer),
        extra_dns_labels=list(peer.extra_dns_labels),
        ip=peer.ip,
        ipv6=peer.ipv6,
        connection_ip=peer.connection_ip,
        connected=peer.connected,
        last_seen=peer.last_seen,
        last_login=peer.last_login,
        created_at=peer.created_at,
        os=f"{meta.os} {meta.os_version or meta.core}".strip(),
        kernel_version=meta.kernel_version,
        version=meta.agent_version,
        ui_version=meta.ui_version,
        serial_number=meta.serial_number,
        user_id=peer.user_id or "",
        groups=[minimum(group) for group in peers.groups_of(state, peer.id)],
        local_flags=LocalFlags(**{field.name: getattr(flags, field.name) for field in attrs.fields(LocalFlags)}),
        ephemeral=peer.ephemeral,
        ssh_enabled=peer.ssh_enabled,
        login_expiration_enabled=peer.login_expiration_enabled,
        login_expired=peer.login_expired,
        inactivity_expiration_enabled=peer.inactivity_expiration_enabled,
        accessible_peers_count=0 if listed else None,
    )


def _accessible(call: Call, peer: Peer) -> AccessiblePeerAnswer:
    return AccessiblePeerAnswer(
        id=peer.id,
        name=peer.name,
        dns_label=_full_name(call, peer),
        ip=peer.ip,
        ipv6=peer.ipv6,
        connected=peer.connected,
        last_seen=peer.last_seen,
        os=peer.meta.os,
        user_id=peer.user_id or "",
    )


def _full_name(call: Call, peer: Peer) -> str:
    return f"{peer.dns_label}.{call.state.account.settings.dns_domain or call.config.dns_domain}"


def _visible(call: Call) -> list[Peer]:
    """Every peer for whom may see them; else the caller's own, unless even those are hidden from users."""
    if call.may(Module.PEERS, Operation.READ):
        return list(call.state.peers.values())
    if call.user.role is not Role.USER:
        raise PermissionDenied(denial(call.user))
    if call.state.account.settings.regular_users_view_blocked:
        return []
    return [peer for peer in call.state.peers.values() if peer.user_id == call.user.id]


def _one(call: Call) -> Peer:
    peer = peers.existing(call.state, call.path["id"])
    if peer.user_id != call.user.id and not call.may(Module.PEERS, Operation.READ):
        raise PermissionDenied(denial(call.user))
    return peer


async def _list(call: Call) -> list[PeerAnswer]:
    name, ip = call.query.get("name", ""), call.query.get("ip", "")
    found = [peer for peer in _visible(call) if name in peer.name and ip in str(peer.ip)]
    return [
        _answer(call, call.state, peer, listed=True) for peer in sorted(found, key=lambda peer: (peer.name, peer.id))
    ]


async def _get(call: Call) -> PeerAnswer:
    return _answer(call, call.state, _one(call))


async def _accessible_peers(call: Call) -> list[AccessiblePeerAnswer]:
    id = PeerID(call.path["id"])
    if id not in {peer.id for peer in _visible(call)}:
        return []
    reached = [call.state.peers[other] for other in Reach(call.state).visible(id) if other != id]
    return [_accessible(call, peer) for peer in sorted(reached, key=lambda peer: peer.id)]


async def _update(call: Call) -> PeerAnswer:
    id = PeerID(call.path["id"])
    wish = PeerWish(**{field.name: getattr(call.body, field.name) for field in attrs.fields(PeerWish)})
    peer = await call.change(lambda draft: peers.update(draft, id, wish))
    return _answer(call, call.latest(), peer)


async def _delete(call: Call) -> None:
    id = PeerID(call.path["id"])
    await call.change(lambda draft: peers.delete(draft, id))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/peers",
        summary="List the peers; whoever may not see all sees his own.",
        run=_list,
        response=list[PeerAnswer],
        query={"name": "Only peers whose names contain this.", "ip": "Only peers whose IPv4 address contains this."},
    ),
    Endpoint(
        method="GET",
        path="/api/peers/{id}",
        summary="Show a peer.",
        run=_get,
        response=PeerAnswer,
    ),
    Endpoint(
        method="PUT",
        path="/api/peers/{id}",
        summary="Change a peer.",
        run=_update,
        permission=(Module.PEERS, Operation.UPDATE),
        request=PeerRequest,
        response=PeerAnswer,
    ),
    Endpoint(
        method="DELETE",
        path="/api/peers/{id}",
        summary="Remove a peer; it loses its connections at once.",
        run=_delete,
        permission=(Module.PEERS, Operation.DELETE),
    ),
    Endpoint(
        method="GET",
        path="/api/peers/{id}/accessible-peers",
        summary="List the peers that a peer has connections with.",
        run=_accessible_peers,
        response=list[AccessiblePeerAnswer],
    ),
)
