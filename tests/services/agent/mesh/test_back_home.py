"""A machine that was elsewhere and comes back to the network of its peer is connected directly at once."""

import pytest

from meshloom.testing.lab import Conditions, Nat
from meshloom_agent.testing import SimulatedMesh

SIGNAL_BACK = 0.5
"""Virtual seconds until there is a new connection with signal: later than with the relay."""
SOON = 3.0 - SIGNAL_BACK


@pytest.fixture
def home():
    """A network with two agents in it, and one outside it from which no direct path leads there."""
    mesh = SimulatedMesh(1, Conditions(delay=0.01), relays=1)
    home, hotel = mesh.lab.behind(Nat()), mesh.lab.behind(Nat(blocks_udp=True))
    stays, laptop = mesh.agent(home.host()), mesh.agent(home.host())
    mesh.clock.run_for(5.0)
    return mesh, home, hotel, stays, laptop


def both_direct(one, other):
    paths = one.path_to(other), other.path_to(one)
    return all(path.state == "Connected" and not path.is_relayed for path in paths)


def both_relayed(one, other):
    paths = one.path_to(other), other.path_to(one)
    return all(path.state == "Connected" and path.is_relayed for path in paths)


@pytest.mark.parametrize("away", [15.0, 120.0])
@pytest.mark.parametrize("unplugged", [0.0, 2.0, 20.0])
def test_each_time_it_comes_back_it_is_direct_soon(home, away, unplugged):
    mesh, home, hotel, stays, laptop = home
    assert both_direct(stays, laptop)
    for _ in range(5):
        for place in (hotel, home):
            laptop.host.leave()
            laptop.moved()
            mesh.exchange.set_up(False)
            mesh.clock.run_for(unplugged)
            laptop.host.join(place.network)
            laptop.moved()
            mesh.clock.run_for(SIGNAL_BACK)
            mesh.exchange.set_up(True)
            if place is hotel:
                mesh.clock.run_for(away)
                assert both_relayed(stays, laptop)
        took = mesh.clock.run_until(lambda: both_direct(stays, laptop), within=SOON)
        print(f"direct after {took:.2f} s")
        mesh.clock.run_for(5.0)
