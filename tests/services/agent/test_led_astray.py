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


async def look(paths, tunnel):
    paths.look({key: each.endpoint for key, each in (await tunnel.observed()).items()})


async def test_a_sleeper_whose_last_packets_came_late_rings_again(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        assert device.endpoint == ("127.64.0.0", 1)
        device.endpoint = ELSEWHERE
        await look(paths, tunnel)
        await until(lambda: device.endpoint == ("127.64.0.0", 1))


async def test_one_that_wakes_meanwhile_is_left_where_it_is(until):
    async with sleeping() as (paths, tunnel):
        device = tunnel.device.peers[PEER]
        device.endpoint = ELSEWHERE
        await look(paths, tunnel)
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
    async with sleeping() as (paths, tunnel):
        await look(paths, tunnel)
        assert not paths._late
