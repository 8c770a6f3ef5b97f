"""The daemon's gRPC service on its unix socket; the command line's other end."""

import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import grpc

from meshloom import __version__
from meshloom.errors import ConfigError, MeshError, words_of
from meshloom.rpc import daemon_pb2 as pb
from meshloom.rpc.daemon_pb2_grpc import DaemonServiceServicer, add_DaemonServiceServicer_to_server
from meshloom.rpc.diagnostics_pb2_grpc import add_DiagnosticsServicer_to_server
from meshloom_agent.channel import parse_url
from meshloom_agent.checked import group_id
from meshloom_agent.daemon import Daemon
from meshloom_agent.diagnostics.bundle import write_private
from meshloom_agent.diagnostics.logs import DaemonLogs
from meshloom_agent.diagnostics.servers import ServerProbes
from meshloom_agent.diagnostics.service import DiagnosticsService
from meshloom_agent.files import AgentSettings
from meshloom_agent.management_errors import LoginDenied, ManagementUnreachable
from meshloom_agent.path_settings import check, path_fields
from meshloom_agent.permission import reason
from meshloom_agent.renaming import renaming
from meshloom_agent.report import PeerReport, RelayReport
from meshloom_agent.server_identity import plain_http_warning
from meshloom_agent.surroundings import addresses_of

NO_SERVER = "no server is known yet: meshloom up --management-url URL --setup-key KEY"
UP_WITHIN = 50.0
STATUS_EVERY = 1.0
"""Seconds between two looks for those who are told of changes."""
INTERFACE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.=+-]{0,14}")
"""As Linux allows, and safe as part of a path and on a command line."""
MAX_PORT = 0xFFFF
LEAST_MTU = 576
"""What every IPv4 host takes (RFC 791 section 3.1)."""
LONGEST_NAME = 255
Context = grpc.aio.ServicerContext[Any, Any]
LEVELS: dict[int, pb.LogLevel] = {
    logging.DEBUG: pb.DEBUG,
    logging.INFO: pb.INFO,
    logging.WARNING: pb.WARN,
    logging.ERROR: pb.ERROR,
    logging.CRITICAL: pb.FATAL,
}


class DaemonService(DaemonServiceServicer):
    """Calls of the daemon; those of the protocol that are not here answer UNIMPLEMENTED."""

    def __init__(self, daemon: Daemon, logs: DaemonLogs) -> None:
        self._daemon, self._logs = daemon, logs
        self._probes = ServerProbes(daemon.refusal)
        self.diagnostics = DiagnosticsService(daemon, self._status, logs.ring)

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:  # noqa: N802
        """Take over what is given, and let management know this machine."""
        try:
            settings = merged(self._daemon.settings, request)
            if not settings.management_url:
                raise ConfigError(NO_SERVER)
            kept = self._daemon.files.last_map()
            joined = await self._daemon.login(
                settings, request.setupKey, _preshared(request), accept_server_key=request.accept_server_key
            )
            server = parse_url(settings.management_url)
        except MeshError as error:
            await _abort(context, error)
        fqdn = "" if joined or kept is None else kept.NetworkMap.peerConfig.fqdn
        warning, not_done = plain_http_warning(server, await addresses_of(server)), renaming(request.hostname, fqdn)
        return pb.LoginResponse(warnings=[warning] if warning else (), not_done=[not_done] if not_done else ())

    async def Up(self, request: pb.UpRequest, context: Context) -> pb.UpResponse:  # noqa: N802
        """Go up, and wait for it unless ``async`` is asked for."""
        if not self._daemon.settings.management_url:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, NO_SERVER)
        await self._daemon.up()
        if not getattr(request, "async"):
            with anyio.move_on_after(UP_WITHIN):
                await self._daemon.settled()
        if self._daemon.failure:
            code = grpc.StatusCode.FAILED_PRECONDITION
            if self._daemon.report.not_known:
                code = grpc.StatusCode.PERMISSION_DENIED
            await context.abort(code, self._daemon.failure)
        return pb.UpResponse(warnings=self._daemon.report.port_taken)

    async def Down(self, _request: pb.DownRequest, _context: Context) -> pb.DownResponse:  # noqa: N802
        """Go down."""
        await self._daemon.down()
        return pb.DownResponse()

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:  # noqa: N802
        """Leave the account."""
        try:
            await self._daemon.log_out(local=request.local)
        except MeshError as error:
            await _abort(context, error)
        return pb.LogoutResponse()

    async def Status(self, request: pb.StatusRequest, _context: Context) -> pb.StatusResponse:  # noqa: N802
        """How it is now."""
        return await self._status(request)

    async def SubscribeStatus(  # noqa: N802
        self, request: pb.StatusRequest, _context: Context
    ) -> AsyncIterator[pb.StatusResponse]:
        """How it is now, and again whenever that has changed."""
        last = None
        while True:
            status = await self._status(request)
            if status != last:
                yield status
                last = status
            await anyio.sleep(STATUS_EVERY)

    async def GetConfig(self, _request: pb.GetConfigRequest, _context: Context) -> pb.GetConfigResponse:  # noqa: N802
        """The settings; no secret is among them."""
        settings = self._daemon.settings
        return pb.GetConfigResponse(
            managementUrl=settings.management_url,
            configFile=str(self._daemon.files.path),
            interfaceName=settings.interface,
            wireguardPort=settings.port,
            mtu=settings.mtu,
            networkMonitor=True,
            disable_ipv6=not settings.ipv6,
        )

    async def GetLogLevel(  # noqa: N802
        self, _request: pb.GetLogLevelRequest, _context: Context
    ) -> pb.GetLogLevelResponse:
        """From which level on it logs."""
        return pb.GetLogLevelResponse(level=LEVELS.get(self._logs.level, pb.UNKNOWN))

    async def SetLogLevel(self, request: pb.SetLogLevelRequest, context: Context) -> pb.SetLogLevelResponse:  # noqa: N802
        """Log from another level on, until it ends."""
        numbers = {level: number for number, level in LEVELS.items()} | {pb.TRACE: logging.DEBUG, pb.PANIC: 50}
        if request.level not in numbers:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{request.level}: no level of the log")
        self._logs.level = numbers[request.level]
        return pb.SetLogLevelResponse()

    async def DebugBundle(  # noqa: N802
        self, request: pb.DebugBundleRequest, context: Context
    ) -> pb.DebugBundleResponse:
        """What helps to find a fault, in a file of the state's folder; the one before is replaced."""
        file = self._daemon.files.path / "debug-bundle.tar.gz"
        try:
            write_private(file, await self.diagnostics.bundle(anonymize=request.anonymize))
        except OSError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{file}: cannot be written: {error.strerror}")
        refused = "bundles are not uploaded: send the file yourself" if request.uploadURL else ""
        return pb.DebugBundleResponse(path=str(file), uploadFailureReason=refused)

    async def _status(self, request: pb.StatusRequest) -> pb.StatusResponse:
        await self._daemon.look()
        if request.shouldRunProbes:
            await self._daemon.ask_whether_known()
        report = self._daemon.report
        response = pb.StatusResponse(status=report.state, daemonVersion=__version__)
        if request.getFullPeerStatus:
            full = response.fullStatus
            for server, state in (
                (report.management, full.managementState),
                (report.signal, full.signalState),
            ):
                state.URL, state.connected, state.error = server.url, server.connected, server.error
            full.managementState.URL = report.management.url or self._daemon.settings.management_url
            own = full.localPeerState
            own.pubKey, own.kernelInterface, own.fqdn = report.public_key, report.kernel, report.fqdn
            own.wgPort = report.listen_port
            for address in report.addresses:
                setattr(own, "IP" if address.version == 4 else "ipv6", str(address))
            for relay in [*report.relays, *await self._stuns(ask=request.shouldRunProbes)]:
                full.relays.add(URI=relay.uri, available=relay.available, error=relay.error, transport=relay.transport)
            full.lazyConnectionEnabled = report.lazy
            full.peers.extend(peer_state(peer) for peer in await self._daemon.peers())
            for text in report.warnings:
                full.events.add(category=pb.SystemEvent.SYSTEM, severity=pb.SystemEvent.WARNING, userMessage=text)
            if self._daemon.failure or report.waiting_for:
                event = full.events.add(category=pb.SystemEvent.CONNECTIVITY, message=report.waiting_for)
                event.severity = pb.SystemEvent.ERROR if self._daemon.failure else pb.SystemEvent.INFO
                event.userMessage = self._daemon.failure or f"waiting for {report.waiting_for}"
        return response

    async def _stuns(self, *, ask: bool) -> list[RelayReport]:
        servers = self._daemon.report.stuns
        return await self._probes.look(servers) if ask else self._probes.known(servers)


def merged(settings: AgentSettings, request: pb.LoginRequest) -> AgentSettings:
    """The settings with what a request gives; what it does not give stays.

    Raises:
        ConfigError: A value cannot be; whoever may use the socket is not trusted with paths.
    """
    given: dict[str, Any] = {}
    if request.managementUrl:
        given["management_url"] = request.managementUrl
    if request.hostname:
        given["hostname"] = request.hostname
    for field, name in (("interfaceName", "interface"), ("wireguardPort", "port"), ("mtu", "mtu")):
        if request.HasField(field):
            given[name] = getattr(request, field)
    if request.HasField("disable_ipv6"):
        given["ipv6"] = not request.disable_ipv6
    if request.extraIFaceBlacklist:
        given["excluded_interfaces"] = tuple(request.extraIFaceBlacklist)
    given |= path_fields(request)
    made = attrs.evolve(settings, **given)
    check(made)
    if not INTERFACE.fullmatch(made.interface) or made.interface in (".", ".."):
        raise ConfigError(f"--interface-name {made.interface!r}: no name of an interface; 1 to 15 letters and digits")
    if not 0 <= made.port <= MAX_PORT:
        raise ConfigError(f"--wireguard-port {made.port}: no UDP port; 1 to {MAX_PORT}, or 0 for a free one")
    if made.mtu and not LEAST_MTU <= made.mtu <= MAX_PORT:
        raise ConfigError(f"--mtu {made.mtu}: out of range; {LEAST_MTU} to {MAX_PORT}, or 0 for what management says")
    if len(made.hostname) > LONGEST_NAME or not made.hostname.isprintable():
        raise ConfigError(f"--hostname: no host name; at most {LONGEST_NAME} printable characters")
    return made


def _preshared(request: pb.LoginRequest) -> str | None:
    """The preshared key that a request gives; the asterisks that stand for one say nothing."""
    if not request.HasField("optionalPreSharedKey") or set(request.optionalPreSharedKey) == {"*"}:
        return None
    return request.optionalPreSharedKey


def peer_state(peer: PeerReport) -> pb.PeerState:
    """One peer, as the protocol tells it."""
    path = peer.path
    state = pb.PeerState(
        pubKey=peer.key.text,
        fqdn=peer.remote.fqdn,
        connStatus=path.state,
        localIceCandidateType=path.local_kind,
        remoteIceCandidateType=path.remote_kind,
        localIceCandidateEndpoint=_address(path.local_address),
        remoteIceCandidateEndpoint=_address(path.remote_address),
        bytesRx=peer.stats.rx_bytes,
        bytesTx=peer.stats.tx_bytes,
        reason=path.reason,
        relayed=peer.path.is_relayed,
        relayAddress=peer.relay,
        relayTransport=peer.transport,
    )
    for network in peer.remote.allowed_ips:
        if network.version == 4 and not state.IP:
            state.IP = str(network.network_address)
        elif network.version == 6 and not state.ipv6:
            state.ipv6 = str(network.network_address)
        else:
            state.networks.append(str(network))
    state.connStatusUpdate.FromDatetime(peer.since)
    if peer.last_seen is not None:
        state.lastSeen.FromDatetime(peer.last_seen)
    if peer.stats.latest_handshake:
        state.lastWireguardHandshake.FromDatetime(peer.stats.latest_handshake)
    state.latency.FromNanoseconds(int(path.latency * 1e9))
    return state


@asynccontextmanager
async def open_socket(
    daemon: Daemon, path: Path, group: str = "", logs: DaemonLogs | None = None
) -> AsyncIterator[None]:
    """Serve on the socket until leaving: for root, and for the members of *group*.

    Raises:
        ConfigError: Another daemon is there, or the socket cannot be made.
    """
    owner = group_id(group)
    if await _answers(path):
        raise ConfigError(f"--daemon-addr unix://{path}: another daemon listens there")
    _clear(path)
    server = grpc.aio.server()
    service = DaemonService(daemon, logs or DaemonLogs())
    add_DaemonServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    add_DiagnosticsServicer_to_server(service.diagnostics, server)  # type: ignore[no-untyped-call]
    before = os.umask(0o177)  # never open for others, not for a moment
    try:
        server.add_insecure_port(f"unix:{path}")
        await server.start()
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"--daemon-addr unix://{path}: cannot listen there: {words_of(error)}") from error
    finally:
        os.umask(before)
    if owner is not None:
        os.chown(path, -1, owner)
        os.chmod(path, 0o660)  # noqa: PTH101 - beside chown
    try:
        yield
    finally:
        await server.stop(0.5)
        _clear(path)


def _clear(path: Path) -> None:
    """Make room for the socket; what is there and is none is somebody's file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_socket():
            path.unlink()
        elif path.exists():
            raise ConfigError(f"--daemon-addr unix://{path}: a file that is no socket is there; give another path")
    except OSError as error:
        raise ConfigError(f"--daemon-addr unix://{path}: cannot be made: {reason(error)}") from error


async def _answers(path: Path) -> bool:
    try:
        async with await anyio.connect_unix(str(path)):
            return True
    except OSError:
        return False


async def _abort(context: Context, error: MeshError) -> None:
    codes: dict[type[MeshError], grpc.StatusCode] = {
        LoginDenied: grpc.StatusCode.PERMISSION_DENIED,
        ManagementUnreachable: grpc.StatusCode.UNAVAILABLE,
        ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    }
    await context.abort(codes.get(type(error), grpc.StatusCode.FAILED_PRECONDITION), str(error))


def _address(address: tuple[str, int] | None) -> str:
    if address is None:
        return ""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
