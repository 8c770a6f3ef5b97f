"""What the agent relies on in a tunnel."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from meshloom.backend import Backend
from meshloom.errors import TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey
from meshloom.testing.contracts.backend import BackendContract
from meshloom.testing.contracts.tunnel_pair import ONE, THREE, TWO, WITHIN, Pair, opened_pair, until
from meshloom.testing.contracts.tunnel_paths import TunnelPathsContract
from meshloom.testing.contracts.tunnel_upkeep import TunnelUpkeepContract
from meshloom.testing.tunnel_ground import LinuxGround, TunnelGround
from meshloom.tunnel import PeerStats, Tunnel, TunnelContext, TunnelPeer, TunnelState

pytestmark = pytest.mark.anyio

GROUP = ip_interface("ff02::1/64")
"""What no host takes for an address of its own."""
STUN = bytes.fromhex("000100002112a442") + b"transaction!"
RUBBISH = (b"", b"rubbish", bytes(4096), bytes.fromhex("0100000000000000") + bytes(140), STUN[:7], STUN[::-1])


class TunnelContract(TunnelPathsContract, TunnelUpkeepContract, BackendContract):
    """A subclass gives the fixture ``backend``, and ``ground`` where the tunnel is not one of Linux."""

    @pytest.fixture
    def ground(self) -> TunnelGround:
        """The host that tunnels are made on."""
        return LinuxGround()

    @pytest.fixture(autouse=True)
    def _on_the_ground(self, ground: TunnelGround) -> Iterator[None]:
        if objection := ground.objection():
            pytest.skip(objection)
        with ground.enter():
            yield

    @pytest.fixture
    def context(self, tmp_path: Path) -> TunnelContext:
        """An agent's."""
        return TunnelContext("mlt0", tmp_path)

    @pytest.fixture
    def pair(
        self, backend: Backend[TunnelContext, Tunnel], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> Callable[[], Any]:
        """Opens two tunnels that know each other; only the first knows where the other is."""
        return partial(opened_pair, backend, options, context, ground)

    async def test_what_is_applied_is_there(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        addresses = (ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64"))
        peer = TunnelPeer(frozenset({ip_network("10.77.0.2/32"), ip_network("fd77::2/128")}), ("127.0.0.1", 5))
        async with backend.open(options, context) as tunnel:
            assert tunnel.listen_port == 0
            await tunnel.apply(TunnelState(ONE, addresses=addresses, mtu=1300, peers={TWO.public: peer}))
            link = ground.link(context.interface)
            assert link is not None
            assert (link.is_up, link.mtu, link.addresses) == (True, 1300, frozenset(addresses))
            assert await tunnel.observed() == {TWO.public: PeerStats(("127.0.0.1", 5))}

    async def test_addresses_and_mtu_are_changed(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        kept, old, new = (ip_interface(f"10.{number}.0.1/24") for number in (1, 2, 3))
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE, addresses=(kept, old), mtu=1300))
            await tunnel.apply(TunnelState(ONE, addresses=(new, kept), mtu=1400))
            link = ground.link(context.interface)
            assert link is not None
            assert (link.mtu, link.addresses) == (1400, frozenset((kept, new)))

    async def test_port_0_picks_a_free_one_and_tells_it(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))
            assert tunnel.listen_port
            with pytest.raises(OSError, match="in use"), ground.outsider("127.0.0.1", tunnel.listen_port):
                """It is in use."""

    async def test_a_port_is_changed(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        with ground.outsider("127.0.0.1") as free:
            port = free.address[1]
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))
            before = tunnel.listen_port
            await tunnel.apply(TunnelState(ONE, listen_port=port))
            assert tunnel.listen_port == port
            with ground.outsider("127.0.0.1", before):
                """It is free again."""

    async def test_a_taken_port_is_refused_and_leaves_what_was_before(
        self, pair: Callable[[], Any], ground: TunnelGround
    ) -> None:
        async with pair() as both:
            await both.meet()
            port, link = both.one.tunnel.listen_port, ground.link(both.one.interface)
            with (
                ground.outsider("127.0.0.1") as other,
                ground.outsider("::1", other.address[1]),
                pytest.raises(TunnelError, match=f"{other.address[1]}.*taken"),
            ):
                await both.one.apply(listen_port=other.address[1], mtu=1400, peers={})
            assert both.one.tunnel.listen_port == port
            assert ground.link(both.one.interface) == link
            before = await both.two.stats()
            both.one.send(1000)
            await until(lambda: both.two.has_received(1000, before))

    async def test_a_taken_port_at_first_is_refused_and_another_is_tried(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        async with backend.open(options, context) as tunnel:
            with (
                ground.outsider("127.0.0.1") as other,
                ground.outsider("::1", other.address[1]),
                pytest.raises(TunnelError, match=f"{other.address[1]}.*taken"),
            ):
                await tunnel.apply(TunnelState(ONE, listen_port=other.address[1]))
            await tunnel.apply(TunnelState(ONE, listen_port=other.address[1]))
            assert tunnel.listen_port == other.address[1]

    async def test_a_refused_state_leaves_what_was_before(self, pair: Callable[[], Any], ground: TunnelGround) -> None:
        async with pair() as both:
            await both.meet()
            link = ground.link(both.one.interface)
            with pytest.raises(TunnelError, match=both.one.interface):
                await both.one.apply(addresses=(GROUP,), mtu=1400, peers={})
            assert ground.link(both.one.interface) == link
            before = await both.two.stats()
            both.one.send(1000)
            await until(lambda: both.two.has_received(1000, before))

    async def test_after_a_refused_first_state_another_is_taken(self, pair: Callable[..., Any]) -> None:
        async with pair(GROUP) as both:
            await both.meet()

    async def test_handshakes_and_bytes_are_counted(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            sent, received = await both.one.stats(), await both.two.stats()
            for _ in range(5):
                both.one.send(1000)
            await until(lambda: both.two.has_received(5000, received))
            assert (await both.one.stats()).tx_bytes >= sent.tx_bytes + 5000
            assert (await both.one.stats()).endpoint == ("127.0.0.1", both.two.tunnel.listen_port)
            assert (await both.two.stats()).endpoint == ("127.0.0.1", both.one.tunnel.listen_port)

    async def test_the_same_state_again_changes_nothing(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            await self._keeps_its_session(both, both.one.apply)

    async def test_another_peer_disturbs_no_session(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            peers = {**both.one.state.peers, THREE.public: TunnelPeer(frozenset({ip_network("10.77.0.3/32")}))}
            await self._keeps_its_session(both, lambda: both.one.apply(peers=peers))
            assert (await both.one.tunnel.observed()).keys() == peers.keys()
            await self._keeps_its_session(both, lambda: both.one.apply(peers={TWO.public: peers[TWO.public]}))
            assert (await both.one.tunnel.observed()).keys() == {TWO.public}

    async def test_another_endpoint_loses_no_session(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            endpoint = ("::1", both.two.tunnel.listen_port)
            await self._keeps_its_session(both, lambda: both.one.change_peer(endpoint=endpoint))
            assert (await both.one.stats()).endpoint == endpoint

    async def test_other_addresses_and_keepalive_lose_no_session(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            networks = both.one.state.peers[TWO.public].allowed_ips | {ip_network("10.78.0.0/24")}
            changes = {"allowed_ips": networks, "persistent_keepalive": timedelta(seconds=25)}
            await self._keeps_its_session(both, lambda: both.one.change_peer(**changes))

    async def test_an_endpoint_learned_by_roaming_is_not_set_back(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            await both.two.apply(listen_port=await both.unused_port())
            moved = ("127.0.0.1", both.two.tunnel.listen_port)
            both.two.send()
            await until(lambda: both.one.sends_to(moved))
            await both.one.apply()
            await both.one.apply(mtu=1400)
            await both.one.change_peer(persistent_keepalive=timedelta(seconds=25))
            assert (await both.one.stats()).endpoint == moved

    async def test_a_removed_peer_is_gone(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.meet()
            await both.one.apply(peers={})
            assert await both.one.tunnel.observed() == {}

    @pytest.mark.parametrize("new_first", [True, False])
    async def test_allowed_addresses_move_from_peer_to_peer(self, pair: Callable[[], Any], new_first: bool) -> None:
        async with pair() as both:
            whole = both.one.state.peers[TWO.public]
            none = attrs.evolve(whole, allowed_ips=frozenset())
            elsewhere = TunnelPeer(whole.allowed_ips)
            for here, there in ((none, elsewhere), (whole, TunnelPeer(frozenset()))):
                peers = {TWO.public: here, THREE.public: there}
                order = list(peers) if new_first else list(reversed(peers))
                await both.one.apply(peers={key: peers[key] for key in order})
            await both.meet()

    async def test_a_preshared_key_must_be_the_same_on_both_sides(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.one.change_peer(preshared_key=PresharedKey(b"p" * 32))
            before = await both.two.stats()
            both.one.send()
            await until(lambda: both.two.has_answered(before))
            assert (await both.one.stats()).latest_handshake is None
            await both.two.change_peer(preshared_key=PresharedKey(b"p" * 32))
            await both.meet()

    async def test_a_keepalive_opens_the_session_without_any_packet(self, pair: Callable[[], Any]) -> None:
        async with pair() as both:
            await both.one.change_peer(persistent_keepalive=timedelta(seconds=25))
            await until(both.one.has_met)

    async def test_many_peers_with_many_addresses(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext
    ) -> None:
        keys = [PrivateKey.of(number.to_bytes(32)).public for number in range(1, 400)]
        peers = {
            key: TunnelPeer(frozenset({ip_network(f"10.{number // 250}.{number % 250}.0/24")}), ("127.0.0.1", 5))
            for number, key in enumerate(keys)
        }
        large = TunnelPeer(frozenset(ip_network((0x64400000 + number, 32)) for number in range(600)))
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(state := TunnelState(ONE, peers={**peers, TWO.public: large}))
            assert (await tunnel.observed()).keys() == state.peers.keys()
            await tunnel.apply(attrs.evolve(state, peers={keys[0]: peers[keys[0]]}))
            assert (await tunnel.observed()).keys() == {keys[0]}

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_stun_is_sent_from_and_received_on_wireguards_port(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround, host: str
    ) -> None:
        async with backend.open(options, context) as tunnel:
            if ":" in host and not tunnel.capabilities.ipv6_underlay:
                pytest.skip("it has no IPv6 underneath")
            await tunnel.apply(TunnelState(ONE))
            with ground.outsider(host) as outside:
                tunnel.port.send(STUN, outside.address)
                got: list[Any] = []

                async def has_come() -> bool:
                    got.extend(outside.received())
                    return bool(got)

                await until(has_come)
                assert got == [(STUN, (host, tunnel.listen_port))]
                outside.send(STUN + b"answer", (host, tunnel.listen_port))
                with anyio.fail_after(WITHIN):
                    assert await tunnel.port.receive() == (STUN + b"answer", outside.address)

    async def test_nothing_but_stun_comes_up_on_the_shared_port(
        self, pair: Callable[[], Any], ground: TunnelGround
    ) -> None:
        async with pair() as both:
            await both.meet()
            for host in ("127.0.0.1", "::1") if both.one.tunnel.capabilities.ipv6_underlay else ("127.0.0.1",):
                with ground.outsider(host) as outside:
                    for data in RUBBISH:
                        outside.send(data, (host, both.one.tunnel.listen_port))
                    outside.send(STUN, (host, both.one.tunnel.listen_port))
                    with anyio.fail_after(WITHIN):
                        assert await both.one.tunnel.port.receive() == (STUN, outside.address)
            before = await both.two.stats()
            both.one.send()
            await until(lambda: both.two.has_received(0, before))

    async def test_the_shared_port_follows_wireguards(self, pair: Callable[[], Any], ground: TunnelGround) -> None:
        async with pair() as both:
            before = both.one.tunnel.listen_port
            await both.one.apply(listen_port=await both.unused_port())
            with ground.outsider("127.0.0.1") as outside:
                outside.send(STUN + b"old", ("127.0.0.1", before))
                outside.send(STUN + b"new", ("127.0.0.1", both.one.tunnel.listen_port))
                with anyio.fail_after(WITHIN):
                    assert await both.one.tunnel.port.receive() == (STUN + b"new", outside.address)

    async def test_leaving_removes_everything(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))
            port = tunnel.listen_port
        assert ground.link(context.interface) is None
        with ground.outsider("127.0.0.1", port):
            """It is free again."""

    async def test_a_reader_of_the_shared_port_is_woken_when_it_is_gone(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext
    ) -> None:
        async def read(tunnel: Tunnel) -> None:
            with pytest.raises(TunnelError):
                await tunnel.port.receive()

        async with anyio.create_task_group() as tasks, backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))
            tasks.start_soon(read, tunnel, name="read")
            await anyio.wait_all_tasks_blocked()

    async def test_what_a_killed_agent_left_is_made_as_wanted(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        kept, gone = TunnelPeer(frozenset({ip_network("10.77.0.2/32")})), TunnelPeer(frozenset({ip_network("::/0")}))
        left = TunnelState(
            ONE, addresses=(ip_interface("10.9.0.1/24"),), mtu=1400, peers={TWO.public: kept, THREE.public: gone}
        )
        ground.leave_behind(backend, options, context, left)
        wanted = attrs.evolve(left, addresses=(ip_interface("10.77.0.1/24"),), mtu=1280, peers={TWO.public: kept})
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(wanted)
            assert (await tunnel.observed()).keys() == {TWO.public}
            link = ground.link(context.interface)
            assert link is not None
            assert (link.mtu, link.addresses) == (1280, frozenset(wanted.addresses))
        assert ground.link(context.interface) is None

    async def test_a_second_opener_is_refused_with_words(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))
            with pytest.raises(TunnelError, match=f"interface {context.interface}"):
                async with backend.open(options, context):
                    """Never."""
            assert ground.link(context.interface) is not None
            await tunnel.observed()

    async def test_an_interface_of_somebody_else_is_left_alone(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        ground.add_foreign(context.interface)
        with pytest.raises(TunnelError, match=f"interface {context.interface}"):
            async with backend.open(options, context):
                """Never."""
        assert ground.link(context.interface) is not None

    async def test_a_device_that_is_removed_is_said_to_be_lost(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        reasons = []

        async def wait(tunnel: Tunnel) -> None:
            reasons.append(await tunnel.wait_lost())

        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))
            with anyio.fail_after(WITHIN):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(wait, tunnel, name="wait")
                    await anyio.wait_all_tasks_blocked()
                    await tunnel.apply(TunnelState(ONE, mtu=1400))
                    assert reasons == [], "it is changed, not lost"
                    ground.remove(context.interface)
            with pytest.raises(TunnelError):
                await tunnel.observed()
            with pytest.raises(TunnelError):
                await tunnel.apply(TunnelState(TWO, mtu=1300))
        assert reasons[0].strip()

    async def test_no_permission_is_said_with_what_to_do(
        self, backend: Backend[Any, Any], options: Any, context: TunnelContext, ground: TunnelGround
    ) -> None:
        said = ground.refusal(backend, options, context, TunnelState(ONE))
        assert "root" in said
        assert "Traceback" not in said
        async with backend.open(options, context) as tunnel:
            await tunnel.apply(TunnelState(ONE))

    async def _keeps_its_session(self, both: Pair, apply: Callable[[], Any]) -> None:
        sent, received = await both.one.stats(), await both.two.stats()
        await apply()
        both.one.send(1000)
        await until(lambda: both.two.has_received(1000, received))
        after = await both.one.stats()
        assert after.latest_handshake == sent.latest_handshake
        assert after.tx_bytes > sent.tx_bytes
