"""What the agent relies on in paths that it carries itself, where a tunnel has them."""

from collections.abc import Callable
from typing import Any

import pytest

from meshloom.errors import TunnelError
from meshloom.testing.contracts.tunnel_pair import Pair, until
from meshloom.tunnel import Carrier

PREFIX = b"to the other: "
NUMBER = 70_000


class TunnelPathsContract:
    """Part of :class:`meshloom.testing.contracts.tunnel.TunnelContract`, whose fixture ``pair`` it uses."""

    async def test_a_session_is_opened_and_used_over_a_path_of_the_agents_own(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            with_prefix: list[bool] = []
            here, there = self._carried(both, with_prefix)
            await both.two.change_peer(endpoint=there.endpoint)
            await both.one.change_peer(endpoint=here.endpoint)
            await both.meet()
            before = await both.two.stats()
            both.one.send(1000)
            await until(lambda: both.two.has_received(1000, before))
            assert (await both.two.stats()).endpoint == there.endpoint
            assert with_prefix
            assert all(with_prefix)

    async def test_a_session_moves_to_a_path_of_the_agents_own_and_back(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            handshake = (await both.one.stats()).latest_handshake
            direct = (await both.one.stats()).endpoint
            here, _ = self._carried(both, [])
            for endpoint in (here.endpoint, direct):
                await both.one.change_peer(endpoint=endpoint)
                before = await both.two.stats()
                both.one.send(1000)
                await until(lambda before=before: both.two.has_received(1000, before))  # type: ignore[misc]
                assert (await both.one.stats()).latest_handshake == handshake
            here.close()
            here.close()

    async def test_a_device_that_followed_a_late_packet_is_led_back(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            direct = (await both.two.stats()).endpoint
            here, there = self._carried(both, [])
            await both.one.change_peer(endpoint=here.endpoint)
            before = await both.two.stats()
            both.one.send(1000)
            await until(lambda: both.two.has_received(1000, before))
            assert (await both.two.stats()).endpoint == there.endpoint
            await both.two.tunnel.set_endpoints({both.two.other: direct})
            assert (await both.two.stats()).endpoint == direct

    async def test_a_packet_for_a_peer_without_a_path_rings(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            rung: list[int] = []
            if not both.one.tunnel.capabilities.rings:
                with pytest.raises(TunnelError):
                    both.one.tunnel.doorbell(lambda *_: None)
                return
            bell = both.one.tunnel.doorbell(lambda number, _packet: rung.append(number))

            async def has_rung() -> bool:
                return bool(rung)

            await both.one.change_peer(endpoint=bell.endpoint(NUMBER))
            both.one.send()
            await until(has_rung)
            assert set(rung) == {NUMBER}
            bell.close()
            bell.close()

    def _carried(self, both: Pair, with_prefix: list[bool]) -> tuple[Carrier, Carrier]:
        """A carrier on each side, which hand each other what they carry."""

        def to_two(packet: memoryview) -> None:
            with_prefix.append(packet[: len(PREFIX)] == PREFIX)
            there.deliver(packet[len(PREFIX) :])

        if not both.one.tunnel.capabilities.carries:
            with pytest.raises(TunnelError):
                both.one.tunnel.carry(to_two, PREFIX)
            pytest.skip("this tunnel has no paths of the agent's own, and says so")
        here = both.one.tunnel.carry(to_two, PREFIX)
        there = both.two.tunnel.carry(here.deliver)
        return here, there
