"""The device: state applied over the control socket, addresses by netlink, STUN by raw sockets."""

import contextlib
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import anyio

from meshloom.errors import TunnelError
from meshloom.model.keys import PublicKey
from meshloom.tunnel import (
    Carrier,
    Doorbell,
    PeerStats,
    SharedPort,
    Tunnel,
    TunnelCapabilities,
    TunnelContext,
    TunnelState,
)
from meshloom_linux.difference import PeerChange, peer_changes
from meshloom_linux.doorbell import LoopbackDoorbell
from meshloom_linux.links import configure_link, link_kind
from meshloom_linux.loopback import Loopback
from meshloom_linux.shared_port import RawSharedPort
from meshloom_tunnel_wireguard_go import Options
from meshloom_tunnel_wireguard_go.program import SOCKETS, Program, running, start
from meshloom_tunnel_wireguard_go.uapi import check_errno, parse_get, set_command


class WireguardGoTunnel(Tunnel):
    """A running program; made by :func:`open_wireguard_go`."""

    def __init__(self, program: Program, port: RawSharedPort, fwmark: int, left: frozenset[PublicKey]) -> None:
        self.capabilities = TunnelCapabilities(kernel=False, ipv6_underlay=port.has_ipv6)
        self.port: SharedPort = port
        self._raw_port, self._program, self._fwmark = port, program, fwmark
        self._left = left
        self._loopback = Loopback()
        self._doorbells: list[LoopbackDoorbell] = []
        self._applied: TunnelState | None = None
        self._listen_port = 0

    @property
    def listen_port(self) -> int:
        """WireGuard's UDP port; 0 before the first ``apply``."""
        return self._listen_port

    async def apply(self, state: TunnelState) -> None:
        """Tell the program and the kernel the difference."""
        old = self._applied
        changes = list(peer_changes(old.peers if old else {}, state.peers))
        if old is None:  # peers that an earlier agent left are in the device, but not wanted
            changes = [PeerChange(key, None) for key in self._left - state.peers.keys()] + changes
        new_key = old is None or old.private_key != state.private_key
        new_port = old is None or old.listen_port != state.listen_port
        if old is None or (old.addresses, old.mtu) != (state.addresses, state.mtu):
            await configure_link(self._program.interface, state.addresses, state.mtu)
        if changes or new_key or new_port:
            command = set_command(
                changes,
                state.private_key if new_key else None,
                state.listen_port if new_port else None,
                self._fwmark if old is None else None,
            )
            check_errno(await self._program.ask(command), f"{self._program.interface}, UDP port {state.listen_port}")
        if new_port:
            device, _ = parse_get(await self._program.ask(b"get=1\n\n"))
            self._listen_port = int(device.get("listen_port", 0))
            self._raw_port.use(self._listen_port)
            self._loopback.use(self._listen_port)
            for each in self._doorbells:
                each.use(self._listen_port)
        self._applied = state

    def carry(self, send: Callable[[memoryview], object], prefix: bytes = b"") -> Carrier:
        """A loopback socket that WireGuard takes for the peer."""
        return self._loopback.carry(send, prefix)

    def doorbell(self, rung: Callable[[int, bytes], None]) -> Doorbell:
        """Loopback addresses that WireGuard takes for peers."""
        made = LoopbackDoorbell(rung)
        made.use(self._listen_port)
        self._doorbells.append(made)
        return made

    def close(self) -> None:
        """End everything beside the program."""
        self._raw_port.close()
        self._loopback.close()
        for each in self._doorbells:
            each.close()

    async def observed(self) -> Mapping[PublicKey, PeerStats]:
        """What the program says of its peers."""
        return parse_get(await self._program.ask(b"get=1\n\n"))[1]

    async def wait_lost(self) -> str:
        """Return when the program has ended."""
        await self._program.wait_ended()
        return "the WireGuard program has ended"


@asynccontextmanager
async def open_wireguard_go(options: Options, context: TunnelContext) -> AsyncIterator[Tunnel]:
    """Start the program, or take over the one that an agent left that was killed."""
    with _only_one(context.interface):
        program = running(context.interface)
        if program is None:
            kind = await link_kind(context.interface)
            if kind is not None:
                raise TunnelError(
                    f"the interface {context.interface} exists already (kind {kind or 'unknown'}) and is not ours: "
                    "choose another with --interface-name, or remove it"
                )
            program = await start(options.program, context.interface)
        left = frozenset(parse_get(await program.ask(b"get=1\n\n"))[1])
        tunnel = WireguardGoTunnel(program, RawSharedPort(context.fwmark), context.fwmark, left)
        try:
            yield tunnel
        finally:
            with anyio.CancelScope(shield=True):
                tunnel.close()
                await program.end()
                program.close()


@contextlib.contextmanager
def _only_one(interface: str) -> Iterator[None]:
    """No second agent on the interface; the lock is gone with whoever held it."""
    SOCKETS.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = Path(f"{SOCKETS}/{interface}.meshloom.lock")
    lock: IO[str]
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TunnelError(
                f"another agent uses the interface {interface}: choose another with --interface-name"
            ) from error
        yield
