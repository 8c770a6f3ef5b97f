"""Random histories of a store beside a model of three dictionaries."""

import contextlib
import copy
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from meshloom.backend import Backend
from meshloom.errors import Conflict, NotFound
from meshloom.model.account import Account
from meshloom.model.ids import AccountID, UserID
from meshloom.model.state import ENTITIES
from meshloom.model.user import PersonalAccessToken, User
from meshloom.store import Store, StoreContext, Transaction
from meshloom.testing import samples

KINDS: tuple[type[Any], ...] = (Account, User, PersonalAccessToken)
Model = dict[type[Any], dict[str, Any]]

ids = st.sampled_from(["a", "b", "c"])


class RolledBack(Exception):
    """Leaves a transaction without committing it."""


class ModelStore:
    """What a store means, without any care for speed."""

    def __init__(self) -> None:
        self.rows: Model = {kind: {} for kind in KINDS}

    def breaks(self) -> bool:
        """Whether a unique value is there twice: a conflict at once."""
        hashes = [token.hashed for token in self.rows[PersonalAccessToken].values()]
        return len(set(hashes)) != len(hashes)

    def dangles(self) -> bool:
        """Whether a reference points nowhere: a conflict when committing."""
        accounts, users, tokens = (self.rows[kind] for kind in KINDS)
        return any(user.account_id not in accounts for user in users.values()) or any(
            token.account_id not in accounts or token.user_id not in users for token in tokens.values()
        )

    def delete(self, kind: type[Any], id: str) -> None:
        """With all that refers to it."""
        del self.rows[kind][id]
        field = {Account: "account_id", User: "user_id"}.get(kind)
        if field is None:
            return
        for other in KINDS[KINDS.index(kind) + 1 :]:
            for entity in list(self.rows[other].values()):
                if getattr(entity, field, None) == id and entity.id in self.rows[other]:
                    self.delete(other, entity.id)


class StoreMachine(RuleBasedStateMachine):
    """Puts, deletes, looks, commits, rolls back and reopens, in any order."""

    def __init__(self, portal: BlockingPortal, open_store: Callable[[], Any], *, durable: bool) -> None:
        super().__init__()
        self._portal = portal
        self._open_store = open_store
        self._durable = durable
        self._committed = ModelStore()
        self._model = self._committed
        self._lost = False
        self._inside: AbstractContextManager[Transaction] | None = None
        self._open()

    def _open(self) -> None:
        self._opened = ExitStack()
        opening: AbstractAsyncContextManager[Store] = self._portal.call(self._open_store)
        self._store = self._opened.enter_context(self._portal.wrap_async_context_manager(opening))

    @precondition(lambda self: self._inside is None)
    @rule()
    def begin(self) -> None:
        self._inside = self._portal.wrap_async_context_manager(self._portal.call(self._store.transaction))
        self._transaction = self._inside.__enter__()
        self._model = copy.deepcopy(self._committed)
        self._lost = False

    @precondition(lambda self: self._inside is not None and not self._lost)
    @rule(id=ids, name=st.text(max_size=5))
    def put_account(self, id: str, name: str) -> None:
        self._put(samples.account(id, domain=name))

    @precondition(lambda self: self._inside is not None and not self._lost)
    @rule(id=ids, account=ids)
    def put_user(self, id: str, account: str) -> None:
        self._put(samples.user(id, account_id=AccountID(account)))

    @precondition(lambda self: self._inside is not None and not self._lost)
    @rule(id=ids, account=ids, user=ids, hashed=ids)
    def put_token(self, id: str, account: str, user: str, hashed: str) -> None:
        self._put(samples.token(id, account_id=AccountID(account), user_id=UserID(user), hashed=hashed))

    def _put(self, entity: Any) -> None:
        self._model.rows[type(entity)][entity.id] = entity
        self._lost = self._model.breaks()
        with contextlib.suppress(Conflict) if self._lost else contextlib.nullcontext():
            self._portal.call(self._transaction.put, entity)

    @precondition(lambda self: self._inside is not None and not self._lost)
    @rule(kind=st.sampled_from(KINDS), id=ids)
    def delete(self, kind: type[Any], id: str) -> None:
        there = id in self._model.rows[kind]
        if there:
            self._model.delete(kind, id)
        try:
            self._portal.call(self._transaction.delete, kind, id)
        except NotFound:
            assert not there
        else:
            assert there

    @precondition(lambda self: self._inside is not None and not self._lost)
    @rule(account=ids)
    def find(self, account: str) -> None:
        found = self._portal.call(partial(self._transaction.find, User, account_id=account))
        users = self._model.rows[User]
        assert found == [users[id] for id in sorted(users) if users[id].account_id == account]

    @precondition(lambda self: self._inside is not None)
    @rule()
    def commit(self) -> None:
        assert self._inside is not None
        inside, self._inside = self._inside, None
        refused = self._lost or self._model.dangles()
        try:
            inside.__exit__(None, None, None)
        except Conflict:
            assert refused
        else:
            assert not refused
            self._committed = self._model

    @precondition(lambda self: self._inside is not None)
    @rule()
    def roll_back(self) -> None:
        assert self._inside is not None
        inside, self._inside = self._inside, None
        error = RolledBack()
        with contextlib.suppress(RolledBack):
            inside.__exit__(RolledBack, error, None)

    @precondition(lambda self: self._inside is None and self._durable)
    @rule()
    def reopen(self) -> None:
        self._opened.close()
        self._open()

    @invariant()
    def agrees_with_the_model(self) -> None:
        if self._lost and self._inside is not None:
            return
        if self._inside is not None:
            self._compare(self._transaction, self._model)
            return
        with self._portal.wrap_async_context_manager(self._portal.call(self._store.transaction)) as transaction:
            self._compare(transaction, self._committed)

    def _compare(self, transaction: Transaction, model: ModelStore) -> None:
        for kind in KINDS:
            rows = model.rows[kind]
            assert self._portal.call(transaction.find, kind) == [rows[id] for id in sorted(rows)]

    def teardown(self) -> None:
        if self._inside is not None:
            self.roll_back()
        self._opened.close()


def run_store_machine(backend: Backend[StoreContext, Store], folder: Path, *, durable: bool) -> None:
    """Try many histories, each on a store of its own below the folder."""
    with start_blocking_portal() as portal:

        class Machine(StoreMachine):
            def __init__(self) -> None:
                data_dir = Path(tempfile.mkdtemp(dir=folder))
                context = StoreContext(data_dir, ENTITIES)
                super().__init__(portal, lambda: backend.open(backend.options(), context), durable=durable)

        checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
        bounds = settings(max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=checks)
        run_state_machine_as_test(Machine, settings=bounds)
