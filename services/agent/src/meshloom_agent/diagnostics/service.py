"""The daemon's answers to who looks for faults, on the same socket as NetBird's own calls."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc

from meshloom import __version__
from meshloom.rpc import diagnostics_pb2 as pb
from meshloom.rpc.diagnostics_pb2_grpc import DiagnosticsServicer
from meshloom_agent.daemon import Daemon
from meshloom_agent.diagnostics.echo import EchoError, open_echo
from meshloom_agent.diagnostics.ping import found_peer, reply

Context = grpc.aio.ServicerContext[Any, Any]
MOST_ROUNDS = 100_000
LEAST_INTERVAL = 0.01


class DiagnosticsService(DiagnosticsServicer):
    """Calls of :mod:`meshloom.rpc.diagnostics_pb2`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def Ping(self, request: pb.PingRequest, context: Context) -> AsyncIterator[pb.PingReply]:  # noqa: N802
        """Echo requests through the tunnel, each with the path that the peer's packets take then."""
        peer = found_peer(await self._daemon.peers(), request.peer)
        if peer is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"no peer is called {request.peer!r}: see `meshloom status -d`"
                if self._daemon.is_up
                else "the daemon is not connected: `meshloom up`",
            )
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
        )
