"""Why a server gave no answer, in the words of who has to mend it."""

import socket
from urllib.request import getproxies_environment

import anyio
import grpc

from meshloom.errors import words_of
from meshloom_agent.channel import ServerAddress

LOOK_UP_WITHIN = 6.0
"""Seconds for the server's name: a resolver's second question comes after 5."""
UNCLEAR = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
"""Failures that a name without an address may be behind."""


async def why_unreached(server: ServerAddress, error: grpc.RpcError) -> str:
    """Returns why a call had no answer; empty where the failure itself says it.

    gRPC's own text for what takes too long names neither the server nor the reason, whichever that is.
    """
    if error.code() not in UNCLEAR or getproxies_environment():  # a proxy may find what this host cannot
        return ""
    host, _, port = server.target.rpartition(":")
    with anyio.move_on_after(LOOK_UP_WITHIN):
        try:
            await anyio.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as failure:
            return f"{host} has no address ({words_of(failure).lower()}); is the name right, does DNS work here?"
        return ""
    return f"{host} cannot be looked up: the name servers of this host do not answer"
