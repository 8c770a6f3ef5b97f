"""Peers join, log in again, tell new facts of themselves, and log out."""

import uuid
from datetime import datetime

import attrs

from meshloom.model.ids import PeerID
from meshloom.model.keys import PublicKey
from meshloom.model.peer import Peer, PeerMeta
from meshloom.model.setup_key import SetupKey
from meshloom.model.state import AccountState
from meshloom_management.accounts import Accounts
from meshloom_management.draft import Draft
from meshloom_management.errors import NotFound, PermissionDenied, PreconditionFailed, SetupKeyRefused
from meshloom_management.operations import peers
from meshloom_management.operations.addresses import free_ipv4, free_ipv6, wants_ipv6
from meshloom_management.operations.labels import extra_labels, free_label
from meshloom_management.operations.setup_keys import hint_of

NO_KEY = str(uuid.UUID(int=0))
"""What a client sends in the place of a setup key when it logs in as a user."""
LOGIN_IS_NEWS = 60.0
"""Seconds between two logins of a known peer that are both written down."""


@attrs.frozen(kw_only=True)
class Login:
    """What a peer says of itself when it logs in.

    Attributes:
        proves: Whether it proves that this is fresh; from then on it always must.
    """

    key: PublicKey
    meta: PeerMeta
    setup_key: str = attrs.field(default="", repr=False)
    ssh_key: str = ""
    labels: tuple[str, ...] = ()
    connection_ip: str = ""
    proves: bool = False


async def login(accounts: Accounts, request: Login) -> tuple[AccountState, Peer]:
    """A known peer again, or a new one with a setup key.

    Raises:
        PermissionDenied: It is not known and has no key.
        NotFound: The key is not valid.
    """
    known = accounts.find_peer(request.key)
    if known is None:
        return await _enrol(accounts, request)
    state, peer = known
    if _is_news(peer, request, accounts.now()):
        await accounts.change(state.account.id, lambda draft: _note_login(draft, PeerID(peer.id), request))
    return _found(accounts, request.key)


async def tell(accounts: Accounts, key: PublicKey, meta: PeerMeta) -> None:
    """New facts of a known peer.

    Raises:
        PermissionDenied: It is not known.
    """
    state, peer = _found(accounts, key)
    if peer.meta != meta:
        await accounts.change(state.account.id, lambda draft: _note_meta(draft, PeerID(peer.id), meta))


async def log_out(accounts: Accounts, key: PublicKey) -> None:
    """The peer leaves the account.

    Raises:
        NotFound: It is not known.
    """
    known = accounts.find_peer(key)
    if known is None:
        raise NotFound(f"peer not found: {key}")
    state, peer = known
    await accounts.change(state.account.id, lambda draft: _delete(draft, PeerID(peer.id), "its own logout"))


def _found(accounts: Accounts, key: PublicKey) -> tuple[AccountState, Peer]:
    known = accounts.find_peer(key)
    if known is None:
        raise PermissionDenied("peer is not registered")
    return known


async def _enrol(accounts: Accounts, request: Login) -> tuple[AccountState, Peer]:
    if not request.setup_key or request.setup_key == NO_KEY:
        raise PermissionDenied("no peer auth method provided, please use a setup key or interactive SSO login")
    found = accounts.find_setup_key(request.setup_key)
    if found is None:
        raise _refused(f"setup key {hint_of(request.setup_key)} is unknown")
    state, key = found

    def enrol_once(draft: Draft) -> None:
        if not _is_there(accounts, draft, request.key):  # else the same machine asked twice at once
            enrol(draft, key, request)

    await accounts.change(state.account.id, enrol_once)
    return _found(accounts, request.key)


def _is_there(accounts: Accounts, draft: Draft, key: PublicKey) -> bool:
    """Whether a peer has the key: of a snapshot, or of this draft, which may be several machines' together."""
    if any(isinstance(written, Peer) and written.key == key for written in draft.written.values()):
        return True
    found = accounts.find_peer(key)
    return found is not None and draft.written.get((Peer, found[1].id), found[1]) is not None


def enrol(draft: Draft, key: SetupKey, request: Login) -> Peer:
    """Make the peer and count the key's use, in one write: of N at once, a one-off key enrols one.

    Raises:
        NotFound: The key is not valid (any more).
        PreconditionFailed: It asks for labels, which the key does not allow.
        InvalidArgument: A label is not a DNS name.
        AlreadyExists: A label is the name of another machine.
    """
    current = draft.state.setup_keys.get(key.id)
    if current is None or not current.is_valid(draft.now):
        raise _refused(f"setup key {key.name!r} ({key.hint}) {_why_not(current, draft.now)}")
    if request.labels and not current.allow_extra_dns_labels:
        raise PreconditionFailed("couldn't add peer: setup key doesn't allow extra DNS labels")
    state = draft.state
    extras = extra_labels(state, request.labels)
    settings = state.account.settings
    id = PeerID(draft.new_id())
    joined = [state.all_group, *(state.groups[group] for group in current.auto_groups if group in state.groups)]
    ip = free_ipv4(settings, state.taken.ips, draft.entropy)
    meta = request.meta
    ipv6 = None
    if wants_ipv6(state, {group.id for group in joined}, meta.capabilities, meta.flags.disable_ipv6):
        ipv6 = free_ipv6(settings, state.taken.ipv6s, draft.entropy)
    name = meta.hostname or "peer"
    label = free_label(state, name, ip, marked=current.ephemeral)  # those that come and go must not be taken over
    peer = Peer(
        id=id,
        account_id=state.account.id,
        key=request.key,
        ip=ip,
        ipv6=ipv6,
        name=name,
        dns_label=label,
        meta=meta,
        created_at=draft.now,
        last_login=draft.now,
        last_seen=draft.now,
        setup_key_id=current.id,
        ssh_key=request.ssh_key,
        ephemeral=current.ephemeral,
        connection_ip=request.connection_ip,
        extra_dns_labels=extras,
        proves=request.proves,
    )
    draft.put(peer)
    for group in joined:
        draft.put(attrs.evolve(group, peers=group.peers | {id}))
    draft.put(attrs.evolve(current, used_times=current.used_times + 1, last_used=draft.now))
    return peer


def _refused(why: str) -> SetupKeyRefused:
    return SetupKeyRefused("couldn't add peer: setup key is invalid", why)


def _why_not(key: SetupKey | None, now: datetime) -> str:
    if key is None:
        return "was deleted"
    if key.revoked:
        return "is revoked"
    if key.is_used_up():
        return f"is used up: {key.used_times} of {key.usage_limit}"
    return f"expired at {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.is_expired(now) else "is not valid"


def _is_news(peer: Peer, request: Login, now: datetime) -> bool:
    told = peer.meta != request.meta or (request.ssh_key and peer.ssh_key != request.ssh_key)
    told = told or (request.proves and not peer.proves)
    return bool(told) or (now - peer.last_login).total_seconds() > LOGIN_IS_NEWS


def _note_login(draft: Draft, id: PeerID, request: Login) -> None:
    peer = draft.state.peers.get(id)
    if peer is None:
        return
    changed = attrs.evolve(
        peer,
        meta=request.meta,
        ssh_key=request.ssh_key or peer.ssh_key,
        last_login=draft.now,
        connection_ip=request.connection_ip or peer.connection_ip,
        proves=request.proves or peer.proves,
    )
    draft.put(_with_ipv6(draft, changed))


def _note_meta(draft: Draft, id: PeerID, meta: PeerMeta) -> None:
    peer = draft.state.peers.get(id)
    if peer is not None:
        draft.put(_with_ipv6(draft, attrs.evolve(peer, meta=meta)))


def _with_ipv6(draft: Draft, peer: Peer) -> Peer:
    """Agents learn and unlearn IPv6; the address follows."""
    state = draft.state
    groups = {group.id for group in state.groups.values() if peer.id in group.peers}
    if not wants_ipv6(state, groups, peer.meta.capabilities, peer.meta.flags.disable_ipv6):
        return attrs.evolve(peer, ipv6=None) if peer.ipv6 else peer
    if peer.ipv6:
        return peer
    return attrs.evolve(peer, ipv6=free_ipv6(state.account.settings, state.taken.ipv6s, draft.entropy))


def remove_stale(draft: Draft, ids: list[PeerID]) -> None:
    """Remove ephemeral peers that have been away too long."""
    for id in ids:
        if id in draft.state.peers:
            _delete(draft, id, "its absence")


def _delete(draft: Draft, id: PeerID, why: str) -> None:
    with draft.by(why):
        peers.delete(draft, id)
