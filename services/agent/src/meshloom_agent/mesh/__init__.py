"""All peer connections of one agent, pure: what happens, and ``now``, in; what to send and where peers are, out.

No clock, socket or randomness: the same code runs in the daemon and, in virtual time, in the simulated network.
"""

from meshloom_agent.mesh.endpoint import Endpoint
from meshloom_agent.mesh.lazy import Asleep
from meshloom_agent.mesh.mesh import Mesh
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.mesh.path import ThroughTurn, Way
from meshloom_agent.mesh.relay import HomeRelay, OwnRelays, RelayUse, place_of
from meshloom_agent.mesh.relays import RelayPlan, exchange
from meshloom_agent.mesh.remote import RemotePeer
from meshloom_agent.mesh.status import ConnectionState, PathStatus

__all__ = [
    "Asleep",
    "ConnectionState",
    "Endpoint",
    "HomeRelay",
    "Mesh",
    "MeshOptions",
    "OwnRelays",
    "PathStatus",
    "RelayPlan",
    "RelayUse",
    "RemotePeer",
    "ThroughTurn",
    "Way",
    "exchange",
    "place_of",
]
