"""No error is told as a tuple, the name of a class or a bare number of the system."""

import ast
import errno
import socket
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from meshloom.dialing import dial
from meshloom.errors import UNEXPECTED, TransportError, TunnelError, words_of
from meshloom.testing.ports import free_port
from meshloom.transport import RelayAddress, TransportContext

ROOT = Path(__file__).parents[2]
SOURCES = [
    file
    for folder in ("core/src", "services", "libraries", "plugins")
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
        told = [node.value] if isinstance(node, ast.FormattedValue) else []
        told = node.values if isinstance(node, ast.BoolOp) else told  # such as "error.strerror or error"
        if any(getattr(each, "id", "") == handler.name for each in told):
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
        (
            ExceptionGroup("", [OSError(errno.EPERM, "a"), TimeoutError(), OSError(errno.EPERM, "a")]),
            "a; it took too long",
        ),
        (OSError(errno.ECONNREFUSED, "Connect call failed ('10.66.0.1', 80)"), "Connection refused"),
        (
            OSError(errno.EADDRINUSE, "error while attempting to bind on ('::1', 80, 0, 0): in use"),
            "Address already in use",
        ),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 80, 0, 0), "
                "[Errno 101] Connect call failed ('10.66.0.1', 80), [Errno 111] Connect call failed ('10.66.0.2', 80)"
            ),
            "Connection refused; Network is unreachable",
        ),
    ],
)
def test_each_error_has_words(error, words):
    assert words_of(error) == words


@pytest.mark.anyio
async def test_a_relay_that_refuses_is_told_without_the_tuple_of_its_address():
    with pytest.raises(TransportError, match=r"^rel://127\.0\.0\.1:\d+ cannot be reached: Connection refused$"):
        await dial(RelayAddress.parse(f"rel://127.0.0.1:{free_port()}"), TransportContext())
