"""The stream of signal messages to this machine, and sending to others; it comes back by itself."""

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import grpc
from anyio.abc import TaskGroup

from meshloom.errors import ProtocolError, words_of
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.protocol.signal import REPLACED, SignalKind, SignalMessage, decode
from meshloom.protocol.signal_proof import CHALLENGE, PROVES, prove
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom.rpc.signalexchange_pb2_grpc import SignalExchangeStub
from meshloom_agent.backoff import Backoff
from meshloom_agent.channel import ServerAddress, answer_of, open_channel
from meshloom_agent.outage import Outage
from meshloom_agent.reasons import plain_reason
from meshloom_agent.rivalry import End, Rivalry

_log = logging.getLogger(__name__)

PEER, REGISTERED = "x-wiretrustee-peer-id", "x-wiretrustee-peer-registered"
SILENCE, ANSWER_WITHIN = 30.0, 20.0
"""After so many seconds without a message we send ourselves one; without it the stream is opened anew."""
SEND_WITHIN = 10.0
"""Seconds for one message: what is late is of no use, and offers are repeated."""
LAST_WORDS_WITHIN = 1.0
"""Seconds for all that is said in the end; who does not hear it finds out."""
KNOCK_AFTER = 0.2
"""Mean seconds without the head of an answer."""
MOST_BOXES = 4096
MOVED = "this machine's network is another one"
MOST_WAITING = 64
"""Messages that wait for one recipient; the oldest are dropped."""


class SignalClient:
    """Run :meth:`run` in a task group; then use :meth:`send`.

    Args:
        received: Called with each message.
        ready: Called when messages can be sent and received, and when they no longer can.
        locate: Finds the address to connect to, before each connection; raises OSError where there is none.
        last_words: Returns what to send in the end, while the connection is there.
    """

    def __init__(
        self,
        address: ServerAddress,
        key: PrivateKey,
        received: Callable[[SignalMessage], None],
        ready: Callable[[bool, str], None],
        extra_roots: bytes = b"",
        *,
        locate: Callable[[ServerAddress], Awaitable[ServerAddress]] | None = None,
        last_words: Callable[[], Sequence[SignalMessage]] = tuple,
    ) -> None:
        self.address = address
        self._key, self._public = key, key.public
        self._received, self._ready = received, ready
        self._roots, self._locate, self._last_words = extra_roots, locate, last_words
        self._located: ServerAddress | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: SignalExchangeStub | None = None
        self._boxes: dict[PublicKey, Box] = {}
        self._heard = 0.0
        self._try = anyio.CancelScope()
        self._works_since: float | None = None
        self._rivalry = Rivalry()
        self._outage = Outage(f"signal at {address.url}", _log)
        self._waiting: dict[PublicKey, deque[SignalMessage]] = {}
        self._senders: TaskGroup | None = None

    async def run(self) -> None:
        """Keep the stream open until cancelled."""
        try:
            async with anyio.create_task_group() as self._senders:
                await self._keep_open()
        finally:
            with anyio.CancelScope(shield=True):
                await self._take_leave()
                await self._disconnect()

    def renew(self) -> None:
        """Connects again at once, since this host's network is another one: the connection may be dead silently."""
        self._stub = None
        self._try.cancel()

    def send_soon(self, message: SignalMessage) -> None:
        """Send, in order for each recipient: candidates are of no use before their offer."""
        waiting = self._waiting.get(message.other)
        if waiting is not None:
            waiting.append(message)
        elif self._senders is not None:
            self._waiting[message.other] = deque([message], MOST_WAITING)
            self._senders.start_soon(self._send_waiting, message.other)

    async def _send_waiting(self, other: PublicKey) -> None:
        waiting = self._waiting[other]
        try:
            while waiting:
                async with anyio.create_task_group() as together:
                    kind = waiting[0].kind
                    while waiting and waiting[0].kind is kind:  # candidates have no order among themselves
                        together.start_soon(self.send, waiting.popleft())
        finally:
            del self._waiting[other]

    async def _keep_open(self) -> None:
        backoff = Backoff()
        while True:
            with anyio.CancelScope() as self._try:
                await self._try_once(backoff)
            if self._try.cancelled_caught:
                self._ready(False, MOVED)
                backoff.reset()

    async def _try_once(self, backoff: Backoff) -> None:
        why, end, self._works_since = "the stream has ended", End.LOST, None
        try:
            stub = await self._find()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, tasks.cancel_scope)
                await self._stream(stub)
                tasks.cancel_scope.cancel()
        except* OSError as refused:
            why = words_of(refused)
        except* grpc.aio.AioRpcError as group:
            said = _first(group)
            end = End.REPLACED if said.startswith(REPLACED) else end
            why = plain_reason(said, self.address.url) or said
        self._ready(False, why)
        wait = backoff.next() if self._works_since is None else self._after_success(backoff, end)
        self._outage.failed(why, anyio.current_time())
        await anyio.sleep(wait)

    async def _take_leave(self) -> None:
        if self._works_since is None:
            return
        with anyio.move_on_after(LAST_WORDS_WITHIN):
            async with anyio.create_task_group() as together:
                for message in self._last_words():
                    together.start_soon(self.send, message)

    async def _disconnect(self) -> None:
        if self._channel is not None:
            await self._channel.close(0)

    async def _find(self) -> SignalExchangeStub:
        """Returns the way to the server: another one than before only where its address, or ours, is another one."""
        located = self.address if self._locate is None else await self._locate(self.address)
        if self._stub is None or located != self._located:
            await self._disconnect()
            self._located, self._channel = located, open_channel(located, self._roots)
            self._stub = SignalExchangeStub(self._channel)  # type: ignore[no-untyped-call]
        return self._stub

    async def send(self, message: SignalMessage) -> None:
        """Seal and send; what cannot be delivered now is lost, since offers are repeated."""
        try:
            sealed = self._box(message.other).seal(message.encode())
        except ProtocolError as error:
            _log.warning("nothing can be sealed for %s: %s", message.other, error)
            return
        envelope = pb.EncryptedMessage(key=self._public.text, remoteKey=message.other.text, body=sealed)
        if self._stub is None:
            return
        try:
            await answer_of(self._stub.Send(envelope, timeout=SEND_WITHIN))
        except grpc.aio.AioRpcError as error:
            _log.debug("a signal message was not sent: %s", error.details())

    def _after_success(self, backoff: Backoff, end: End) -> float:
        """Returns how long to wait after a stream that worked: an end right after success is no success."""
        backoff.reset()
        now = anyio.current_time()
        return self._rivalry.ended(now, now - (self._works_since or now), end)

    async def _stream(self, stub: SignalExchangeStub) -> None:
        call = stub.ConnectStream(metadata=((PEER, self._public.text), (PROVES, "1")))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._knock)
            answered = dict(await call.initial_metadata())
            tasks.cancel_scope.cancel()
        if REGISTERED not in answered:
            return
        if (challenge := answered.get(CHALLENGE)) is not None:
            await self._prove(call, challenge)
        self._works_since = self._heard = anyio.current_time()
        self._outage.back(anyio.current_time())
        self._ready(True, "")
        while envelope := await call.read():  # the end of a stream is false
            self._heard = anyio.current_time()
            self._take(envelope)

    async def _prove(self, call: "grpc.aio.StreamStreamCall[Any, Any]", challenge: str) -> None:
        """Shows the server that the stream is this key's own: nobody else gets it then, nor ends it."""
        try:
            proof = prove(challenge, self._key, os.urandom)
        except ProtocolError as error:
            _log.warning("the signal server at %s asks for a proof of nothing: %s", self.address.url, error)
            return
        await call.write(proof)

    async def _knock(self) -> None:
        """Some proxies keep an answer's head back until its first message: one to ourselves brings both."""
        patience = Backoff(first=KNOCK_AFTER)
        while True:
            await anyio.sleep(patience.next())
            await self.send(SignalMessage(SignalKind.HEARTBEAT, self._public))

    def _take(self, envelope: pb.EncryptedMessage) -> None:
        try:
            sender = PublicKey.parse(envelope.key)
            if sender == self._public:
                return  # our own sign of life
            self._received(decode(self._box(sender).open(envelope.body), sender))
        except ProtocolError as error:
            _log.warning("a signal message was dropped: %s", error)

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """A stream that is dead without a word is found by a message to ourselves."""
        self._heard = anyio.current_time()
        while True:
            quiet = anyio.current_time() - self._heard
            if quiet < SILENCE:
                await anyio.sleep(SILENCE - quiet)
                continue
            asked = anyio.current_time()
            await self.send(SignalMessage(SignalKind.HEARTBEAT, self._public))
            await anyio.sleep(ANSWER_WITHIN)
            if self._heard < asked:
                _log.warning("the signal stream is silent: opening it anew")
                scope.cancel()

    def _box(self, other: PublicKey) -> Box:
        box = self._boxes.get(other)
        if box is None:
            if len(self._boxes) >= MOST_BOXES:
                self._boxes.clear()
            box = self._boxes[other] = Box(self._key, other, os.urandom)
        return box


def _first(group: BaseExceptionGroup[grpc.aio.AioRpcError]) -> str:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else (error.details() or error.code().name)
