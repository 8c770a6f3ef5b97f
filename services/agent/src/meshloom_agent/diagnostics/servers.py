"""Whether STUN servers answer, as the status shows it: each is asked again when its last answer is old."""

import os
import socket
from collections.abc import Callable, Sequence

import anyio
import attrs

from meshloom.errors import ProtocolError, words_of
from meshloom.protocol.stun import Kind, encode, parse
from meshloom_agent.report import RelayReport

ANSWER_WITHIN = 3.5
KEEP = 20.0
"""Seconds for which an answer is believed."""
SEND_AT = 0.3


@attrs.define
class ServerProbes:
    """Answers of servers, kept for a while.

    Args:
        refusal: Says why no server may be at an address; empty where one may.
    """

    refusal: Callable[[str], str] = lambda _address: ""
    _known: dict[tuple[str, int], tuple[float, RelayReport]] = attrs.field(factory=dict, init=False)
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)

    def known(self, servers: Sequence[tuple[str, int]]) -> list[RelayReport]:
        """What was found last; nothing is asked."""
        return [self._known[each][1] if each in self._known else RelayReport(_uri(each)) for each in servers]

    async def look(self, servers: Sequence[tuple[str, int]]) -> list[RelayReport]:
        """Ask those whose answers are too old; takes at most ``ANSWER_WITHIN`` seconds."""
        async with self._lock:
            now = anyio.current_time()
            self._known = {each: found for each, found in self._known.items() if each in servers}
            async with anyio.create_task_group() as tasks:
                for each in servers:
                    if each not in self._known or now - self._known[each][0] > KEEP:
                        tasks.start_soon(self._ask, each)
        return self.known(servers)

    async def _ask(self, server: tuple[str, int]) -> None:
        error = "no answer"
        with anyio.move_on_after(ANSWER_WITHIN):
            try:
                error = await self._stun_answer(*server)
            except OSError as failure:
                error = words_of(failure)
        report = RelayReport(_uri(server), available=not error, error=error)
        self._known[server] = anyio.current_time(), report

    async def _stun_answer(self, host: str, port: int) -> str:
        """Empty when a binding request is answered; asks until cancelled."""
        request = encode(Kind.REQUEST, os.urandom(12))
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        address = str(found[0][4][0])
        if why := self.refusal(address):
            return f"not asked: it is {why}"
        async with await anyio.create_connected_udp_socket(address, port) as asking:
            while True:
                await asking.send(request)
                with anyio.move_on_after(SEND_AT):
                    while True:
                        try:
                            message = parse(await asking.receive())
                        except ProtocolError:
                            continue
                        if message.transaction == request[8:20] and message.kind == Kind.SUCCESS:
                            return ""


def _uri(server: tuple[str, int]) -> str:
    host, port = server
    return f"stun:[{host}]:{port}" if ":" in host else f"stun:{host}:{port}"
