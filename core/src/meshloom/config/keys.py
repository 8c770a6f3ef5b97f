"""The keys of a configuration class: what flags, environment variables and the reference are made from."""

import typing
from collections.abc import Iterator
from typing import Any

import attrs

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
    def flag(self) -> str:
        """The option that sets it: ``--stun-port``."""
        return "--" + self.name.replace(".", "-").replace("_", "-")


def keys_of(config: type[Any], prefix: str = "") -> Iterator[Key]:
    """All keys of a configuration class, its nested classes' included, in the order of their declaration."""
    hints = typing.get_type_hints(config)
    for field in attrs.fields(config):
        kind = hints[field.name]
        if attrs.has(kind) and HELP not in field.metadata:
            yield from keys_of(kind, f"{prefix}{field.name}.")
        else:
            default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
            yield Key(prefix + field.name, kind, default, field.metadata.get(HELP, ""))
