"""Calls of the daemon from the command line; its refusals become sentences and exit codes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshloom_agent.cli.exits import FAILED, LOGIN_NEEDED, NO_DAEMON, TIMEOUT, USAGE, fail

DENIED = "permission denied: use sudo, or join the group in `socket_group`"
FROZEN = "the daemon does not answer: is it stopped, or the machine overloaded? see `meshloom service status`"
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
        fail(NO_DAEMON, objection)
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
    """Before gRPC is loaded: why nobody listens there, or not to us; empty where somebody does."""
    path = address.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except PermissionError:
            return DENIED
        except OSError:
            return f"no daemon listens on {path}: start it with `meshloom service start`"
    return ""
