"""The device: made and configured by netlink, STUN by raw sockets."""

import errno
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.lowlevel

from meshloom.errors import TunnelError
from meshloom.model.keys import PublicKey
from meshloom.tunnel import (
    Address,
    Carrier,
    Doorbell,
    PeerStats,
    SharedPort,
    Tunnel,
    TunnelCapabilities,
    TunnelContext,
    TunnelState,
)
from meshloom_linux.beside import BesidePort
from meshloom_linux.difference import PeerChange, device_upkeep, endpoint_changes, peer_changes
from meshloom_linux.link_upkeep import put_link_back
from meshloom_linux.links import Link, add_link, configure_link, find_link, raise_link, remove_link, wait_gone
from meshloom_linux.lock import only_one
from meshloom_linux.peer_routes import PeerRoutes
from meshloom_linux.upkeep import in_turn
from meshloom_tunnel_kernel import Options
from meshloom_tunnel_kernel.messages import (
    GET_DEVICE,
    SET_DEVICE,
    Device,
    get_device,
    parse_configuration,
    parse_device,
    set_device,
    set_peers,
)
from meshloom_tunnel_kernel.netlink import GenericNetlink, Refused

KIND = "wireguard"
OURS = "meshloom"
"""The alias of interfaces that an agent made: another WireGuard interface is nobody's to take."""

REASONS = {
    errno.EADDRINUSE: "the UDP port is taken",
    errno.EPERM: "it is not allowed: run as root, or with CAP_NET_ADMIN",
    errno.ENODEV: "the interface is gone",
}


class KernelTunnel(Tunnel):
    """A device of the kernel; made by :func:`open_kernel`."""

    def __init__(
        self, netlink: GenericNetlink, beside: BesidePort, context: TunnelContext, link: Link, left: Device
    ) -> None:
        self.capabilities = TunnelCapabilities(
            kernel=True, ipv6_underlay=beside.stun.has_ipv6, carries=True, rings=True
        )
        self.port: SharedPort = beside.stun
        self._netlink, self._beside, self._link, self._left = netlink, beside, link, left
        self._interface, self._fwmark = context.interface, context.fwmark
        self._routes = PeerRoutes(context.interface)
        self._applied: TunnelState | None = None
        self._listen_port = 0
        self._one = anyio.Lock()

    @property
    def listen_port(self) -> int:
        """WireGuard's UDP port; 0 before the first ``apply``."""
        return self._listen_port

    async def apply(self, state: TunnelState) -> None:
        """Tells the kernel the difference; where it refuses a part of it, takes back what it had taken."""
        async with self._one:
            old = self._applied
            try:
                await self._make(state)
            except TunnelError:
                if old is not None:
                    with suppress(TunnelError):  # the first refusal says what is wrong
                        await self._make(old)
                raise

    async def _make(self, state: TunnelState) -> None:
        """Tells the kernel the difference: first the port, since it alone depends on others."""
        old = self._applied
        changes = list(peer_changes(old.peers if old else {}, state.peers))
        if old is None:
            # Peers that an earlier agent left are in the device, but not wanted. The port is only taken when it is up.
            changes = [PeerChange(key, None) for key in self._left.peers.keys() - state.peers.keys()] + changes
            await raise_link(self._interface, OURS)
        new_key = old is None or old.private_key != state.private_key
        new_port = old is None or old.listen_port != state.listen_port
        if new_key or new_port:
            message = set_device(
                self._interface,
                state.private_key if new_key else None,
                state.listen_port if new_port and not self._keeps_port(state) else None,
                self._fwmark if old is None else None,
            )
            await self._tell(message, f"UDP port {state.listen_port}")
        if new_port:
            self._listen_port = (await self._look()).listen_port
            self._beside.use(self._listen_port)
        self._applied = state  # from here on a part of it may be taken
        if old is None or (old.addresses, old.mtu) != (state.addresses, state.mtu):
            await configure_link(self._interface, state.addresses, state.mtu)
        for message in set_peers(self._interface, changes):
            await self._tell(message, "peers")
            await anyio.lowlevel.checkpoint()
        await self._routes.apply(state.peers)

    async def set_endpoints(self, endpoints: Mapping[PublicKey, Address]) -> None:
        """Tell the kernel."""
        if self._applied is not None:
            for message in set_peers(self._interface, endpoint_changes(self._applied.peers, endpoints)):
                await self._tell(message, "endpoints")

    async def put_back(self, *, look_only: bool = False) -> tuple[str, ...]:
        """Asks the kernel for everything, and tells it the difference: the interface first, which moves the port."""
        async with self._one:
            if (state := self._applied) is None:
                return ()
            return await in_turn(
                lambda: put_link_back(self._interface, state.addresses, state.mtu, self._routes, look_only),
                lambda: self._put_device_back(state, look_only),
            )

    async def _put_device_back(self, state: TunnelState, look_only: bool) -> Sequence[str]:
        found = parse_configuration(await ask(self._netlink, self._interface))
        upkeep = device_upkeep(found, state.private_key, self._listen_port, self._fwmark, state.peers)
        if look_only:
            return upkeep.said
        for message in set_peers(self._interface, upkeep.peers):
            await self._tell(message, "peers")
        if upkeep.new_key or upkeep.new_mark:
            key = state.private_key if upkeep.new_key else None
            await self._tell(set_device(self._interface, key, None, self._fwmark), "private key")
        if upkeep.new_port:
            message = set_device(self._interface, None, self._listen_port)
            await self._tell(message, f"UDP port {self._listen_port}")
        return upkeep.said

    def carry(self, send: Callable[[memoryview], object], prefix: bytes = b"") -> Carrier:
        """A loopback socket that WireGuard takes for the peer."""
        return self._beside.carry(send, prefix)

    def doorbell(self, rung: Callable[[int, bytes], None]) -> Doorbell:
        """Loopback addresses that WireGuard takes for peers."""
        return self._beside.doorbell(rung)

    async def observed(self) -> Mapping[PublicKey, PeerStats]:
        """What the kernel says of the peers."""
        return (await self._look()).peers

    async def wait_lost(self) -> str:
        """Return when the interface has been removed, renamed or moved."""
        await wait_gone(self._interface, self._link.index)
        return f"the interface {self._interface} is gone"

    def _keeps_port(self, state: TunnelState) -> bool:
        """Whether any port will do and the device of an earlier agent has one that peers know."""
        return self._applied is None and state.listen_port == 0 and self._left.listen_port != 0

    async def _look(self) -> Device:
        return await look(self._netlink, self._interface)

    async def _tell(self, message: bytes, what: str) -> None:
        try:
            await self._netlink.tell(SET_DEVICE, message)
        except Refused as refused:
            raise TunnelError(f"{self._interface}, {what}: {REASONS.get(refused.number, refused)}") from refused


@asynccontextmanager
async def open_kernel(_options: Options, context: TunnelContext) -> AsyncIterator[Tunnel]:
    """Make the device, or take over the one that an agent left that was killed."""
    name = context.interface
    with only_one(name):
        link = await find_link(name)
        if link is None:
            link = await add_link(name, KIND, OURS)
        elif link.kind != KIND:
            raise TunnelError(_not_ours(name, link.kind))
        async with GenericNetlink(KIND) as netlink:
            left = await look(netlink, name)
            if link.alias != OURS and not left.is_blank:
                raise TunnelError(_not_ours(name, link.kind))
            beside: BesidePort | None = None
            try:
                beside = BesidePort(context.fwmark)
                yield KernelTunnel(netlink, beside, context, link, left)
            finally:
                with anyio.CancelScope(shield=True):
                    if beside is not None:
                        beside.close()
                    await remove_link(name)


async def look(netlink: GenericNetlink, name: str) -> Device:
    """The device as it is.

    Raises:
        TunnelError: It is gone.
    """
    return parse_device(await ask(netlink, name))


async def ask(netlink: GenericNetlink, name: str) -> list[bytes]:
    """All that the kernel says of a device.

    Raises:
        TunnelError: It is gone.
    """
    try:
        return await netlink.dump(GET_DEVICE, get_device(name))
    except Refused as refused:
        raise TunnelError(f"{name}: {REASONS.get(refused.number, refused)}") from refused


def _not_ours(name: str, kind: str) -> str:
    return (
        f"the interface {name} exists already (kind {kind or 'unknown'}) and is not ours: "
        "choose another with --interface-name, or remove it"
    )
