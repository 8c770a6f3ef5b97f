"""No error is told as a tuple, the name of a class or a bare number of the system."""

import ast
import errno
import socket
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from meshloom.errors import UNEXPECTED, TunnelError, words_of

ROOT = Path(__file__).parents[2]
SOURCES = [
    file
    for folder in ("services/agent/src", "libraries/linux/src", "plugins/tunnel", "plugins/transport")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if "tests" not in file.parts
]
NUMBERED = {"OSError", "NetlinkError", "PermissionError", "gaierror", "SSLError"}


def named(kind):
    """The classes that a handler catches."""
    return {getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(kind)} if kind is not None else set()


def told_raw(handler):
    """Places in a handler where the error itself is put into words."""
    for node in ast.walk(handler):
        if isinstance(node, ast.FormattedValue) and getattr(node.value, "id", "") == handler.name:
            yield node.lineno
        elif isinstance(node, ast.Call):
            function = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if function in ("str", "debug", "info", "warning", "error", "exception", "repr") and any(
                getattr(argument, "id", "") == handler.name for argument in node.args
            ):
                yield node.lineno


def test_errors_of_the_system_are_always_told_in_words():
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ExceptHandler) and node.name and named(node.type) & NUMBERED
        for line in told_raw(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NetlinkError(errno.EACCES, "Permission denied"), "Permission denied"),
        (NetlinkError(errno.EEXIST), "File exists"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device", "/var/lib/a"), "/var/lib/a: No space left on device"),
        (OSError("relay.example has no address"), "relay.example has no address"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (TimeoutError(), "it took too long"),
        (KeyError(), UNEXPECTED),
        (TunnelError("the interface ml0 is gone"), "the interface ml0 is gone"),
        (ExceptionGroup("", [OSError(errno.EPERM, "Operation not permitted")]), "Operation not permitted"),
    ],
)
def test_each_error_has_words(error, words):
    assert words_of(error) == words
