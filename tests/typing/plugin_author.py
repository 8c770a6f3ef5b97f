"""What the author of a plugin writes, fully typed: part of the type checker's run, never imported.

Lines that say ``type: ignore`` are mistakes that the checker must find: one that it does not find is an unused ignore.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs

from meshloom import Backend, hookimpl
from meshloom.bus import Bus, BusContext
from meshloom.config import Secret, key
from meshloom.errors import StoreUnavailable
from meshloom.local_bus import LocalBus
from meshloom.store import Store, StoreContext, Transaction
from meshloom.tunnel import Tunnel, TunnelContext


@attrs.frozen
class Options:
    """The table ``[bus.sample]``."""

    url: str = key(default="sample://127.0.0.1", help="Where it listens.")
    password: Secret | None = key(default=None, help="What it asks for.")


@asynccontextmanager
async def open_bus(options: Options, context: BusContext) -> AsyncIterator[Bus]:
    """A bus, run by the body."""
    del context
    assert options.url
    yield LocalBus()


@hookimpl
def meshloom_buses() -> Iterable[Backend[BusContext, Bus]]:
    """The offer."""
    return [Backend("sample", Options, open_bus, probe=why_not, rank=200)]


def why_not() -> str | None:
    """A probe."""
    return None if Path("/run/sample").exists() else "sample is not installed"


class SampleStore(Store):
    """A store that leaves a method out is abstract, and says so where it is made."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Nothing is written."""
        raise StoreUnavailable


def made_of_half_a_contract() -> Store:
    """The rest of the contract is missing."""
    return SampleStore()  # type: ignore[abstract]


def of_the_wrong_kind(offer: Backend[BusContext, Bus]) -> Backend[TunnelContext, Tunnel]:
    """A bus is no tunnel."""
    return offer  # type: ignore[return-value]


async def used(store: Store, options: Options, context: StoreContext) -> str:
    """What a contract gives back has its own types."""
    async with store.transaction() as transaction:
        transaction.commit()  # type: ignore[attr-defined]
    await store.backup(str(context.data_dir))  # type: ignore[arg-type]
    return options.password  # type: ignore[return-value]
