"""All accounts of this server: immutable snapshots in memory, every write through one transaction of the store."""

import hashlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeVar

import anyio
import attrs
from anyio.abc import TaskGroup

from meshloom.errors import StoreUnavailable
from meshloom.model.account import Account, Settings
from meshloom.model.group import ALL, Group
from meshloom.model.ids import AccountID, GroupID, PeerID, PolicyID, SetupKeyID, TokenID, UserID
from meshloom.model.keys import PublicKey
from meshloom.model.overlay import IPAddress
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy, Rule
from meshloom.model.setup_key import SetupKey
from meshloom.model.state import AccountState
from meshloom.model.user import PersonalAccessToken, Role, User
from meshloom.netmap.change import Change
from meshloom.store import Store
from meshloom_management.draft import COLLECTIONS, Draft, new_id
from meshloom_management.writes import WriteQueue

__all__ = ["Accounts", "Draft", "Listener", "NewAccounts"]

_log = logging.getLogger(__name__)

COMPLAINTS_EVERY = timedelta(minutes=1)
"""The time between two lines of the log about writes that the store refuses."""
T = TypeVar("T")
Listener = Callable[[AccountState, AccountState, Change], None]
Witness = Callable[[AccountState, Mapping[tuple[type[Any], str], Any], Mapping[tuple[type[Any], str], str]], None]


def utc_now() -> datetime:
    """The clock of a running server."""
    return datetime.now(UTC)


@attrs.frozen
class NewAccounts:
    """What a new account begins with.

    Args:
        network_range: Overlay network; None picks a random /16 of 100.64.0.0/10.
        network_range_v6: Overlay network of IPv6; None picks a random /64 of fd00::/8 (RFC 4193).
        default_policy: Whether everybody may reach everybody at first.
        avoided: Addresses that a random network does not contain: those of the servers, which would be cut off.
    """

    network_range: IPv4Network | None = None
    network_range_v6: IPv6Network | None = None
    default_policy: bool = True
    avoided: Collection[IPAddress] = ()


class Accounts:
    """Snapshots of all accounts, found by id, peer's key, setup key or token; opened with :meth:`open`."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        new: NewAccounts,
    ) -> None:
        self._store, self._clock, self._entropy, self._new = store, clock, entropy, new
        self._states: dict[AccountID, AccountState] = {}
        self._queues: dict[AccountID, WriteQueue] = {}
        self._peers: dict[PublicKey, tuple[AccountID, PeerID]] = {}
        self._keys: dict[str, tuple[AccountID, SetupKeyID]] = {}
        self._tokens: dict[str, tuple[AccountID, TokenID]] = {}
        self._listeners: list[Listener] = []
        self._witnesses: list[Witness] = []
        self._complained = datetime.min.replace(tzinfo=UTC)
        self._writers: TaskGroup

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: Store,
        *,
        clock: Callable[[], datetime] = utc_now,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        new: NewAccounts | None = None,
    ) -> "AsyncIterator[Accounts]":
        """Read all accounts from the store."""
        accounts = cls(store, clock, entropy, new or NewAccounts())
        async with store.transaction() as transaction:
            found = {account.id: account for account in await transaction.find(Account)}
            entities = {kind: await transaction.find(kind) for kind in COLLECTIONS}
        collections: dict[AccountID, dict[str, dict[str, Any]]] = {
            id: {name: {} for name in COLLECTIONS.values()} for id in found
        }
        for kind, items in entities.items():
            for item in items:
                collections[item.account_id][COLLECTIONS[kind]][item.id] = item
                accounts._index(item.account_id, None, item)
        for id, account in found.items():
            accounts._states[id] = _with_all(AccountState(account, **collections[id]))  # type: ignore[arg-type]
            accounts._queues[id] = accounts._queue(id)
        async with anyio.create_task_group() as accounts._writers:
            yield accounts

    # -- reading -----------------------------------------------------------------------------------------------

    def all(self) -> Mapping[AccountID, AccountState]:
        """Every account's newest snapshot."""
        return self._states

    def state(self, id: AccountID) -> AccountState:
        """An account's newest snapshot."""
        return self._states[id]

    def find_peer(self, key: PublicKey) -> tuple[AccountState, Peer] | None:
        """The peer with that public key."""
        found = self._peers.get(key)
        return None if found is None else (self._states[found[0]], self._states[found[0]].peers[found[1]])

    def peer_keys(self) -> Collection[PublicKey]:
        """The public keys of all peers of all accounts."""
        return self._peers.keys()

    def find_setup_key(self, text: str) -> tuple[AccountState, SetupKey] | None:
        """The setup key with that text, in any case; found by its hash, so that time tells nothing of others."""
        hashed = hashlib.sha256(text.upper().encode()).hexdigest()
        found = self._keys.get(hashed)
        if found is None:
            return None
        key = self._states[found[0]].setup_keys[found[1]]
        return (self._states[found[0]], key) if hmac.compare_digest(key.hashed, hashed) else None

    def find_token(self, token: str) -> tuple[AccountState, User, PersonalAccessToken] | None:
        """The personal access token, and whose it is; also an expired one."""
        hashed = hashlib.sha256(token.encode()).hexdigest()
        found = self._tokens.get(hashed)
        if found is None:
            return None
        state = self._states[found[0]]
        record = state.tokens[found[1]]
        return (state, state.users[record.user_id], record) if hmac.compare_digest(record.hashed, hashed) else None

    def now(self) -> datetime:
        """The server's clock."""
        return self._clock()

    # -- writing -----------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Be called, at once and in order, with each change: the snapshot before, the one after, what changed."""
        self._listeners.append(listener)

    def witness(self, witness: Witness) -> None:
        """Be called, at once and in order, with each write: the snapshot before, what was written, who wrote it."""
        self._witnesses.append(witness)

    async def change(self, account: AccountID, mutate: Callable[[Draft], T]) -> T:
        """Let *mutate* write a draft, store it, and make it the newest snapshot.

        Writes of one account come one after the other; those that wait are stored in one transaction. What *mutate*
        raises leaves everything as it was, as do StoreUnavailable and Conflict of the store. After a Conflict *mutate*
        may be called again, with another draft. A caller that is cancelled only stops waiting: the write goes on.
        """
        result: T = await self._queues[account].write(mutate, self._writers)
        return result

    def _queue(self, account: AccountID) -> WriteQueue:
        return WriteQueue(lambda: Draft(self._states[account], self._clock(), self._entropy), self._commit)

    async def _commit(self, draft: Draft) -> None:
        before = draft.before
        change = Change.between(before, draft.written)
        if change:
            draft.put(attrs.evolve(draft.state.account, serial=before.account.serial + 1))
        if draft.written:
            await self._write(draft)
            self._adopt(before, draft, change)

    async def create(
        self, *, email: str, name: str, password_hash: str, then: Callable[[Draft, User], None] | None = None
    ) -> User:
        """A new account with its owner, the group of all, and the default policy, all at once."""
        now = self._clock()
        id = AccountID(new_id(now, self._entropy))
        owner_id = UserID(str(new_id(now, self._entropy)))
        settings = Settings(self._network(), self._network_v6())
        draft = Draft(AccountState(Account(id, now, owner_id, settings)), now, self._entropy)
        draft.put(draft.state.account)
        everybody = Group(id=GroupID(draft.new_id()), account_id=id, name=ALL)
        draft.put(
            attrs.evolve(
                draft.state.account, settings=attrs.evolve(settings, ipv6_enabled_groups=frozenset({everybody.id}))
            )
        )
        owner = User(
            id=owner_id,
            account_id=id,
            role=Role.OWNER,
            email=email,
            name=name,
            password_hash=password_hash,
            created_at=now,
        )
        draft.put(owner)
        draft.put(everybody)
        if self._new.default_policy:
            policy = PolicyID(draft.new_id())
            sides = frozenset({everybody.id})
            rule = Rule(policy, "Default", "Everybody reaches everybody", sources=sides, destinations=sides)
            draft.put(Policy(id=policy, account_id=id, name="Default", description=rule.description, rules=(rule,)))
        if then is not None:
            then(draft, owner)
        outcome: Future[User] = Future()
        done = anyio.Event()

        async def begin() -> None:  # to its end, as any write
            with anyio.CancelScope(shield=True):
                try:
                    outcome.set_result(await self._begin(draft, owner))
                except Exception as error:  # noqa: BLE001 - handed to who waits
                    outcome.set_exception(error)
            done.set()

        self._writers.start_soon(begin, name="new account")
        await done.wait()
        return outcome.result()

    async def _begin(self, draft: Draft, owner: User) -> User:
        await self._write(draft)
        self._queues[owner.account_id] = self._queue(owner.account_id)
        self._adopt(AccountState(draft.state.account), draft, Change())
        return owner

    async def _write(self, draft: Draft) -> None:
        """Store the whole draft or nothing."""
        try:
            async with self._store.transaction() as transaction:
                for (kind, id), entity in draft.written.items():
                    if entity is None:
                        await transaction.delete(kind, id)
                    else:
                        await transaction.put(_without_all(entity))
        except StoreUnavailable as error:
            if abs(draft.now - self._complained) >= COMPLAINTS_EVERY:
                self._complained = draft.now
                _log.error("a write is refused: %s", error)
            raise

    def _adopt(self, before: AccountState, draft: Draft, change: Change) -> None:
        after = draft.state
        for (kind, id), entity in draft.written.items():
            if kind in COLLECTIONS:
                self._index(after.account.id, getattr(before, COLLECTIONS[kind]).get(id), entity)
        self._states[after.account.id] = after
        for listener in self._listeners:
            listener(before, after, change)
        for witness in self._witnesses:
            witness(before, draft.written, draft.authors)

    def _index(self, account: AccountID, old: Any, new: Any) -> None:
        for entity, add in ((old, False), (new, True)):
            index: Any
            key: Any
            match entity:
                case Peer():
                    index, key = self._peers, entity.key
                case SetupKey():
                    index, key = self._keys, entity.hashed
                case PersonalAccessToken():
                    index, key = self._tokens, entity.hashed
                case _:
                    continue
            if add:
                index[key] = account, entity.id
            else:
                index.pop(key, None)

    def _network(self) -> IPv4Network:
        if self._new.network_range is not None:
            return self._new.network_range
        first = self._entropy(1)[0] % 64
        every = [IPv4Network(f"100.{64 + (first + more) % 64}.0.0/16") for more in range(64)]  # RFC 6598
        return next((each for each in every if not any(server in each for server in self._new.avoided)), every[0])

    def _network_v6(self) -> IPv6Network:
        if self._new.network_range_v6 is not None:
            return self._new.network_range_v6
        return IPv6Network((b"\xfd" + self._entropy(7) + bytes(8), 64))


def _without_all(entity: Any) -> Any:
    """The group of all is stored without its members, since these are all peers: enrolling one more stays cheap."""
    return attrs.evolve(entity, peers=frozenset()) if isinstance(entity, Group) and entity.is_all else entity


def _with_all(state: AccountState) -> AccountState:
    everybody = state.all_group
    full = attrs.evolve(everybody, peers=frozenset(state.peers))
    return attrs.evolve(state, groups={**state.groups, everybody.id: full})
