"""The table of each kind of entity: its id, what it is found by, and its document."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import attrs
from sqlalchemy import Column, ForeignKey, MetaData, Table, Text

from meshloom.model.fields import stored_fields

BODY = "body"


def table_name(kind: str) -> str:
    """``SetupKey`` is kept in ``setup_keys``, ``Policy`` in ``policies``."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
    return f"{snake.removesuffix('y')}ies" if re.search(r"[^aeiou]y$", snake) else f"{snake}s"


def tables_of(entities: Iterable[type[Any]]) -> Mapping[str, Table]:
    """Tables by their kinds' class names; what the migrations must have led to."""
    metadata = MetaData()
    return {kind.__name__: _table(kind, metadata) for kind in entities}


def _table(kind: type[Any], metadata: MetaData) -> Table:
    name = table_name(kind.__name__)
    columns: list[Column[Any]] = [Column("id", Text, primary_key=True, nullable=False)]
    for field in stored_fields(kind):
        to = [_foreign_key(field.reference)] if field.reference else []
        optional = type(None) in get_args(attrs.fields_dict(kind)[field.name].type)
        columns.append(Column(field.name, Text, *to, index=True, unique=field.unique, nullable=optional))
    return Table(name, metadata, *columns, Column(BODY, Text, nullable=False))


def _foreign_key(kind: str) -> ForeignKey:
    return ForeignKey(f"{table_name(kind)}.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
