"""Durations and switches of peer connections."""

import attrs

from meshloom.protocol.ice import Timers
from meshloom_agent.mesh.path import Patience


@attrs.frozen
class MeshOptions:
    """Options; durations in seconds.

    Args:
        version: Told in offers.
        first_wait: From an offer to its first repetition while there is no connection.
        longest_wait: Between two offers at the most; each connection's own is up to half as much again.
        absent_wait: The same while the other has not said a word for long.
        relayed_wait: The same while the relay carries the packets.
        learn_endpoint: How long the side that does not begin waits to learn the endpoint from the other's handshake.
        young: Age up to which an ICE session of ours is new enough for one that the other side has begun anew.
        handshake_within: Age of the last handshake from which on a path counts as dead (WireGuard renews after 180 s).
        patience: How slowly a direct path that failed is trusted again.
        idle_after: Without traffic until a peer falls asleep, where that is wanted.
        mtu: Of the tunnel's interface: a direct path that carries less is found out.
        relays: Whether relays are used.
        force_relay: No direct paths.
        turn_only: With a peer that no relay of the mesh reaches, only ways through TURN servers.
        ipv6: Whether direct paths over IPv6 are looked for.
    """

    version: str = "0.77.1"
    first_wait: float = 0.8
    longest_wait: float = 30.0
    absent_wait: float = 300.0
    relayed_wait: float = 300.0
    learn_endpoint: float = 5.0
    young: float = 2.0
    handshake_within: float = 210.0
    timers: Timers = Timers()
    patience: Patience = Patience()
    idle_after: float = 900.0
    mtu: int = 1280
    relays: bool = True
    force_relay: bool = False
    turn_only: bool = False
    ipv6: bool = True
