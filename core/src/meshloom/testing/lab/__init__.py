"""A simulated network in virtual time: hosts, routers with every NAT behaviour of RFC 4787, loss, delay, partitions.

Nothing sleeps and nothing is left to chance: an hour of the network takes as long as its events, and the same seed
gives the same run. Programs under test are sans-IO; what they would do to a socket or a timer, they do to a
:class:`Host` and the :class:`VirtualClock`.

    lab = Lab(seed=1)
    home = lab.behind(Nat(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT))
    laptop, server = home.host(), lab.internet.host()
    server.bind(3478, lambda data, source: ...)
    laptop.bind(51820, print).send(b"hello", (server.ipv4, 3478))
    lab.clock.run_for(1.0)
"""

from meshloom.testing.lab.clock import VirtualClock
from meshloom.testing.lab.exchange import Exchange
from meshloom.testing.lab.host import Host, UdpPort
from meshloom.testing.lab.lab import Lab
from meshloom.testing.lab.nat import BEHAVIOURS, OPEN, Filtering, Mapping, Nat, can_be_direct
from meshloom.testing.lab.network import Conditions, Datagram, Network
from meshloom.testing.lab.relay_server import RelayConnection, RelayServer
from meshloom.testing.lab.router import Router
from meshloom.testing.lab.stun_server import StunServer
from meshloom.testing.lab.wireguard import SimulatedWireGuard

__all__ = [
    "BEHAVIOURS",
    "OPEN",
    "Conditions",
    "Datagram",
    "Exchange",
    "Filtering",
    "Host",
    "Lab",
    "Mapping",
    "Nat",
    "Network",
    "RelayConnection",
    "RelayServer",
    "Router",
    "SimulatedWireGuard",
    "StunServer",
    "UdpPort",
    "VirtualClock",
    "can_be_direct",
]
