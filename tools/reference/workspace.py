"""What the workspace consists of: found in its folders and in the code, never listed by hand."""

import ast
import importlib
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import click

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("core", "libraries/*", "plugins/*/*", "services/*")
APART = ("testing", "migrations")
"""Subpackages that are no part of a running program: they are not documented."""


@attrs.frozen
class Member:
    """One distribution of the workspace."""

    name: str
    package: str
    folder: Path
    scripts: dict[str, str] = attrs.field(hash=False)


@attrs.frozen
class Program:
    """A command line, with the class of its configuration's keys and the kinds of backend that it uses."""

    name: str
    member: Member
    command: click.Command
    config: type[Any]
    kinds: tuple[str, ...]


@cache
def members() -> tuple[Member, ...]:
    """All distributions, by the order of their folders."""
    files = (file for pattern in PATTERNS for file in sorted(ROOT.glob(f"{pattern}/pyproject.toml")))
    return tuple(_member(file) for file in files)


def _member(file: Path) -> Member:
    project = tomllib.loads(file.read_text())["project"]
    package = next(each.name for each in (file.parent / "src").iterdir() if any(each.rglob("*.py")))
    return Member(project["name"], package, file.parent, project.get("scripts", {}))


@cache
def programs() -> tuple[Program, ...]:
    """All command lines. One says by itself what it reads, or its package's module ``config`` does."""
    return tuple(_program(member, *script) for member in members() for script in member.scripts.items())


def _program(member: Member, name: str, place: str) -> Program:
    module, _, attribute = place.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command), f"{place} is no click command"
    if isinstance(config := getattr(command, "config", None), type):
        return Program(name, member, command, config, tuple(getattr(command, "kinds", ())))
    told = importlib.import_module(f"{member.package}.config")
    (config,) = (each for each in vars(told).values() if isinstance(each, type) and attrs.has(each))
    return Program(name, member, command, config, tuple(told.KINDS))


def modules(member: Member) -> Iterator[tuple[str, Path]]:
    """Name and file of each module of a distribution that is documented."""
    source = member.folder / "src"
    for file in sorted((source / member.package).rglob("*.py")):
        parts = file.relative_to(source).with_suffix("").parts
        if not set(APART) & set(parts) and not parts[-1].endswith(("_pb2", "_pb2_grpc")):
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def trees() -> Iterator[tuple[Member, str, ast.Module]]:
    """The parsed source of each module of all distributions."""
    for member in members():
        for name, file in modules(member):
            yield member, name, ast.parse(file.read_text(), str(file))


def import_all() -> list[Any]:
    """Every documented module, imported."""
    return [importlib.import_module(name) for member in members() for name, _ in modules(member)]


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;") or " "


def code(text: str) -> str:
    """As code; nothing for nothing."""
    return f"`{text}`" if text else ""
