"""Prove that an installed distribution works in this environment: run by the environment's own Python.

Usage: python -I tools/distributions/prove.py NAME[EXTRA]

Every module of it is imported, and with it each module that it imports late, so that a dependency that is not declared
is found; its plugins load; its programs run. A subpackage that is named like an extra belongs to that extra, and is
left out where the extra was not asked for.
"""

import ast
import importlib
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ON_THEIR_OWN = {"meshloom_store_sqlite.migrations.env"}
"""Scripts that only their library runs; importing them is no use of them."""


def modules_of(distribution: metadata.Distribution, extras: set[str]) -> Iterator[tuple[str, Path]]:
    """Name and file of each module that must work."""
    offered = set(distribution.metadata.get_all("Provides-Extra") or ())
    for file in distribution.files or ():
        parts = file.with_suffix("").parts
        if file.suffix == ".py" and not (len(parts) > 1 and parts[1] in offered - extras):
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if name not in ON_THEIR_OWN:
                yield name, Path(str(distribution.locate_file(file)))


def imports_of(file: Path) -> Iterator[str]:
    """Modules that the file imports, also inside functions; those for the type checker alone are not asked for."""
    for node in _walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk(child)


def prove_modules(distribution: metadata.Distribution, extras: set[str]) -> int:
    """Import all of them, from here and nowhere else; returns how many."""
    site = Path(sysconfig.get_path("purelib")).resolve()
    count = 0
    for name, file in modules_of(distribution, extras):
        if not file.resolve().is_relative_to(site):
            raise SystemExit(f"{name} is outside this environment: {file}")
        importlib.import_module(name)
        for late in imports_of(file):
            try:
                importlib.import_module(late)
            except ImportError as error:
                raise SystemExit(f"{name} imports {late}: {error}; is the dependency declared?") from error
        count += 1
    return count


def prove_plugins(distribution: metadata.Distribution) -> int:
    """Load each, and ask what it offers."""
    points = [point for point in distribution.entry_points if point.group == "meshloom"]
    if points:
        from meshloom.plugins import Plugins

        loaded = Plugins()
        if missing := {point.name for point in points} - set(loaded.names()):
            raise SystemExit(f"not loaded: {missing}")
        loaded.kinds()
    return len(points)


def prove_programs(distribution: metadata.Distribution) -> int:
    """Run each one's help, version and plugins."""
    points = [point for point in distribution.entry_points if point.group == "console_scripts"]
    for point in points:
        program = Path(sysconfig.get_path("scripts")) / point.name
        for argument in ("--help", "version", "plugins"):
            done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
            if done.returncode or not done.stdout.strip():
                raise SystemExit(f"{point.name} {argument}: exit {done.returncode}\n{done.stdout}{done.stderr}")
            if argument == "version" and done.stdout.strip() != distribution.version:
                raise SystemExit(f"{point.name} version: {done.stdout.strip()} instead of {distribution.version}")
    return len(points)


def main(wanted: str) -> None:
    """Prove all that the distribution has."""
    name, _, extra = wanted.rstrip("]").partition("[")
    distribution = metadata.distribution(name)
    modules = prove_modules(distribution, set(extra.split(",")) - {""})
    plugins, programs = prove_plugins(distribution), prove_programs(distribution)
    others = {str(each.name) for each in metadata.distributions() if str(each.name).startswith("meshloom")} - {name}
    print(f"{wanted}: {modules} modules, {plugins} plugins, {programs} programs; with {sorted(others) or 'none other'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
