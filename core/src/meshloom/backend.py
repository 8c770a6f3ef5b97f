"""What a plugin offers, and how one of the offers is chosen."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import attrs

from meshloom.errors import BackendUnavailable, DuplicateBackend, UnknownBackend

C = TypeVar("C")
T = TypeVar("T")

AUTO = "auto"


def runs_anywhere() -> str | None:
    """The probe of a backend that needs nothing of its host."""
    return None


@attrs.frozen
class Backend(Generic[C, T]):
    """One selectable implementation of a plugin kind.

    Args:
        name: The value of ``backend = "..."`` in the configuration, in kebab-case.
        options: The attrs class that ``[<kind>.<name>]`` is structured into; all fields have defaults.
        open: Enters the running backend; leaving it undoes everything it did.
        probe: Says why it cannot run on this host, or None. No side effects.
        rank: Order in which ``backend = "auto"`` tries it; lower is earlier.
        wire: What goes over the network, where several backends of the kind speak the same; one of them is enough.
    """

    name: str
    options: type[Any]
    open: Callable[[Any, C], AbstractAsyncContextManager[T]]
    probe: Callable[[], str | None] = runs_anywhere
    rank: int = 100
    wire: str = ""


class Backends(Generic[C, T]):
    """The installed backends of one kind.

    Raises:
        DuplicateBackend: Two of the offers have the same name.
    """

    def __init__(self, kind: str, offers: Iterable[Backend[C, T]]) -> None:
        self.kind = kind
        self._by_name: dict[str, Backend[C, T]] = {}
        for offer in sorted(offers, key=lambda offer: (offer.rank, offer.name)):
            if offer.name in self._by_name:
                raise DuplicateBackend(kind, offer.name)
            self._by_name[offer.name] = offer

    def __iter__(self) -> Iterator[Backend[C, T]]:
        return iter(self._by_name.values())

    def usable(self) -> list[Backend[C, T]]:
        """All that can run here, by rank; of those that speak the same wire only the first."""
        found: dict[str, Backend[C, T]] = {}
        for backend in self:
            if backend.probe() is None:
                found.setdefault(backend.wire or backend.name, backend)
        return list(found.values())

    def named(self, name: str) -> Backend[C, T]:
        """The backend with that name; for ``auto`` the first by rank whose probe has no objection.

        Raises:
            UnknownBackend: Nothing installed has the name.
            BackendUnavailable: ``auto``, and every probe objects.
        """
        if name != AUTO:
            if name not in self._by_name:
                raise UnknownBackend(self.kind, name, list(self._by_name))
            return self._by_name[name]
        reasons: dict[str, str] = {}
        for backend in self:
            reason = backend.probe()
            if reason is None:
                return backend
            reasons[backend.name] = reason
        raise BackendUnavailable(self.kind, reasons)
