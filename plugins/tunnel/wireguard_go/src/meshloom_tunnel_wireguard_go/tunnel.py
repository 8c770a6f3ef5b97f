"""The device: state applied over the control socket, addresses by netlink, STUN by raw sockets."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio

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
from meshloom_linux.links import configure_link, find_link, raise_link
from meshloom_linux.lock import only_one
from meshloom_linux.peer_routes import PeerRoutes
from meshloom_linux.upkeep import in_turn
from meshloom_tunnel_wireguard_go import Options
from meshloom_tunnel_wireguard_go.program import Program, running, start
from meshloom_tunnel_wireguard_go.uapi import check_errno, parse_configuration, parse_get, set_command

OURS = "meshloom"


class WireguardGoTunnel(Tunnel):
    """A running program; made by :func:`open_wireguard_go`."""

    def __init__(self, program: Program, beside: BesidePort, fwmark: int, left: frozenset[PublicKey]) -> None:
        self.capabilities = TunnelCapabilities(
            kernel=False, ipv6_underlay=beside.stun.has_ipv6, carries=True, rings=True
        )
        self.port: SharedPort = beside.stun
        self._beside, self._program, self._fwmark = beside, program, fwmark
        self._left = left
        self._routes = PeerRoutes(program.interface)
        self._applied: TunnelState | None = None
        self._listen_port = 0
        self._one = anyio.Lock()

    @property
    def listen_port(self) -> int:
        """WireGuard's UDP port; 0 before the first ``apply``."""
        return self._listen_port

    async def apply(self, state: TunnelState) -> None:
        """Tells the program and the kernel the difference; where one refuses a part, takes back what was taken."""
        async with self._one:
            old = self._applied
            try:
                await self._make(state)
            except TunnelError:
                if old is not None:
                    with suppress(TunnelError):  # the first refusal says what is wrong
                        await self._make(old)
                elif self._applied is not None:
                    self._applied, self._left = None, self._left | state.peers.keys()  # the next one sends everything
                raise

    async def _make(self, state: TunnelState) -> None:
        """Tells the program and the kernel the difference: first the port, since it alone depends on others."""
        old = self._applied
        changes = list(peer_changes(old.peers if old else {}, state.peers))
        if old is None:
            # Peers that an earlier agent left are in the device, but not wanted. The port is only taken when it is up.
            changes = [PeerChange(key, None) for key in self._left - state.peers.keys()] + changes
            await raise_link(self._program.interface, OURS)
        if old is None or old.listen_port != state.listen_port:
            await self._listen(state.listen_port)
        self._applied = state  # from here on a part of it may be taken
        if old is None or (old.addresses, old.mtu) != (state.addresses, state.mtu):
            await configure_link(self._program.interface, state.addresses, state.mtu)
        new_key = old is None or old.private_key != state.private_key
        if changes or new_key:
            await self._set(
                set_command(
                    changes, state.private_key if new_key else None, None, self._fwmark if old is None else None
                ),
                "peers",
            )
        await self._routes.apply(state.peers)

    async def set_endpoints(self, endpoints: Mapping[PublicKey, Address]) -> None:
        """Tell the program."""
        changes = list(endpoint_changes(self._applied.peers if self._applied else {}, endpoints))
        if changes:
            await self._set(set_command(changes, None, None, None), "endpoints")

    async def put_back(self, *, look_only: bool = False) -> tuple[str, ...]:
        """Asks program and kernel, and tells them the difference: the interface first, which the port follows."""
        async with self._one:
            if (state := self._applied) is None:
                return ()
            return await in_turn(
                lambda: put_link_back(self._program.interface, state.addresses, state.mtu, self._routes, look_only),
                lambda: self._put_device_back(state, look_only),
            )

    async def _put_device_back(self, state: TunnelState, look_only: bool) -> Sequence[str]:
        found = parse_configuration(await self._program.ask(b"get=1\n\n"))
        upkeep = device_upkeep(found, state.private_key, self._listen_port, self._fwmark, state.peers)
        if look_only:
            return upkeep.said
        if upkeep.peers or upkeep.new_key or upkeep.new_mark:
            key, mark = state.private_key if upkeep.new_key else None, self._fwmark if upkeep.new_mark else None
            await self._set(set_command(upkeep.peers, key, None, mark), "peers")
        if upkeep.new_port:
            try:
                await self._set(set_command((), None, self._listen_port, None), f"UDP port {self._listen_port}")
            except TunnelError:
                if found.listen_port:  # the program has closed the port that it had
                    await self._program.ask(set_command((), None, found.listen_port, None))
                raise
        return upkeep.said

    def carry(self, send: Callable[[memoryview], object], prefix: bytes = b"") -> Carrier:
        """A loopback socket that WireGuard takes for the peer."""
        return self._beside.carry(send, prefix)

    def doorbell(self, rung: Callable[[int, bytes], None]) -> Doorbell:
        """Loopback addresses that WireGuard takes for peers."""
        return self._beside.doorbell(rung)

    async def observed(self) -> Mapping[PublicKey, PeerStats]:
        """What the program says of its peers."""
        return parse_get(await self._program.ask(b"get=1\n\n"))[1]

    async def wait_lost(self) -> str:
        """Return when the program has ended."""
        await self._program.wait_ended()
        return "the WireGuard program has ended"

    async def _listen(self, port: int) -> None:
        """Move to another port; where any will do, keep the one that an earlier agent's peers know."""
        if port or self._applied or not self._left:
            try:
                await self._set(set_command((), None, port, None), f"UDP port {port}")
            except TunnelError:
                if self._applied:  # the program has closed the port that it had
                    await self._program.ask(set_command((), None, self._listen_port, None))
                raise
        device, _ = parse_get(await self._program.ask(b"get=1\n\n"))
        self._listen_port = int(device.get("listen_port", 0))
        self._beside.use(self._listen_port)

    async def _set(self, command: bytes, what: str) -> None:
        check_errno(await self._program.ask(command), f"{self._program.interface}, {what}")


@asynccontextmanager
async def open_wireguard_go(options: Options, context: TunnelContext) -> AsyncIterator[Tunnel]:
    """Start the program, or take over the one that an agent left that was killed."""
    with only_one(context.interface):
        program = running(context.interface)
        if program is None:
            link = await find_link(context.interface)
            if link is not None:
                raise TunnelError(
                    f"the interface {context.interface} exists already (kind {link.kind or 'unknown'}) and is not "
                    "ours: choose another with --interface-name, or remove it"
                )
            program = await start(options.program, context.interface)
        beside: BesidePort | None = None
        try:
            beside = BesidePort(context.fwmark)
            left = frozenset(parse_get(await program.ask(b"get=1\n\n"))[1])
            yield WireguardGoTunnel(program, beside, context.fwmark, left)
        finally:
            with anyio.CancelScope(shield=True):
                if beside is not None:
                    beside.close()
                await program.end()
                program.close()
