"""The signal service on a socket of its own."""

import asyncio

import anyio
import grpc
import pytest
from prometheus_client import CollectorRegistry

from meshloom.rpc.signalexchange_pb2_grpc import SignalExchangeStub
from meshloom_front.rpc.server import RPC
from meshloom_signal.service import PEER, REGISTERED, SignalService


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
async def signal(tmp_path, registry):
    """A stub of the service, and the service."""
    service = SignalService(registry)
    rpc = RPC([service.methods()])
    server = await asyncio.get_running_loop().create_unix_server(rpc, tmp_path / "grpc")
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/grpc") as channel:
        yield SignalExchangeStub(channel), service
    server.close()
    service.stop()
    await rpc.stop(grace=1)
    with anyio.fail_after(5):
        while len(rpc):
            await anyio.sleep(0.005)


@pytest.fixture
def stream():
    """Opens the stream of the agent with a key."""

    async def opened(stub, key):
        call = stub.ConnectStream(metadata=((PEER, key),))
        with anyio.fail_after(5):
            assert dict(await call.initial_metadata())[REGISTERED] == "1"
        return call

    return opened
