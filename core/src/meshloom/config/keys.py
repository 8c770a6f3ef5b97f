"""The keys of a configuration class: what flags, environment variables and the reference are made from."""

import typing
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from typing import Any

import attrs

from meshloom.config.secret import Secret
from meshloom.placeholder import placeholder

HELP = "meshloom.config.help"
PREFIX = "MESHLOOM_"


def key(*, help: str, **more: Any) -> Any:
    """A field of a configuration class, with the sentence that describes it to a user."""
    return attrs.field(metadata={HELP: help}, **more)


@attrs.frozen
class Key:
    """One thing that can be configured.

    Args:
        name: Dotted, as in the file: ``stun.port``.
        type: The field's type.
        default: As written in the class; ``attrs.NOTHING`` where it is required.
        help: One sentence.
    """

    name: str
    type: Any
    default: Any
    help: str

    @property
    def environment(self) -> str:
        """The variable that sets it: ``MESHLOOM_STUN_PORT``."""
        return PREFIX + self.name.upper().replace(".", "_").replace("-", "_")

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be seen."""
        return self.type is Secret or Secret in typing.get_args(self.type)

    @property
    def placeholder(self) -> str:
        """What stands for its value in help."""
        return placeholder(self.name, self.type)

    @property
    def default_text(self) -> str:
        """The default as its flag and its variable take it; empty where there is none."""
        if self.default in (None, attrs.NOTHING, "", (), frozenset()):
            return ""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, timedelta):
            return f"{self.default.total_seconds():g}s"
        if isinstance(self.default, (tuple, frozenset)):
            return ",".join(map(str, self.default))
        return str(self.default.value if isinstance(self.default, Enum) else self.default)

    @property
    def flag(self) -> str:
        """The option that sets it: ``--stun-port``."""
        return "--" + self.name.replace(".", "-").replace("_", "-")


def keys_of(config: type[Any], prefix: str = "") -> Iterator[Key]:
    """All keys of a configuration class, its nested classes' included, in the order of their declaration."""
    hints = typing.get_type_hints(config)
    for field in attrs.fields(config):
        kind = hints[field.name]
        if attrs.has(kind) and kind is not Secret:
            yield from keys_of(kind, f"{prefix}{field.name}.")
        else:
            yield Key(prefix + field.name, kind, _default(field), field.metadata.get(HELP, ""))


def _default(field: "attrs.Attribute[Any]") -> Any:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
