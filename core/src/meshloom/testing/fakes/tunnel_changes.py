"""The words for what something else has changed on a tunnel in memory."""

from meshloom.testing.tunnel_ground import OTHER_MTU, Disturbance
from meshloom.tunnel import TunnelState


def changed_words(disturbance: Disturbance, found_port: int, port: int, state: TunnelState) -> str:
    """Returns the words in which a tunnel of Linux tells the same."""
    first = state.addresses[0] if state.addresses else None
    return {
        Disturbance.DOWN: "it was down",
        Disturbance.NO_ADDRESSES: f"its address {first} was gone",
        Disturbance.NO_ROUTES: f"its route to {first.network if first else None} was gone",
        Disturbance.OTHER_MTU: f"its MTU was {OTHER_MTU} instead of {state.mtu}",
        Disturbance.OTHER_PORT: f"WireGuard's port was {found_port} instead of {port}",
        Disturbance.OTHER_KEY: "WireGuard's private key was another",
        Disturbance.NO_PEERS: f"{len(state.peers)} peer was gone",
        Disturbance.NO_ALLOWED_ADDRESSES: "1 peer was changed",
        Disturbance.STRANGER: "1 peer was there that is not ours",
    }[disturbance]
