"""Calls of the daemon from the command line; its refusals become sentences and exit codes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshloom_agent.cli.exits import FAILED, LOGIN_NEEDED, NO_DAEMON, TIMEOUT, USAGE, fail

DENIED = "permission denied: use sudo, or join the group in `socket_group`"
FROZEN = "the daemon does not answer: is it stopped, or the machine overloaded? see `meshloom service status`"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
"""The preface of HTTP/2 with empty settings (RFC 9113 section 3.4), which a server answers with its own."""
GREETED_WITHIN = 10.0
"""Seconds for the daemon to answer that: its kernel takes connections also while it is stopped."""
DEFAULT_SOCKET = "unix:///run/meshloom/meshloom.sock"


@contextmanager
def daemon(address: str) -> Iterator[Any]:
    """The daemon's stub; ends the process with a sentence where a call is refused."""
    with daemon_channel(address) as channel, refusals():
        from meshloom.rpc.daemon_pb2_grpc import DaemonServiceStub

        yield DaemonServiceStub(channel)  # type: ignore[no-untyped-call]


@contextmanager
def daemon_channel(address: str) -> Iterator[Any]:
    """A channel to the daemon; ends the process with a sentence where there is none that talks with us."""
    if objection := unreachable(address):
        fail(TIMEOUT if objection == FROZEN else NO_DAEMON, objection)
    import grpc

    with grpc.insecure_channel(f"unix:{address.removeprefix('unix://')}") as channel:
        yield channel


@contextmanager
def refusals() -> Iterator[None]:
    """Calls that are refused end the process with what the daemon says."""
    import grpc

    codes = {
        grpc.StatusCode.PERMISSION_DENIED: LOGIN_NEEDED,
        grpc.StatusCode.INVALID_ARGUMENT: USAGE,
        grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT,
    }
    try:
        yield
    except grpc.RpcError as error:
        code, text = error.code(), error.details() or ""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:  # the daemon's own limits are shorter
            text = FROZEN
        fail(codes.get(code, FAILED), text or f"the daemon answers {code.name}")


def unreachable(address: str) -> str:
    """Before gRPC is loaded: why nobody listens there, or not to us, or says nothing; empty where somebody does."""
    path = address.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(GREETED_WITHIN)
        try:
            probe.connect(path)
            probe.sendall(GREETING)
            probe.recv(1)
        except PermissionError:
            return DENIED
        except (TimeoutError, BlockingIOError):  # the latter where too many wait already to be taken
            return FROZEN
        except OSError:
            return f"no daemon listens on {path}: start it with `meshloom service start`"
    return ""
