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
    options, problems = _options(backends, table, "backend")
    wanted = table.get("backend", AUTO)
    if not isinstance(wanted, str):
        problems.append(f"{backends.kind}.backend: {wanted!r} is no text; it is 'auto' or a backend's name")
    elif problems and wanted not in (AUTO, *options):
        problems += UnknownBackend(backends.kind, wanted, list(options)).problems
    if problems:
        raise ConfigError(*problems)
    backend = backends.named(wanted)
    return Chosen(backend, options[backend.name])


def choose_several(backends: Backends[C, T], table: Mapping[str, Any]) -> list[Chosen[C, T]]:
    """The backends that the kind's table lists, in its order: ``backends = ["quic", "websocket"]``, or ``"auto"``.

    Raises:
        ConfigError: A name, a key or a value is wrong.
    """
    options, problems = _options(backends, table, "backends")
    wanted = table.get("backends", AUTO)
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        problems.append(f"{backends.kind}.backends: {wanted!r} is neither 'auto' nor a list of names")
    elif names != [AUTO]:
        for name in names:
            if name not in options:
                problems += UnknownBackend(backends.kind, name, list(options)).problems
    if problems:
        raise ConfigError(*problems)
    chosen = backends.usable() if names == [AUTO] else [backends.named(name) for name in dict.fromkeys(names)]
    return [Chosen(backend, options[backend.name]) for backend in chosen]


def _options(backends: Backends[C, T], table: Mapping[str, Any], selector: str) -> tuple[dict[str, Any], list[str]]:
    """The options of every installed backend, and what is wrong with the tables that give them."""
    offers = {backend.name: backend for backend in backends}
    problems: list[str] = []
    options = {}
    for name, backend in offers.items():
        value = table.get(name, {})
        if not isinstance(value, dict):
            problems.append(f"{backends.kind}.{name}: {value!r} is no table; write [{backends.kind}.{name}]")
            continue
        try:
            options[name] = structure(value, backend.options, f"{backends.kind}.{name}")
        except ConfigError as error:
            problems += error.problems
    for name in table.keys() - offers.keys() - {selector}:
        problems.append(unknown(f"{backends.kind}.{name}", name, [selector, *offers]))
    return options, problems
