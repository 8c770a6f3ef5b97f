"""What services rely on in a store."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from meshloom.backend import Backend
from meshloom.errors import Conflict, NotFound, StoreError, StoreUnavailable
from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.model.ids import AccountID, UserID
from meshloom.model.peer import Peer
from meshloom.model.state import ENTITIES
from meshloom.model.user import PersonalAccessToken, User
from meshloom.store import Store, StoreContext
from meshloom.testing import samples
from meshloom.testing.contracts.store_machine import run_store_machine

pytestmark = pytest.mark.anyio


@attrs.frozen
class OpenStore:
    """Opens the store under test, again and again on the same data."""

    backend: Backend[StoreContext, Store]
    options: Any
    data_dir: Path

    def __call__(self) -> AbstractAsyncContextManager[Store]:
        """The store; what it commits is there at the next call, where it is durable."""
        return self.backend.open(self.options, StoreContext(self.data_dir, ENTITIES))


class StoreContract:
    """A subclass gives the fixture ``backend``, and overrides what is else of its kind."""

    durable = True
    """Whether what was committed is there when the store is opened again."""

    @pytest.fixture
    def backend(self) -> Backend[StoreContext, Store]:
        """The backend under test."""
        raise NotImplementedError("override the fixture `backend`")

    @pytest.fixture
    def options(self, backend: Backend[StoreContext, Store]) -> Any:
        """What it is opened with."""
        return backend.options()

    @pytest.fixture
    def open_store(self, backend: Backend[StoreContext, Store], options: Any, tmp_path: Path) -> OpenStore:
        """Opens it on an empty folder."""
        return OpenStore(backend, options, tmp_path)

    async def test_what_was_committed_is_found(self, open_store: OpenStore) -> None:
        written = everything()
        async with open_store() as store:
            await put(store, *written)
            assert await content(store) == sorted_by_kind(written)

    async def test_a_body_that_raises_leaves_nothing(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            with pytest.raises(ZeroDivisionError):
                async with store.transaction() as transaction:
                    await transaction.put(samples.account())
                    await transaction.get(Account, "account")
                    raise ZeroDivisionError
            assert await content(store) == []

    async def test_a_rolled_back_change_and_deletion_leave_what_was_there(self, open_store: OpenStore) -> None:
        written = everything()
        async with open_store() as store:
            await put(store, *written)
            with pytest.raises(ZeroDivisionError):
                async with store.transaction() as transaction:
                    await transaction.put(samples.group(name="changed"))
                    await transaction.delete(User, "user")
                    await transaction.delete(Account, "account")
                    raise ZeroDivisionError
            assert await content(store) == sorted_by_kind(written)

    async def test_a_cancelled_body_leaves_nothing(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            with anyio.move_on_after(10) as scope:
                async with store.transaction() as transaction:
                    await transaction.put(samples.account())
                    await transaction.get(Account, "account")
                    scope.cancel()
                    await anyio.sleep_forever()
            assert await content(store) == []
            await put(store, samples.account())

    async def test_reads_see_the_transactions_own_writes(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await put(store, *everything())
            async with store.transaction() as transaction:
                await transaction.put(samples.group(name="changed"))
                await transaction.put(samples.group("new"))
                assert (await transaction.get(Group, "group")).name == "changed"
                assert [found.id for found in await transaction.find(Group)] == ["group", "new"]
                await transaction.delete(Group, "group")
                assert [found.id for found in await transaction.find(Group)] == ["new"]
                with pytest.raises(NotFound):
                    await transaction.get(Group, "group")

    async def test_putting_replaces_without_touching_what_refers_to_it(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await put(store, *everything())
            await put(store, samples.account(serial=7))
            assert len(await content(store)) == len(everything())
            async with store.transaction() as transaction:
                assert (await transaction.get(Account, "account")).serial == 7

    async def test_what_is_not_there_is_not_found(self, open_store: OpenStore) -> None:
        async with open_store() as store, store.transaction() as transaction:
            with pytest.raises(NotFound) as missing:
                await transaction.get(Account, "nobody")
            assert (missing.value.kind, missing.value.id) == ("Account", "nobody")
            with pytest.raises(NotFound):
                await transaction.delete(Account, "nobody")
            await transaction.put(samples.account())
        async with open_store() as store, store.transaction() as transaction:
            assert len(await transaction.find(Account)) == (1 if self.durable else 0)

    async def test_finds_by_indexed_fields_in_the_order_of_ids(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            other = [samples.account("b"), samples.peer("z", account_id=AccountID("b"))]
            await put(store, samples.account(), *(samples.peer(id) for id in ("c", "a", "B")), *other)
            async with store.transaction() as transaction:
                found = await transaction.find(Peer, account_id="account")
                assert [peer.id for peer in found] == ["B", "a", "c"]
                key = samples.public_key("z")
                assert [peer.id for peer in await transaction.find(Peer, key=key)] == ["z"]
                assert await transaction.find(Peer, key=key, account_id="account") == []

    async def test_what_is_not_indexed_cannot_be_searched_by(self, open_store: OpenStore) -> None:
        async with open_store() as store, store.transaction() as transaction:
            with pytest.raises(ValueError, match=r"Group\.name is not indexed"):
                await transaction.find(Group, name="All")

    async def test_a_unique_value_belongs_to_one(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await put(store, samples.account(), samples.peer("a"))
            with pytest.raises(Conflict):
                await put(store, samples.group("written-before"), samples.peer("b", key=samples.public_key("a")))
            assert len(await content(store)) == 2
            await put(
                store, samples.peer("a", key=samples.public_key("new")), samples.peer("b", key=samples.public_key("a"))
            )

    async def test_a_conflict_cannot_be_passed_over(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await put(store, samples.account(), samples.peer("a"))
            with pytest.raises(Conflict):
                async with store.transaction() as transaction:
                    await transaction.put(samples.group())
                    try:
                        await transaction.put(samples.peer("b", key=samples.public_key("a")))
                        await transaction.find(Peer)
                    except Conflict:
                        pass
            assert len(await content(store)) == 2

    async def test_a_reference_must_point_somewhere_when_committing(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            with pytest.raises(Conflict):
                await put(store, samples.group())
            assert await content(store) == []
            await put(store, samples.token(), samples.user(), samples.account())
            assert len(await content(store)) == 3

    async def test_deleting_takes_along_what_refers_to_it(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await put(store, *everything(), samples.user("second"), samples.token("third", user_id=UserID("second")))
            async with store.transaction() as transaction:
                await transaction.delete(User, "user")
                assert [token.id for token in await transaction.find(PersonalAccessToken)] == ["third"]
            async with store.transaction() as transaction:
                await transaction.delete(Account, "account")
            assert await content(store) == []

    async def test_concurrent_increments_all_count(self, open_store: OpenStore) -> None:
        async def increment(store: Store) -> None:
            for _ in range(5):
                async with store.transaction() as transaction:
                    account = await transaction.get(Account, "account")
                    await anyio.lowlevel.checkpoint()
                    await transaction.put(attrs.evolve(account, serial=account.serial + 1))

        async with open_store() as store:
            await put(store, samples.account(serial=0))
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(increment, store, name=f"increment-{number}")
            async with store.transaction() as transaction:
                assert (await transaction.get(Account, "account")).serial == 50

    async def test_nobody_sees_what_is_not_committed(self, open_store: OpenStore) -> None:
        async def look(store: Store, seen: list[str]) -> None:
            async with store.transaction() as transaction:
                seen.append((await transaction.get(Group, "group")).name)

        seen: list[str] = []
        async with open_store() as store:
            await put(store, *everything())
            async with anyio.create_task_group() as tasks, store.transaction() as transaction:
                await transaction.put(samples.group(name="between"))
                await transaction.find(Group)
                tasks.start_soon(look, store, seen)
                await anyio.lowlevel.checkpoint()
                await transaction.put(samples.group(name="final"))
        assert seen in (["final"], ["group"])

    async def test_opening_again_finds_what_was_committed(self, open_store: OpenStore) -> None:
        if not self.durable:
            pytest.skip("the store is not durable")
        written = everything()
        async with open_store() as store:
            await put(store, *written)
        async with open_store() as store:
            assert await content(store) == sorted_by_kind(written)

    async def test_a_backup_is_made_while_others_write(self, open_store: OpenStore, tmp_path: Path) -> None:
        async def write(store: Store) -> None:
            for number in range(20):
                await put(store, samples.group(f"g{number}"), samples.peer(f"p{number}"))

        async with open_store() as store:
            await put(store, samples.account())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write, store)
                await store.backup(tmp_path / "backup")
            async with store.transaction() as transaction:
                assert len(await transaction.find(Group)) == 20
        assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
        await self.check_backup(tmp_path / "backup")

    async def check_backup(self, backup: Path) -> None:
        """Override: open the backup, and see that there are as many groups as peers in it."""

    async def test_a_backup_replaces_nothing(self, open_store: OpenStore, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious")
        async with open_store() as store:
            with pytest.raises(StoreError):
                await store.backup(precious)
            with pytest.raises(StoreError):
                await store.backup(tmp_path / "no" / "such" / "folder")
        assert precious.read_text() == "precious"

    async def test_read_only_means_it(self, open_store: OpenStore) -> None:
        async with open_store():
            pass
        context = StoreContext(open_store.data_dir, ENTITIES, read_only=True)
        async with open_store.backend.open(open_store.options, context) as store:
            with pytest.raises(StoreUnavailable):
                await put(store, samples.account())
            assert await content(store) == []

    def test_any_history_agrees_with_a_simple_model(
        self, backend: Backend[StoreContext, Store], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        run_store_machine(backend, tmp_path_factory.mktemp("machine"), durable=self.durable)


def everything() -> list[Any]:
    """One entity of each kind."""
    makers = (samples.account, samples.user, samples.token, samples.group, samples.policy, samples.setup_key)
    return [*(make() for make in makers), samples.peer(setup_key_id="key")]


async def put(store: Store, *entities: Any) -> None:
    """Write them in one transaction."""
    async with store.transaction() as transaction:
        for entity in entities:
            await transaction.put(entity)


async def content(store: Store) -> list[Any]:
    """All that is in the store, kind by kind."""
    async with store.transaction() as transaction:
        found: list[Any] = []
        for kind in ENTITIES:
            found += await transaction.find(kind)
        return found


def sorted_by_kind(entities: list[Any]) -> list[Any]:
    """As :func:`content` has them."""

    def place(entity: Any) -> tuple[int, str]:
        return ENTITIES.index(type(entity)), entity.id

    return sorted(entities, key=place)


__all__ = ["OpenStore", "StoreContract"]
