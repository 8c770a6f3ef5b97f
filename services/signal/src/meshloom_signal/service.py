"""``signalexchange.SignalExchange``: opaque messages between live streams.

Messages pass as the bytes they came in: only the recipient's key is read out of them.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable
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
QUEUE_BYTES = 1 << 20
"""Bytes of them; a stranger with many streams that he does not read must not fill the memory."""

Context = grpc.aio.ServicerContext[Any, Any]


class _Reader:
    """One agent's open stream."""

    def __init__(self, waiting: Iterable[bytes] = ()) -> None:
        self.waiting: deque[bytes] = deque(waiting)
        self.size = sum(map(len, self.waiting))
        self.news = anyio.Event()
        self.ended = False

    def add(self, message: bytes) -> bool:
        """False where an older message had to go."""
        self.waiting.append(message)
        self.size += len(message)
        self.news.set()
        fits = True
        while len(self.waiting) > QUEUE or self.size > QUEUE_BYTES:
            self.take()
            fits = False
        return fits

    def take(self) -> bytes:
        """The oldest message."""
        message = self.waiting.popleft()
        self.size -= len(message)
        return message

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
        old = self._readers.get(key)
        reader = self._readers[key] = _Reader(old.waiting if old is not None else ())
        if old is not None:
            old.end()
        try:
            await context.send_initial_metadata(((REGISTERED, "1"),))
            while not reader.ended and not self._stopping:
                while reader.waiting and not reader.ended:
                    await context.write(reader.take())
                reader.news = anyio.Event()
                if not reader.waiting and not reader.ended:  # which it may be since the last message was written
                    await reader.news.wait()
        finally:
            if self._readers.get(key) is reader:
                del self._readers[key]
