"""WireGuard follows whatever comes; the agent leads it back to where its packets shall go."""

from contextlib import asynccontextmanager
from ipaddress import ip_network
from random import Random

import anyio
import attrs
import pytest

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.testing.fakes.tunnel import MemoryNetwork
from meshloom.tunnel import Doorbell, TunnelState
from meshloom_agent.mesh import Mesh, RemotePeer
from meshloom_agent.paths import Paths

pytestmark = pytest.mark.anyio

OWN = PrivateKey.of(b"\1" * 32)
PEER = PublicKey.of(b"\2" * 32)
ELSEWHERE = ("192.0.2.9", 51820)


class Bell(Doorbell):
    """Endpoints alone: nobody rings here."""

    def endpoint(self, number):
        return "127.64.0.0", 1 + number

    def close(self):
        pass


@asynccontextmanager
async def sleeping():
    """The paths of an agent whose one peer sleeps, and their tunnel."""
    mesh = Mesh(OWN.public, Random(1).randbytes)
    paths = Paths(mesh, OWN.public, [], lambda _: None, lambda: None, relays_changed=lambda: None)
    network = MemoryNetwork()
    async with (
        network._opened("test0") as tunnel,
        anyio.create_task_group() as tasks,
    ):
        tunnel.capabilities = attrs.evolve(tunnel.capabilities, rings=True)
        tunnel.doorbell = lambda _: Bell()
        paths.start(tunnel, tasks)
        mesh.set_lazy(True, anyio.current_time())
        mesh.set_peers({PEER: RemotePeer((ip_network("100.64.0.2/32"),), version="1.0.0")}, anyio.current_time())
        await tunnel.apply(TunnelState(OWN, peers=paths.tunnel_peers(None)))
        yield paths, tunnel
        tasks.cancel_scope.cancel()


async def test_a_sleeper_whose_last_packets_came_late_rings_again(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        assert device.endpoint == ("127.64.0.0", 1)
        device.endpoint = ELSEWHERE
        await paths.put_back()
        await until(lambda: device.endpoint == ("127.64.0.0", 1))


async def test_one_that_wakes_meanwhile_is_left_where_it_is(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        device.endpoint = ELSEWHERE
        await paths.put_back()
        paths.mesh.wake(PEER, anyio.current_time())
        await until(lambda: not paths._late)
        assert device.endpoint == ELSEWHERE


async def test_a_path_that_is_taken_again_is_told_again(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        device.endpoint = ELSEWHERE
        paths.mesh.retaken.add(PEER)
        paths.flush()
        await until(lambda: device.endpoint == ("127.64.0.0", 1))
        assert not paths.mesh.retaken


async def test_what_is_as_it_should_be_is_not_touched():
    async with sleeping() as (paths, _):
        assert await paths.put_back() == ()
        assert not paths._late


async def test_what_something_else_made_of_a_sleepers_doorbell_is_put_back_and_told(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        assert await paths.put_back() == ()
        device.endpoint = ELSEWHERE
        assert await paths.put_back(look_only=True) == ("1 peer was reached elsewhere",)
        assert await paths.put_back(look_only=True) == ("1 peer was reached elsewhere",), "looking changes nothing"
        assert not paths._late
        assert await paths.put_back() == ("1 peer was reached elsewhere",)
        await until(lambda: device.endpoint == ("127.64.0.0", 1))
        assert await paths.put_back() == ()


async def test_a_sleeper_that_shakes_hands_by_itself_rings_again_and_nobody_else_is_blamed(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        assert await paths.put_back() == ()
        device.endpoint, device.rx_bytes = ELSEWHERE, 148
        assert await paths.put_back(look_only=True) == ()
        await until(lambda: device.endpoint == ("127.64.0.0", 1))


async def test_a_sleeper_that_something_else_took_out_and_put_in_again_has_its_doorbell_again(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        device.endpoint = None
        await paths.put_back()
        await until(lambda: device.endpoint == ("127.64.0.0", 1))


async def test_an_endpoint_that_something_else_set_is_put_back_within_seconds_and_counted(agents, air, until):
    one, two = agents(0), agents(1)
    await until(lambda: one.connected and two.connected)
    await until(lambda: one.endpoint(two) and two.endpoint(one))
    await one.engine.look()
    device = air.devices["test0"].peers[two.key]
    rightly, device.endpoint = device.endpoint, ELSEWHERE
    await until(lambda: device.endpoint == rightly, within=30.0)
    assert one.report.counters.put_back == 1


async def test_where_a_connected_peer_has_moved_to_is_left_to_wireguard(agents, air, until):
    one, two = agents(0), agents(1)
    await until(lambda: one.connected and two.connected)
    await until(lambda: one.endpoint(two) and two.endpoint(one))
    await one.engine.look()
    device = air.devices["test0"].peers[two.key]
    device.endpoint, device.rx_bytes = ELSEWHERE, device.rx_bytes + 32
    await one.engine.look()
    assert (device.endpoint, one.report.counters.put_back) == (ELSEWHERE, 0)
