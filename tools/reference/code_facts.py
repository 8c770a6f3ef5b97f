"""Metrics, log events and errors, as the code has them."""

import ast
import inspect
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workspace import code, import_all, members, modules, programs, table, trees

import meshloom.log
from meshloom.errors import MeshError
from meshloom_agent.diagnostics.metrics import Snapshot
from meshloom_agent.report import Report
from meshloom_front.commands import ServerGroup

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Each call, with the last name of what is called."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for node in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(node.func, (ast.Name, ast.Attribute)):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr, node


def metrics() -> str:
    """The page of metrics: what each server, started for it, has, and what an agent has."""
    names = [program.name for program in programs() if isinstance(program.command, ServerGroup)]
    with ThreadPoolExecutor() as pool:
        found = pool.map(_metrics_of, names)
    described: dict[tuple[str, ...], list[str]] = {}
    for program, rows in [*zip(names, found, strict=True), ("meshloom", list(_metrics_of_agent()))]:
        for name, kind, labels, about in rows:
            row = code(name), kind, ", ".join(map(code, labels)), f"{about}."
            described.setdefault(row, []).append(program)
    lines = [(*row, ", ".join(map(code, users))) for row, users in sorted(described.items())]
    head = "# Metrics\n\nServed in Prometheus' format at `/metrics` on the address that `metrics` gives.\n\n"
    tail = (
        "\nBesides these come the process's own: `process_*` (CPU, memory, open files), `python_gc_*`, `python_info`.\n"
        "\nOn the same address, `/health/live` of a server answers while the process does, `/health/ready` (and\n"
        "`/health`) with 503 until it serves and once it stops.\n"
    )
    return head + table(("Metric", "Type", "Labels", "Meaning", "Programs"), lines) + tail


def _metrics_of_agent() -> Iterator[tuple[str, str, list[str], str]]:
    for each in Snapshot(Report(), ()).collect():
        name = each.name + ("_total" if each.type == "counter" else "")
        yield name, each.type, list(each._labelnames), each.documentation  # type: ignore[attr-defined]  # noqa: SLF001


def _metrics_of(program: str) -> list[tuple[str, str, list[str], str]]:
    command = [sys.executable, str(Path(__file__).with_name("metrics_of.py")), program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, f"{program} does not start:\n{done.stderr}"
    rows: list[tuple[str, str, list[str], str]] = json.loads(done.stdout)
    return rows


def logs() -> str:
    """The page of what is logged."""
    parts = ["# Logs\n", _INTRODUCTION_OF_LOGS]
    if fields := _fields():
        parts.append("## Fields\n\nFields of the records, which are named the same in every part.\n")
        parts.append(table(("Field", "Meaning", "Loggers"), fields))
    for member in members():
        rows = [row for name, file in modules(member) for row in _events(name, ast.parse(file.read_text()))]
        if rows:
            parts.append(f"## {member.name}\n\n" + table(("Logger", "Level", "Event"), rows))
    return "\n".join(parts)


_INTRODUCTION_OF_LOGS = """\
The programs log to standard error (the agent also to a file, with `--log-file`), from the level that `log_level` names
on. `%s` and `%d` stand for what differs. INFO and above are changes of state that an operator cares about; single
packets and messages are DEBUG. Keys, tokens and the contents of messages are never logged.

A record is one line of visible characters: line breaks, terminal escapes and marks that reorder text are written as
`\\n`, `\\x1b` and `\\u202e`, whoever said them. The lines of a stack trace follow, indented.
"""


def _events(module: str, tree: ast.Module) -> Iterator[tuple[str, ...]]:
    for name, call in _calls(tree):
        is_logger = isinstance(call.func, ast.Attribute) and "log" in ast.unparse(call.func.value).lower()
        if name in LEVELS and is_logger and call.args:
            first = call.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield code(module), {"exception": "ERROR"}.get(name, name.upper()), first.value


def _fields() -> list[tuple[str, ...]]:
    """The constants of :mod:`meshloom.log` that records have, each with the text below it."""
    body = ast.parse(inspect.getsource(meshloom.log)).body
    rows: list[tuple[str, ...]] = []
    for node, after in itertools.pairwise([*body, ast.Pass()]):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            about = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                about = str(after.value.value)
            if users := [module for _, module, tree in trees() if _uses(tree, name)]:
                rows.append((code(getattr(meshloom.log, name)), about, ", ".join(map(code, users))))
    return rows


def _uses(tree: ast.Module, constant: str) -> bool:
    """Whether a module takes the constant from :mod:`meshloom.log`."""
    text = ast.unparse(tree)
    return "meshloom.log" in text and re.search(rf"\b(log\.)?{constant}\b", text) is not None


def errors() -> str:
    """The page of errors."""
    import_all()
    head = (
        "# Errors\n\nWhat Meshloom raises on purpose: one tree. `str()` of each is a sentence that names the key or\n"
        "thing, the value and what to do. The programs end with exit code 2 for a `ConfigError`, with 1 for others.\n\n"
    )
    tree = "\n".join(_drawn(MeshError, "", ""))
    rows = [(code(each.__name__), code(each.__module__), _summary(each)) for each in _below(MeshError)]
    return f"{head}```text\n{tree}\n```\n\n" + table(("Error", "Module", "When"), rows)


def _own(kind: type[Any]) -> list[type[Any]]:
    found = (each for each in kind.__subclasses__() if each.__module__.startswith("meshloom"))
    return sorted((each for each in found if ".testing" not in each.__module__), key=lambda each: each.__qualname__)


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in _own(kind):
        yield from _below(each)


def _drawn(kind: type[Any], first: str, rest: str) -> Iterator[str]:
    yield f"{first}{kind.__name__}"
    below = _own(kind)
    for each in below:
        is_last = each is below[-1]
        yield from _drawn(each, rest + ("└── " if is_last else "├── "), rest + ("    " if is_last else "│   "))


def _summary(kind: type[Any]) -> str:
    doc = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    assert doc, f"{kind} has no docstring"
    return doc.replace("``", "`")
