"""What the agent relies on where something else changes a tunnel's device under it."""

import re
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from typing import Any

import anyio
import pytest

from meshloom.backend import Backend
from meshloom.errors import TunnelError
from meshloom.model.keys import PresharedKey
from meshloom.testing.contracts.tunnel_pair import ONE, THREE, TWO, WITHIN, until
from meshloom.testing.tunnel_ground import Disturbance, TunnelGround
from meshloom.tunnel import TunnelContext, TunnelPeer, TunnelState

WORDS = {
    Disturbance.DOWN: "was down",
    Disturbance.NO_ADDRESSES: "10.77.0.1/24 was gone",
    Disturbance.NO_ROUTES: "10.77.0.0/24 was gone",
    Disturbance.OTHER_MTU: "MTU was 1290 instead of 1280",
    Disturbance.OTHER_PORT: "port was .* instead of",
    Disturbance.OTHER_KEY: "private key was another",
    Disturbance.NO_PEERS: "1 peer was gone",
    Disturbance.NO_ALLOWED_ADDRESSES: "1 peer was changed",
    Disturbance.STRANGER: "1 peer was there that is not ours",
}


class TunnelUpkeepContract:
    """Part of :class:`meshloom.testing.contracts.tunnel.TunnelContract`, whose fixture ``pair`` it uses."""

    @pytest.mark.parametrize("disturbance", list(Disturbance), ids=str)
    async def test_what_something_else_changed_is_put_back_and_said(
        self, pair: Callable[[], Any], ground: TunnelGround, disturbance: Disturbance
    ) -> None:
        async with pair() as both:
            await both.meet()
            before, port = ground.link(both.one.interface), both.one.tunnel.listen_port
            ground.disturb(both.one.interface, disturbance)
            (text,) = await both.one.tunnel.put_back(look_only=True)
            assert await both.one.tunnel.put_back(look_only=True) == (text,), "looking changes nothing"
            assert await both.one.tunnel.put_back() == (text,)
            assert re.search(WORDS[disturbance], text), text
            assert (ground.link(both.one.interface), both.one.tunnel.listen_port) == (before, port)
            assert await both.one.tunnel.put_back() == ()
            assert (await both.one.tunnel.observed()).keys() == {TWO.public}
            received = await both.two.stats()

            async def comes_through() -> bool:
                both.one.send()
                return bool(await both.two.has_received(100, received))

            await until(comes_through)

    async def test_several_changes_at_once_are_all_put_back(
        self, pair: Callable[[], Any], ground: TunnelGround
    ) -> None:
        async with pair() as both:
            await both.one.change_peer(preshared_key=PresharedKey(b"p" * 32))
            await both.two.change_peer(preshared_key=PresharedKey(b"p" * 32))
            await both.meet()
            before = ground.link(both.one.interface)
            for each in (Disturbance.OTHER_PORT, Disturbance.NO_PEERS, Disturbance.NO_ADDRESSES):
                ground.disturb(both.one.interface, each)
            assert len(await both.one.tunnel.put_back()) == 3
            assert ground.link(both.one.interface) == before
            assert await both.one.tunnel.put_back() == ()

    async def test_where_nothing_was_changed_nothing_is_said(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            assert await both.one.tunnel.put_back() == ()
            await both.meet()
            await both.one.change_peer(mtu=1280 - 80, allowed_ips=frozenset({ip_network("10.77.0.2/32")}))
            assert await both.one.tunnel.put_back() == ()
            await both.two.apply(listen_port=await both.unused_port())
            both.two.send()
            await until(lambda: both.one.sends_to(("127.0.0.1", both.two.tunnel.listen_port)))
            assert await both.one.tunnel.put_back() == (), "an endpoint that was learned is WireGuard's own"

    async def test_before_the_first_state_there_is_nothing_to_put_back(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext
    ) -> None:
        async with backend.open(options, context) as tunnel:
            assert await tunnel.put_back() == ()

    async def test_the_route_of_a_single_peer_is_put_back(self, pair: Callable[[], Any], ground: TunnelGround) -> None:
        async with pair() as both:
            await both.one.change_peer(mtu=1200, allowed_ips=frozenset({ip_network("10.77.0.99/32")}))
            before = ground.link(both.one.interface)
            assert before is not None
            ground.disturb(both.one.interface, Disturbance.NO_ROUTES)
            assert await both.one.tunnel.put_back()
            assert ground.link(both.one.interface) == before
            assert await both.one.tunnel.put_back() == ()

    async def test_what_cannot_be_put_back_is_said_with_why_and_the_rest_is(
        self, pair: Callable[[], Any], ground: TunnelGround
    ) -> None:
        async with pair() as both:
            await both.meet()
            port = both.one.tunnel.listen_port
            ground.disturb(both.one.interface, Disturbance.OTHER_PORT)
            ground.disturb(both.one.interface, Disturbance.NO_PEERS)
            with (
                ground.outsider("127.0.0.1", port),
                ground.outsider("::1", port),
                pytest.raises(TunnelError, match=f"{port}.*taken"),
            ):
                await both.one.tunnel.put_back()
            assert (await both.one.tunnel.observed()).keys() == {TWO.public}
            assert await both.one.tunnel.put_back(), "the port is free again"
            assert await both.one.tunnel.put_back() == ()

    async def test_states_and_upkeep_do_not_disturb_each_other(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext
    ) -> None:
        peers = [
            {TWO.public: TunnelPeer(frozenset({ip_network("10.77.0.2/32")}))},
            {THREE.public: TunnelPeer(frozenset())},
        ]
        async with backend.open(options, context) as tunnel:
            said: list[str] = []

            async def look() -> None:
                for _ in range(10):
                    said.extend(await tunnel.put_back())

            with anyio.fail_after(WITHIN):
                async with anyio.create_task_group() as tasks:
                    await tunnel.apply(TunnelState(ONE, addresses=(ip_interface("10.77.0.1/24"),)))
                    tasks.start_soon(look)
                    for number in range(10):
                        await tunnel.apply(
                            TunnelState(ONE, addresses=(ip_interface("10.77.0.1/24"),), peers=peers[number % 2])
                        )
            assert said == []
