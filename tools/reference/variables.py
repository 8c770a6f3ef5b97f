"""The environment variables of all programs, as a module of core: a program tolerates those of the others."""

import ast
import re
from collections.abc import Iterator

import click
from workspace import programs, trees

from meshloom.config.keys import PREFIX
from meshloom.plugins import Plugins
from meshloom.service import setup_keys

HEAD = '''"""The variables that Meshloom's programs read. Generated from the code by `make docs`; do not edit."""

VARIABLES = frozenset(
    {
'''
NAME = re.compile(rf"{PREFIX}[A-Z0-9_]*[A-Z0-9]")
APART = ("meshloom.config.environment", "meshloom.config.variables")
"""Modules that name variables without reading them."""


def module() -> str:
    """The module's text."""
    plugins = Plugins()
    named = {key.environment for program in programs() for key in setup_keys(program.config, program.kinds, plugins)}
    named |= {name for program in programs() for name in _options(program.command)}
    named |= set(_literals())
    return HEAD + "".join(f'        "{name}",\n' for name in sorted(filter(NAME.fullmatch, named))) + "    }\n)\n"


def _options(command: click.Command) -> Iterator[str]:
    for option in command.params:
        names = option.envvar or ()
        yield from (names,) if isinstance(names, str) else names
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _options(each)


def _literals() -> Iterator[str]:
    """Names that the code writes out, since no key and no option stands for them."""
    for _, name, tree in trees():
        if name not in APART:
            yield from (
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
