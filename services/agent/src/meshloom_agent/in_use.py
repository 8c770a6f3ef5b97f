"""What this machine uses of management's word, and how the tunnel is made to match it."""

import socket
from collections.abc import Callable

import anyio.to_thread
import attrs

from meshloom.errors import TunnelError
from meshloom.port_holder import port_holder
from meshloom.rpc import management_pb2 as pb
from meshloom.tunnel import Tunnel, TunnelState
from meshloom_agent.network import OwnAddress

PORT_TAKEN = "--wireguard-port"
"""Begins what people are told of a port that is taken."""


@attrs.frozen(eq=False)
class InUse:
    """One network map, and this machine's addresses with it.

    Attributes:
        map: Never changed once it is here.
        own: None where there is no address that can be used.
        serial: The map's number.
        is_new: Whether management has sent it in this run; otherwise it was kept, or made of a login's answer.
        is_whole: Whether nothing about this machine's own addresses was refused: only then the map may be kept.
    """

    map: pb.NetworkMap = attrs.field(factory=pb.NetworkMap)
    own: OwnAddress | None = None
    serial: int = 0
    is_new: bool = False
    is_whole: bool = True

    def fits(self, other: "InUse") -> bool:
        """Tells whether the tunnel's interface stays as it is when one takes the other's place."""
        return self.own is not None and other.own is not None and _interface(self.own) == _interface(other.own)


def _interface(own: OwnAddress) -> tuple[object, ...]:
    return own.addresses, own.mtu


def refusal_of(use: InUse, good: InUse | None, error: TunnelError) -> str:
    """Returns what a person should know where the tunnel refuses a map."""
    which = "newest" if use.is_new else "kept"
    instead = "management is asked for another" if good is None else "the last good one stays"
    return f"the {which} network map is not used: {error}; {instead}"


class PortKeeper:
    """Applies states with the wanted UDP port, or with a free one where that is taken at the start.

    Args:
        port: The wanted one; 0 for any.
        note: Called with what a person should know.
    """

    def __init__(self, port: int, note: Callable[[tuple[str, ...]], None]) -> None:
        self.port, self._note = port, note

    async def apply(self, tunnel: Tunnel, state: TunnelState) -> None:
        """Makes the tunnel match the state, but for its port.

        Raises:
            TunnelError: The tunnel refuses, whatever the port.
        """
        try:
            await tunnel.apply(attrs.evolve(state, listen_port=self.port))
        except TunnelError as error:
            if tunnel.listen_port or not self.port:
                raise
            holder = await anyio.to_thread.run_sync(port_holder, "", self.port, socket.SOCK_DGRAM)
            await tunnel.apply(state)
            why = f"{error}: {holder} has it" if holder else str(error)
            text = f"{PORT_TAKEN} {self.port}: {why}; {tunnel.listen_port} is used instead: free the port, or choose"
            self._note((f"{text} another, then run meshloom down and meshloom up",))
            self.port = 0
