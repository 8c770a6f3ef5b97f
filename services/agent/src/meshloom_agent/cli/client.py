"""Calls of the daemon from the command line; its refusals become sentences and exit codes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshloom_agent.cli.exits import FAILED, LOGIN_NEEDED, NO_DAEMON, TIMEOUT, USAGE, fail

DEFAULT_SOCKET = "unix:///var/run/meshloom.sock"


@contextmanager
def daemon(address: str) -> Iterator[Any]:
    """The daemon's stub; ends the process with a sentence where a call is refused."""
    path = address.removeprefix("unix://")
    _look(path)
    import grpc

    from meshloom.rpc.daemon_pb2_grpc import DaemonServiceStub

    codes = {
        grpc.StatusCode.PERMISSION_DENIED: LOGIN_NEEDED,
        grpc.StatusCode.INVALID_ARGUMENT: USAGE,
        grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT,
    }
    with grpc.insecure_channel(f"unix:{path}") as channel:
        try:
            yield DaemonServiceStub(channel)  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            code, text = error.code(), error.details() or ""
            fail(codes.get(code, FAILED), text or f"the daemon answers {code.name}")


def _look(path: str) -> None:
    """Before gRPC is loaded: whether somebody listens, and lets us."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except PermissionError:
            fail(NO_DAEMON, f"{path}: the daemon talks with root, and with the group of its `socket_group`")
        except OSError:
            fail(NO_DAEMON, f"no daemon listens on {path}: start it with `meshloom service start`")
