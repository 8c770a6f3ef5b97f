"""Two tunnels on one host that know each other, for the tunnel's contract."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_interface, ip_network
from typing import Any

import anyio
import attrs
import pytest

from meshloom.backend import Backend
from meshloom.errors import TunnelError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.testing.tunnel_ground import TunnelGround
from meshloom.tunnel import Address, IPInterface, PeerStats, Tunnel, TunnelContext, TunnelPeer, TunnelState

WITHIN = 30
"""Seconds in which what was sent has arrived, on a slow machine and after lost handshakes."""
ONE, TWO, THREE = (PrivateKey.of(bytes([number]) * 32) for number in (1, 2, 3))
BEYOND = "10.77.0.99"
"""An address that is routed to a peer and that nobody has, so that packets to it end there."""


@attrs.define
class Side:
    """One of two tunnels that know each other."""

    interface: str
    tunnel: Tunnel
    ground: TunnelGround
    state: TunnelState
    other: PublicKey

    async def apply(self, **changes: Any) -> None:
        """Apply the state with changes, and keep it."""
        state = attrs.evolve(self.state, **changes)
        await self.tunnel.apply(state)
        self.state = state

    async def change_peer(self, **changes: Any) -> None:
        """Apply changes of the other."""
        await self.apply(peers={**self.state.peers, self.other: attrs.evolve(self.state.peers[self.other], **changes)})

    async def stats(self) -> PeerStats:
        """What is observed of the other."""
        return (await self.tunnel.observed())[self.other]

    async def has_received(self, size: int, since: PeerStats) -> bool:
        """Whether more than that many bytes came."""
        return (await self.stats()).rx_bytes > since.rx_bytes + size

    async def has_answered(self, since: PeerStats) -> bool:
        """Whether anything was sent."""
        return (await self.stats()).tx_bytes > since.tx_bytes

    async def has_met(self) -> bool:
        """Whether there was a handshake, and anything came."""
        stats = await self.stats()
        return stats.latest_handshake is not None and stats.rx_bytes > 0

    async def sends_to(self, endpoint: Address) -> bool:
        """Whether the other is there."""
        return (await self.stats()).endpoint == endpoint

    def send(self, size: int = 100) -> None:
        """A packet for the other."""
        self.ground.send(self.interface, BEYOND, size)


@attrs.frozen
class Pair:
    """Two tunnels on one host."""

    one: Side
    two: Side

    async def unused_port(self) -> int:
        """One that is free now."""
        with self.one.ground.outsider("127.0.0.1") as free, self.one.ground.outsider("::1", free.address[1]):
            return free.address[1]

    async def meet(self) -> None:
        """Send until both have a session."""
        self.one.send()
        await until(self._have_met)

    async def _have_met(self) -> bool:
        return await self.one.has_met() and await self.two.has_met()


async def until(condition: Callable[[], Awaitable[Any]], within: float = WITHIN) -> None:
    """Wait until the asynchronous condition holds."""
    with anyio.fail_after(within):
        while not await condition():  # noqa: ASYNC110
            await anyio.sleep(0.02)  # what is waited for happens in another process, or in the kernel


@asynccontextmanager
async def opened_pair(
    backend: Backend[TunnelContext, Tunnel],
    options: Any,
    context: TunnelContext,
    ground: TunnelGround,
    refused: IPInterface | None = None,
) -> AsyncIterator[Pair]:
    """Only the first knows where the other is; it is told to have a *refused* address at first."""
    second = attrs.evolve(context, interface="mlt1")
    async with backend.open(options, context) as one, backend.open(options, second) as two:
        await two.apply(there := _state(TWO, "10.77.0.2/24", ONE.public, None))
        here = _state(ONE, "10.77.0.1/24", TWO.public, two.listen_port)
        if refused is not None:
            with pytest.raises(TunnelError):
                await one.apply(attrs.evolve(here, addresses=(refused,)))
        await one.apply(here)
        yield Pair(
            Side(context.interface, one, ground, here, TWO.public),
            Side(second.interface, two, ground, there, ONE.public),
        )


def _state(key: PrivateKey, address: str, other: PublicKey, port: int | None) -> TunnelState:
    peer = TunnelPeer(frozenset({ip_network("10.77.0.0/24")}), ("127.0.0.1", port) if port else None)
    return TunnelState(key, addresses=(ip_interface(address),), peers={other: peer})
