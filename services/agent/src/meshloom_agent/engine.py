"""Keeps the mesh: from the newest map, the host's addresses and what peers signal, to the state of the tunnel."""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import anyio
import attrs
from anyio.abc import TaskGroup

from meshloom.config import Chosen
from meshloom.errors import MeshError, TunnelError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.signal import SignalMessage
from meshloom.rpc import management_pb2 as pb
from meshloom.transport import RelayAddress
from meshloom.tunnel import PeerStats, Tunnel, TunnelContext
from meshloom_agent.absence import Absences
from meshloom_agent.border import Border
from meshloom_agent.channel import parse_url
from meshloom_agent.facts import system_meta, wants_ipv6
from meshloom_agent.files import AgentSettings, StateDir
from meshloom_agent.handshakes import Handshakes, with_handshake
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.map_keeper import MapKeeper
from meshloom_agent.maps import TUNNEL, Maps
from meshloom_agent.mesh import Mesh, MeshOptions
from meshloom_agent.network import (
    external_addresses,
    named_servers,
    relays,
    signal_address,
    stun_servers,
    turn_servers,
    usable,
)
from meshloom_agent.paths import Paths
from meshloom_agent.relays import NamedTransport
from meshloom_agent.report import CONNECTING, PeerReport, Report, ServerReport, wall_clock
from meshloom_agent.server_identity import ServerKeys
from meshloom_agent.signal_client import SignalClient
from meshloom_agent.surroundings import SOON, addresses_of, router
from meshloom_agent.sync import ManagementLink
from meshloom_agent.trust import Refusals, Surroundings, check_overlay
from meshloom_agent.upkeep import Upkeep
from meshloom_linux.ipv6 import ipv6_objection
from meshloom_linux.upkeep import in_turn
from meshloom_linux.watch import host_interfaces, network_changes

_log = logging.getLogger(__name__)

LOOK_EVERY = 30.0
"""Seconds between two looks at WireGuard's handshakes."""
RESOLVE_EVERY, RESOLVE_AGAIN = 300.0, 5.0
"""Seconds between two looks for the addresses of servers, and until the next where some were not found."""
RESOLVE_WITHIN = 15.0
"""Seconds for management's addresses where nothing waits for them: a resolver's second question comes after 5."""


class Engine:
    """One agent while it is up; run it until cancelled.

    Raises (from :meth:`run`):
        MapRefused: The addresses that management gives this machine are not to be believed.
        TunnelError: There can be no tunnel, or it was lost.
    """

    def __init__(
        self,
        files: StateDir,
        settings: AgentSettings,
        tunnel: Chosen[TunnelContext, Tunnel],
        report: Report,
        *,
        extra_roots: bytes = b"",
        transports: Sequence[NamedTransport] = (),
        options: MeshOptions | None = None,
        servers: ServerKeys | None = None,
    ) -> None:
        self._files, self._settings, self._chosen, self._report = files, settings, tunnel, report
        self._key: PrivateKey = files.key()
        self._public = self._key.public
        self._mesh = Mesh(self._public, os.urandom, options)
        self._border = Border(
            report,
            lambda: self._maps.around,
            lambda: [each.network for each in report.addresses],
            chosen=[(each.host, each.port) for each in map(RelayAddress.parse, settings.home_relays)],
            by_name=any(each.by_name for each in transports),
        )
        self._paths = Paths(
            self._mesh,
            self._public,
            transports,
            self._send_signal,
            self._apply_soon,
            relays_changed=self._report_relays,
            extra_roots=extra_roots,
            port_mapping=settings.port_mapping,
            border=self._border,
        )
        self._roots = extra_roots
        address = parse_url(settings.management_url)
        identity = (servers or ServerKeys(files)).at(address)
        self._client = ManagementClient(address, self._key, extra_roots, identity)
        self._absences = Absences(self._client, self._mesh.set_away)
        self._link = ManagementLink(self._client, files, report, self._meta, self._take_update)
        self._keeper = MapKeeper(files)
        keys = self._key, files.preshared_key()
        self._maps = Maps(settings, report, self._paths, keys, keep=self._keeper.keep, apply_soon=self._apply_soon)
        self._handshakes, self._upkeep = Handshakes(), Upkeep(report)
        self._tunnel: Tunnel | None = None
        self._signal: SignalClient | None = None
        self._signalling = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._stuns: list[tuple[str, int]] = []
        self._resolve = anyio.Event()
        self._apply = anyio.Event()
        self._stats: Mapping[PublicKey, PeerStats] = {}

    async def run(self, first: pb.LoginResponse | None = None) -> None:
        """Be up. *first* is management's answer to a login just made; otherwise the last map or a new login serves."""
        report = self._report
        report.state, report.public_key = CONNECTING, self._public.text
        report.management = ServerReport(self._client.address.url)
        try:
            await self._begin(first)
            context = TunnelContext(self._settings.interface, self._files.path)
            async with self._chosen.open(context) as self._tunnel, anyio.create_task_group() as tasks:
                report.kernel = self._tunnel.capabilities.kernel
                self._paths.start(self._tunnel, tasks)  # first: peers of the kept map may need its doorbell
                await self._apply_state()
                await self._refresh_addresses()
                for task in (self._keep_applied, self._watch_network, self._watch_tunnel):
                    tasks.start_soon(task)
                self._upkeep.add(f"the interface {self._settings.interface}", self._put_back)
                for each in (self._keeper, self._upkeep, self._absences):
                    tasks.start_soon(each.run)
                tasks.start_soon(self._look_at_handshakes)
                tasks.start_soon(self._keep_resolved)
                self._tasks = tasks
                self._start_signal()
                tasks.start_soon(self._link.run)
        finally:
            with anyio.CancelScope(shield=True):
                await self._client.close()

    # -- management --------------------------------------------------------------------------------------------

    async def _begin(self, first: pb.LoginResponse | None) -> None:
        """Finds our own address: from a login, else from the last map."""
        kept = self._files.last_map()
        await self._look_around()
        if kept is not None:
            self._maps.serial = kept.NetworkMap.Serial
            refusals = Refusals()
            kept = usable(kept, self._maps.around, refusals)
            self._report.refuse(TUNNEL, refusals.told)
        if first is None and kept is None:
            self._report.waiting_for = f"management at {self._client.address.url}"
            first = await self._link.log_in()
        last = kept or pb.SyncResponse()
        self._maps.config = first.netbirdConfig if first is not None else last.netbirdConfig
        self._take_config(self._maps.config)
        self._maps.begin(first.peerConfig if first is not None else last.NetworkMap.peerConfig, last.NetworkMap)

    async def _look_around(self, within: float = SOON) -> None:
        """Finds what the mesh must leave alone; a kept map that cuts management off is not used any longer.

        Raises:
            MapRefused: Our own addresses in the mesh are not to be believed, as is known now.
        """
        maps = self._maps
        management = await addresses_of(self._client.address, within) or maps.around.management
        way = router()
        maps.around = Surroundings(
            management, way.address if way is not None else None, link=way.link if way is not None else None
        )
        if (own := maps.use.own) is not None:
            check_overlay(own.addresses, maps.around)

    def ask_soon(self, *, another_account: bool) -> None:
        """Asks management now: the user has just logged in.

        Args:
            another_account: Whether maps may begin to count anew.
        """
        if another_account:
            self._maps.serial = 0
        self._link.ask_soon(reopen=another_account)

    def _take_update(self, update: pb.SyncResponse, begins_anew: bool) -> None:
        if update.HasField("netbirdConfig"):
            self._take_config(update.netbirdConfig)
            if update.netbirdConfig.stuns or not self._maps.config.stuns:
                self._maps.config = update.netbirdConfig
        if update.HasField("NetworkMap"):
            self._maps.around = attrs.evolve(self._maps.around, servers=self._border.servers)
            self._maps.take(update.NetworkMap, begins_anew=begins_anew)
        self._start_signal()
        self._report.progress()

    def _take_config(self, config: pb.NetbirdConfig) -> None:
        refusals = Refusals()
        servers = stun_servers(config, refusals)
        if servers and servers != self._stuns:
            self._stuns = servers
            self._report.stuns = tuple(servers)
            self._resolve.set()
        told = relays(config, refusals)
        self._paths.set_relays(self._relays_of(told.urls), told)
        if config.turns:
            self._paths.turn.set_servers(turn_servers(config, refusals))
        self._report.refuse("servers", refusals.told)
        self._border.forget(named_servers(config))

    def _relays_of(self, told: Sequence[str]) -> Sequence[str]:
        """The relays to use, where there are any."""
        if not self._settings.relays:
            return ()
        return self._settings.home_relays or told

    async def _meta(self) -> pb.PeerSystemMeta:
        return await system_meta(self._settings.hostname, ipv6=wants_ipv6(self._settings))

    # -- signal ------------------------------------------------------------------------------------------------

    def _start_signal(self) -> None:
        """Talks with the signal server that management names now; with the one before where it names none."""
        if self._tasks is None:
            return
        refusals = Refusals()
        address = signal_address(self._maps.config, refusals)
        self._report.refuse("signal", refusals.told)
        if address is None or (self._signal is not None and self._signal.address == address):
            return
        if self._signal is not None:
            self._signalling.cancel()
            self._signal_ready(False, "management names another server")
        self._report.signal = ServerReport(address.url)
        self._signalling = scope = anyio.CancelScope()
        self._signal = SignalClient(
            address,
            self._key,
            self._signal_received,
            self._signal_ready,
            self._roots,
            locate=self._border.signal,
            last_words=lambda: () if scope.cancel_called else self._mesh.farewell(),
        )
        self._tasks.start_soon(self._run_signal, self._signal, self._signalling)

    async def _run_signal(self, signal: SignalClient, scope: anyio.CancelScope) -> None:
        with scope:
            await signal.run()

    def _signal_ready(self, ready: bool, why: str) -> None:
        self._report.counters.lost["signal"] += self._report.signal.connected and not ready
        self._report.signal.connected, self._report.signal.error = ready, why
        self._mesh.signal_ready(ready, anyio.current_time())
        self._paths.flush()
        self._report.progress()

    def _signal_received(self, message: SignalMessage) -> None:
        _log.debug("%s from %s", message.kind.name, message.other.text)
        self._report.counters.received[message.kind.name.lower()] += 1
        self._report.counters.refused_relays += message.relay_refused
        self._mesh.receive_signal(message, anyio.current_time())
        self._paths.flush()

    # -- the mesh and the world --------------------------------------------------------------------------------

    def _send_signal(self, message: SignalMessage) -> None:
        if self._signal is not None:
            _log.debug("%s to %s", message.kind.name, message.other.text)
            self._report.counters.sent[message.kind.name.lower()] += 1
            self._signal.send_soon(message)

    def _apply_soon(self) -> None:
        self._apply.set()

    async def _watch_network(self) -> None:
        async with network_changes() as changes:
            async for _ in changes:
                await self._refresh_addresses()

    async def _refresh_addresses(self) -> None:
        interfaces = await host_interfaces({self._settings.interface}, self._settings.excluded_interfaces)
        addresses = [each for each, _ in interfaces if self._settings.ipv6_discovery or ":" not in each]
        self._mesh.set_external(external_addresses(self._settings.external_ips, interfaces), anyio.current_time())
        if self._maps.lacks_ipv6 != bool(ipv6_objection(self._settings.interface)):
            self._maps.reconsider()
            self._link.ask_soon(reopen=True)  # management is told
        self._paths.listens_on(self._running.listen_port)
        if self._mesh.set_local(addresses, self._running.listen_port, anyio.current_time()):
            self._paths.network_changed()
            if self._signal is not None:
                self._signal.renew()
        self._paths.flush()

    async def _keep_resolved(self) -> None:
        """Addresses of management and of the STUN servers, which may have new ones."""
        while True:
            self._resolve = anyio.Event()
            await self._look_around(within=RESOLVE_WITHIN)
            found = await self._border.stuns(self._stuns, ipv6=self._settings.ipv6_discovery)
            if found or not self._stuns:
                self._mesh.set_servers(found, anyio.current_time())
                self._paths.flush()
            is_whole = found and self._maps.around.management
            with anyio.move_on_after(RESOLVE_EVERY if is_whole else RESOLVE_AGAIN):
                await self._resolve.wait()

    # -- the tunnel --------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Tunnel:
        if self._tunnel is None:
            raise TunnelError("there is no tunnel")
        return self._tunnel

    async def _keep_applied(self) -> None:
        while True:
            await self._apply.wait()
            self._apply = anyio.Event()
            await self._apply_state()

    async def _apply_state(self) -> None:
        await self._maps.apply(self._running)
        self._report.listen_port = self._running.listen_port

    async def _put_back(self, *, look_only: bool = False) -> tuple[str, ...]:
        """The device first: peers that are put in again have their endpoints."""
        return await in_turn(
            lambda: self._running.put_back(look_only=look_only), lambda: self._paths.put_back(look_only=look_only)
        )

    async def _watch_tunnel(self) -> None:
        raise TunnelError(await self._running.wait_lost())

    async def _look_at_handshakes(self) -> None:
        while True:
            await anyio.sleep(LOOK_EVERY)
            if self._mesh.needs_look:
                latest, now = await self._observe(), anyio.current_time()
                self._mesh.set_traffic({key: each.rx_bytes + each.tx_bytes for key, each in self._stats.items()}, now)
                self._mesh.set_handshakes(latest, now)
                self._paths.flush()

    async def _observe(self) -> Mapping[PublicKey, float | None]:
        """Asks WireGuard for its peers; returns when it last shook hands with each."""
        self._stats = await self._running.observed()
        latest = self._handshakes.observe(self._stats, datetime.now(UTC), anyio.current_time())
        self._report.counters.handshakes += self._handshakes.new
        return latest

    def _report_relays(self) -> None:
        self._report.relays = self._paths.relay_reports()

    # -- for people --------------------------------------------------------------------------------------------

    def refusal(self, address: str) -> str:
        """Returns why no server may be at an address; empty where one may."""
        return self._border.refusal(address)

    async def look(self) -> None:
        """Compares the host with what was made of it, and peers with what management knows: to tell what is so now."""
        await self._upkeep.look()
        if self._mesh.connected < len(self._mesh.peers):
            await self._absences.look(is_connected=self._report.management.connected)

    async def peers(self) -> list[PeerReport]:
        """All peers of the map, with what WireGuard says of them now."""
        with suppress(MeshError):  # then by what it said last
            await self._observe()
        stats, latest, now = self._stats, self._handshakes.latest, anyio.current_time()
        return [
            PeerReport(
                key,
                remote,
                path,
                stats.get(key, PeerStats()),
                wall_clock(path.since, now),
                path.relay if path.is_relayed else "",
                self._paths.transport_to(key) if path.is_relayed else "",
                None if path.last_seen is None else wall_clock(path.last_seen, now),
            )
            for key, remote in self._mesh.peers.items()
            for path in [with_handshake(self._mesh.status(key, now), latest(key), now)]
        ]
