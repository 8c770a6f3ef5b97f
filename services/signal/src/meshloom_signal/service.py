"""``signalexchange.SignalExchange``: opaque messages between live streams.

Messages pass as the bytes they came in: only the recipient's key is read out of them.
"""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter, Gauge

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.rpc import signalexchange_pb2 as pb

SERVICE = "signalexchange.SignalExchange"
PEER = "x-wiretrustee-peer-id"
REGISTERED = "x-wiretrustee-peer-registered"
LONGEST = 64 * 1024
QUEUE = 256
"""Messages that wait for one reader; the oldest are dropped, since agents repeat what matters."""

Context = grpc.aio.ServicerContext[Any, Any]


class _Reader:
    """One agent's open stream."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque(maxlen=QUEUE)
        self.news = anyio.Event()
        self.ended = False

    def add(self, message: bytes) -> bool:
        """False where an older message had to go."""
        full = len(self.waiting) == QUEUE
        self.waiting.append(message)
        self.news.set()
        return not full

    def end(self) -> None:
        self.ended = True
        self.news.set()


class SignalService:
    """Knows the open streams by their agents' public keys."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._readers: dict[str, _Reader] = {}
        self._stopping = False
        self._forwarded = Counter("meshloom_signal_forwarded", "Messages handed to their recipient", registry=registry)
        self._dropped = Counter("meshloom_signal_dropped", "Messages not delivered", ["reason"], registry=registry)
        gauge = Gauge("meshloom_signal_streams", "Agents connected", registry=registry)
        gauge.set_function(lambda: len(self._readers))
        self._absent, self._slow = self._dropped.labels("absent"), self._dropped.labels("slow")

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """For the gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Send": grpc.unary_unary_rpc_method_handler(self.send),
                "ConnectStream": grpc.stream_stream_rpc_method_handler(self.connect_stream),
            },
        )

    def stop(self) -> None:
        """End all streams, so that the agents connect again elsewhere."""
        self._stopping = True
        for reader in self._readers.values():
            reader.end()

    async def send(self, data: bytes, context: Context) -> bytes:
        """Forward one message; one for an agent that is not connected is dropped and counted."""
        if len(data) > LONGEST:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a message of {len(data)} bytes is too long")
        try:
            recipient = pb.EncryptedMessage.FromString(data).remoteKey
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")
        reader = self._readers.get(recipient)
        if reader is None:
            self._absent.inc()
        else:
            self._forwarded.inc()
            if not reader.add(data):
                self._slow.inc()
        return b""

    async def connect_stream(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """An agent's stream; a newer one of the same agent takes its place, with what still waited."""
        metadata = dict(context.invocation_metadata() or ())
        try:
            key = PublicKey.parse(str(metadata.get(PEER, ""))).text
        except ProtocolError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the metadata {PEER} names no public key")
            return
        reader = _Reader()
        old = self._readers.get(key)
        self._readers[key] = reader
        if old is not None:
            reader.waiting.extend(old.waiting)
            old.end()
        try:
            await context.send_initial_metadata(((REGISTERED, "1"),))
            while not reader.ended and not self._stopping:
                while reader.waiting and not reader.ended:
                    await context.write(reader.waiting.popleft())
                reader.news = anyio.Event()
                if not reader.waiting:
                    await reader.news.wait()
        finally:
            if self._readers.get(key) is reader:
                del self._readers[key]
