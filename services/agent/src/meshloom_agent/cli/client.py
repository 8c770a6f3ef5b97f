"""Calls of the daemon from the command line; its refusals become sentences and exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshloom_agent.cli.exits import FAILED, LOGIN_NEEDED, NO_DAEMON, TIMEOUT, USAGE, fail

DEFAULT_SOCKET = "unix:///var/run/meshloom.sock"


@contextmanager
def daemon(address: str) -> Iterator[Any]:
    """The daemon's stub; ends the process with a sentence where a call is refused."""
    import grpc

    from meshloom.rpc.daemon_pb2_grpc import DaemonServiceStub

    path = address.removeprefix("unix://")
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
            if code is grpc.StatusCode.UNAVAILABLE and "connect" in text.lower():
                fail(NO_DAEMON, f"no daemon listens on {path}: start it with `meshloom service start`, or run as root")
            fail(codes.get(code, FAILED), text)
