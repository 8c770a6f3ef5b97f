"""``signalexchange.SignalExchange``: opaque messages between live streams.

Messages pass as the bytes they came in: only the recipient's key is read out of them.
"""

from collections import deque
from collections.abc import Iterable

import anyio
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter, Gauge

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom_front.rpc.call import Call, Methods, bidirectional, plain, service
from meshloom_front.rpc.status import CallFailed, Status

SERVICE = "signalexchange.SignalExchange"
PEER = "x-wiretrustee-peer-id"
REGISTERED = "x-wiretrustee-peer-registered"
LONGEST = 64 * 1024
QUEUE = 256
"""Messages that wait for one reader; the oldest are dropped, since agents repeat what matters."""
QUEUE_BYTES = 1 << 20
"""Bytes of them."""
KEPT = 64 << 20
"""Bytes of messages for all readers: a stranger with many streams that he does not read must not fill the memory."""


class _Kept:
    """Bytes that wait, for all readers together."""

    size = 0


class _Reader:
    """One agent's open stream."""

    def __init__(self, call: Call, kept: _Kept, waiting: Iterable[bytes] = ()) -> None:
        self._call, self._kept = call, kept
        self.waiting: deque[bytes] = deque(waiting)
        self.size = sum(map(len, self.waiting))
        kept.size += self.size
        self.news = anyio.Event()
        self.ended = False

    def add(self, message: bytes) -> bool:
        """Send it, now if the reader keeps up; False where an older message had to go."""
        if not self.waiting and not self.ended and self._call.offer(message):
            return True
        self.waiting.append(message)
        self.size += len(message)
        self._kept.size += len(message)
        self.news.set()
        fits = True
        while len(self.waiting) > QUEUE or self.size > QUEUE_BYTES or (self.waiting and self._kept.size > KEPT):
            self.take()
            fits = False
        return fits

    def take(self) -> bytes:
        """The oldest message."""
        message = self.waiting.popleft()
        self.size -= len(message)
        self._kept.size -= len(message)
        return message

    def forget(self) -> None:
        """What waits is not for this stream any more."""
        self._kept.size -= self.size
        self.waiting.clear()
        self.size = 0

    def end(self) -> None:
        self.ended = True
        self.news.set()


class SignalService:
    """Knows the open streams by their agents' public keys."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._readers: dict[str, _Reader] = {}
        self._kept = _Kept()
        self._stopping = False
        self._forwarded = Counter("meshloom_signal_forwarded", "Messages handed to their recipient", registry=registry)
        self._dropped = Counter("meshloom_signal_dropped", "Messages not delivered", ["reason"], registry=registry)
        gauge = Gauge("meshloom_signal_streams", "Agents connected", registry=registry)
        gauge.set_function(lambda: len(self._readers))
        self._absent, self._slow = self._dropped.labels("absent"), self._dropped.labels("slow")

    def methods(self) -> Methods:
        """For the gRPC server."""
        return service(SERVICE, {"Send": plain(self.send), "ConnectStream": bidirectional(self.connect_stream)})

    def stop(self) -> None:
        """End all streams, so that the agents connect again elsewhere."""
        self._stopping = True
        for reader in self._readers.values():
            reader.end()

    def send(self, data: bytes, _call: Call) -> bytes:
        """Forward one message; one for an agent that is not connected is dropped and counted."""
        if len(data) > LONGEST:
            raise CallFailed(Status.INVALID_ARGUMENT, f"a message of {len(data)} bytes is too long")
        try:
            recipient = pb.EncryptedMessage.FromString(data).remoteKey
        except DecodeError as error:
            raise CallFailed(Status.INVALID_ARGUMENT, "the message cannot be read") from error
        reader = self._readers.get(recipient)
        if reader is None:
            self._absent.inc()
        else:
            self._forwarded.inc()
            if not reader.add(data):
                self._slow.inc()
        return b""

    async def connect_stream(self, call: Call) -> None:
        """An agent's stream; a newer one of the same agent takes its place, with what still waited."""
        try:
            key = PublicKey.parse(call.metadata(PEER)).text
        except ProtocolError as error:
            raise CallFailed(Status.INVALID_ARGUMENT, f"the metadata {PEER} names no public key") from error
        old = self._readers.get(key)
        reader = self._readers[key] = _Reader(call, self._kept, old.waiting if old is not None else ())
        if old is not None:
            old.forget()  # now: its client may be gone without a word, and its last message with it
            old.end()
        try:
            call.begin((REGISTERED, "1"))
            while not reader.ended and not self._stopping:
                while reader.waiting and not reader.ended:
                    if call.offer(reader.waiting[0]):
                        reader.take()
                    else:
                        await call.written()
                reader.news = anyio.Event()
                if not reader.waiting and not reader.ended:
                    await reader.news.wait()
        finally:
            reader.forget()
            if self._readers.get(key) is reader:
                del self._readers[key]
