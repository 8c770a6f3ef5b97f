"""Asking STUN servers for the shared port's address as seen from outside, once for all connections (RFC 8489)."""

from collections.abc import Callable, Iterable

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.stun import Address, Kind, encode, parse

TOKEN = 4
FIRST_REPETITION = 0.25
LEAST_REFRESH = 6.0
TRIES = 7
"""Section 6.2.1's number of requests; our first repetition comes sooner, since an answer is waited for."""


@attrs.define(eq=False)
class _Server:
    """One server's conversation."""

    next_request: float | None
    refresh: float
    is_refresh: bool = False
    tries: int = 0
    transaction: bytes = b""
    mapped: Address | None = None


class AddressDiscovery:
    """Keeps the mapped address of each server known, and the mappings open.

    Drain ``datagrams()`` after each call and wake it at ``deadline()``.

    Args:
        token: First 4 bytes of its transactions, by which responses find here.
        refresh: Seconds between two requests to a server that answers; less where a router forgets sooner.
        retry: Seconds until a server that did not answer is tried again.
    """

    def __init__(
        self, token: bytes, entropy: Callable[[int], bytes], *, refresh: float = 25.0, retry: float = 10.0
    ) -> None:
        self._token, self._entropy = token, entropy
        self._refresh, self._retry = refresh, retry
        self._servers: dict[Address, _Server] = {}
        self._out: list[tuple[bytes, Address]] = []
        self.changed = False
        """Whether a mapped address changed since this was last set to False."""

    def set_servers(self, servers: Iterable[Address], now: float) -> None:
        """Ask these from now on."""
        wanted = list(dict.fromkeys(servers))
        for gone in [address for address in self._servers if address not in wanted]:
            self.changed |= self._servers.pop(gone).mapped is not None
        for address in wanted:
            self._servers.setdefault(address, _Server(now, self._refresh))
        self.handle_timer(now)

    def ask_again(self, now: float) -> None:
        """Ask all at once, since the network has changed; what was known is kept until the answers come."""
        for server in self._servers.values():
            server.next_request, server.tries, server.is_refresh = now, 0, False
        self.handle_timer(now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """A datagram whose transaction begins with our token; what is no answer to us is ignored."""
        server = self._servers.get(source)
        if server is None or data[8:20] != server.transaction:
            return
        try:
            message = parse(data)
            mapped = message.mapped_address if message.kind == Kind.SUCCESS else None
        except ProtocolError:
            return
        if mapped is None:
            return
        if server.is_refresh and server.mapped not in (None, mapped):
            server.refresh = max(server.refresh / 2, LEAST_REFRESH)  # a router has forgotten the mapping meanwhile
        self.changed |= mapped != server.mapped
        server.mapped = mapped
        server.transaction, server.tries = b"", 0
        server.next_request, server.is_refresh = now + server.refresh, True

    def handle_timer(self, now: float) -> None:
        """Send what is due."""
        for address, server in self._servers.items():
            if server.next_request is None or server.next_request > now:
                continue
            if server.tries >= TRIES:
                self.changed |= server.mapped is not None
                server.mapped, server.tries, server.is_refresh = None, 0, False
                server.next_request = now + self._retry
                continue
            if not server.tries:
                server.transaction = self._token + self._entropy(12 - TOKEN)
            self._out.append((encode(Kind.REQUEST, server.transaction), address))
            server.next_request = now + FIRST_REPETITION * 2**server.tries
            server.tries += 1

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        return min((server.next_request for server in self._servers.values() if server.next_request), default=None)

    def datagrams(self) -> list[tuple[bytes, Address]]:
        """What to send now, to whom."""
        out, self._out = self._out, []
        return out

    @property
    def mapped(self) -> list[Address]:
        """The addresses found, each once, in the order of the servers."""
        return list(dict.fromkeys(server.mapped for server in self._servers.values() if server.mapped))

    @property
    def is_settled(self) -> bool:
        """Whether no first answer is awaited any more."""
        return all(server.mapped is not None or not server.tries for server in self._servers.values())
