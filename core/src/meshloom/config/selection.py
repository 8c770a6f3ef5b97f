"""Choosing a backend by the configuration: ``[store] backend = "sqlite"``, ``[store.sqlite] ...``."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import attrs

from meshloom.backend import AUTO, Backend, Backends
from meshloom.config.convert import structure, unknown
from meshloom.errors import ConfigError, UnknownBackend

C = TypeVar("C")
T = TypeVar("T")


@attrs.frozen
class Chosen(Generic[C, T]):
    """A backend with its options, ready to be opened."""

    backend: Backend[C, T]
    options: Any

    def open(self, context: C) -> AbstractAsyncContextManager[T]:
        """Enter the running backend."""
        return self.backend.open(self.options, context)


def choose(backends: Backends[C, T], table: Mapping[str, Any]) -> Chosen[C, T]:
    """The backend that the kind's table selects; every installed one's own table is checked.

    Raises:
        ConfigError: The name, a key or a value is wrong, or no backend can run here.
    """
    offers = {backend.name: backend for backend in backends}
    problems, options = [], {}
    for name, value in table.items():
        if name == "backend":
            continue
        if name not in offers:
            problems.append(unknown(f"{backends.kind}.{name}", name, ["backend", *offers]))
        elif not isinstance(value, dict):
            problems.append(f"{backends.kind}.{name}: {value!r} is no table; write [{backends.kind}.{name}]")
        else:
            try:
                options[name] = structure(value, offers[name].options, f"{backends.kind}.{name}")
            except ConfigError as error:
                problems += error.problems
    wanted = table.get("backend", AUTO)
    if not isinstance(wanted, str):
        problems.append(f"{backends.kind}.backend: {wanted!r} is no text; it is 'auto' or a backend's name")
    elif problems and wanted != AUTO and wanted not in offers:
        problems += UnknownBackend(backends.kind, wanted, list(offers)).problems
    if problems:
        raise ConfigError(*problems)
    backend = backends.named(wanted)
    return Chosen(backend, options.get(backend.name) or backend.options())
