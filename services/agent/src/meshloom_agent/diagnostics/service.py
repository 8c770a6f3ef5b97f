"""The daemon's answers to who looks for faults, on the same socket as NetBird's own calls."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import attrs
import grpc

from meshloom import __version__
from meshloom.rpc import daemon_pb2 as daemon_pb
from meshloom.rpc import diagnostics_pb2 as pb
from meshloom.rpc.diagnostics_pb2_grpc import DiagnosticsServicer
from meshloom_agent.daemon import Daemon
from meshloom_agent.diagnostics.bundle import Told, anonymized, contents, names_of, packed, secrets_of
from meshloom_agent.diagnostics.echo import EchoError, open_echo
from meshloom_agent.diagnostics.facts import gather
from meshloom_agent.diagnostics.known import from_daemon
from meshloom_agent.diagnostics.logs import LogRing
from meshloom_agent.diagnostics.ping import found_peer, is_own, reply
from meshloom_agent.events import waiting, warnings

Context = grpc.aio.ServicerContext[Any, Any]
MOST_ROUNDS = 100_000
LEAST_INTERVAL = 0.01
CHUNK = 256 << 10
Status = Callable[[daemon_pb.StatusRequest], Awaitable[daemon_pb.StatusResponse]]


class DiagnosticsService(DiagnosticsServicer):
    """Calls of :mod:`meshloom.rpc.diagnostics_pb2`.

    Args:
        status: The daemon's answer to NetBird's call of that name.
    """

    def __init__(self, daemon: Daemon, status: Status, ring: LogRing) -> None:
        self._daemon, self._status, self._ring = daemon, status, ring

    async def Ping(self, request: pb.PingRequest, context: Context) -> AsyncIterator[pb.PingReply]:  # noqa: N802
        """Echo requests through the tunnel, each with the path that the peer's packets take then."""
        if not self._daemon.is_up:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the daemon is not connected: `meshloom up`")
        if is_own(self._daemon.report, request.peer):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "that is this machine")
        peer = found_peer(await self._daemon.peers(), request.peer)
        if peer is None:
            why = "no such peer, or no policy lets this machine reach it; `meshloom status -d` lists those that it can"
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.peer}: {why}")
        address = peer.remote.allowed_ips[0].network_address
        timeout = request.timeout.ToNanoseconds() / 1e9 or 1.0
        interval = max(LEAST_INTERVAL, request.interval.ToNanoseconds() / 1e9 or 1.0)
        try:
            with open_echo(address) as echo:
                for sequence in range(1, min(request.count or 1, MOST_ROUNDS) + 1):
                    began = anyio.current_time()
                    took = await echo.ask(sequence, timeout)
                    peer = found_peer(await self._daemon.peers(), peer.key.text) or peer
                    answer = reply(peer, sequence, took)
                    answer.address = str(address)
                    yield answer
                    direct = took is not None and answer.path == pb.PingReply.DIRECT
                    if (request.until_direct and direct) or sequence == request.count:
                        return
                    await anyio.sleep(max(0.0, began + interval - anyio.current_time()))
        except EchoError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    async def Servers(self, _request: pb.ServersRequest, _context: Context) -> pb.ServersResponse:  # noqa: N802
        """Which servers this machine uses, and what its tunnel is."""
        return self._servers()

    async def Bundle(  # noqa: N802
        self, request: pb.BundleRequest, _context: Context
    ) -> AsyncIterator[pb.BundleChunk]:
        """Everything that helps to find a fault, packed up."""
        data = await self.bundle(anonymize=request.anonymize, ask_gateway=request.ask_gateway)
        for at in range(0, len(data), CHUNK):
            yield pb.BundleChunk(data=data[at : at + CHUNK])

    async def bundle(self, *, anonymize: bool, ask_gateway: bool = True) -> bytes:
        """The same at once: a tar.gz."""
        daemon = self._daemon
        status = await self._status(daemon_pb.StatusRequest(getFullPeerStatus=True, shouldRunProbes=True))
        facts = await gather(from_daemon(self._servers()).at(""), ask_gateway=ask_gateway)
        facts = attrs.evolve(facts, state=status.status, waiting=waiting(status), warnings=warnings(status))
        told = Told(status, daemon.settings, daemon.files.last_map(), self._ring.text)
        files = contents(facts, told)
        if anonymize:
            files = anonymized(files, facts, [*names_of(told), os.uname().nodename], os.urandom(16))
        return packed(files, secrets_of(daemon.files.path))

    def _servers(self) -> pb.ServersResponse:
        report, settings = self._daemon.report, self._daemon.settings
        return pb.ServersResponse(
            management_url=settings.management_url,
            signal_url=report.signal.url,
            stuns=[f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in report.stuns],
            relays=[each.uri for each in report.relays],
            interface=settings.interface,
            mtu=settings.mtu,
            listen_port=report.listen_port,
            overlay=[str(address.network) for address in report.addresses],
            state_dir=str(self._daemon.files.path),
            version=__version__,
            extra_roots=self._daemon.extra_roots,
        )
