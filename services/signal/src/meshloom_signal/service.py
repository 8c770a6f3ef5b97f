"""``signalexchange.SignalExchange``: opaque messages between live streams.

Messages pass as the bytes they came in: only the keys are read out of them.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter, Gauge

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.signal import REPLACED
from meshloom.protocol.signal_proof import CHALLENGE, PROVES, Verifier
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom_front.crowd import network_of
from meshloom_front.rpc.call import Call, Methods, bidirectional, plain, service
from meshloom_front.rpc.status import CallFailed, Status
from meshloom_signal.contenders import Contender, Contenders
from meshloom_signal.peers import Anyone, Peers
from meshloom_signal.rates import Sender, Senders
from meshloom_signal.reader import Reader
from meshloom_signal.shares import Shares
from meshloom_signal.standing import Holder, Proven, Rank, Verdict, decide

SERVICE: Final = "signalexchange.SignalExchange"
PEER: Final = "x-wiretrustee-peer-id"
REGISTERED: Final = "x-wiretrustee-peer-registered"
FORWARDED: Final = ("x-forwarded-for", "forwarded", "via")
"""Metadata that proxies add which end the connections of their clients."""
LONGEST: Final = 64 * 1024
STREAMS: Final = 8
"""Streams of one connection. An agent has one."""
STREAMS_BY_PROXY: Final = 1000
"""Streams of one connection of a proxy, which carries those of many agents."""
PROVE_WITHIN: Final = 10.0
"""Seconds that a client has to answer the challenge, if it said that it can."""
ANSWER_WITHIN: Final = 2.0
"""Seconds that an older stream has to answer that it is there, and for which its answer counts."""


class SignalService:
    """Knows the open streams by their agents' public keys.

    Args:
        peers: Who may use the service.
        behind_proxy: Whether a proxy in front of this server ends the connections of agents.
        entropy: Returns that many random bytes.
        clock: Seconds, monotone.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        peers: Peers | None = None,
        *,
        behind_proxy: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peers: Peers = peers or Anyone()
        self._behind_proxy, self._clock = behind_proxy, clock
        self._verifier = Verifier(PrivateKey.of(entropy(32)), entropy)
        self._readers: dict[str, Reader] = {}
        self._contenders = Contenders()
        self._proven = Proven(clock)
        self._senders, self._shares = Senders(clock), Shares()
        self._stopping = False
        self._forwarded = Counter("meshloom_signal_forwarded", "Messages handed to their recipient", registry=registry)
        dropped = Counter("meshloom_signal_dropped", "Messages not delivered", ["reason"], registry=registry)
        self._absent, self._slow, self._rate = (dropped.labels(each) for each in ("absent", "slow", "rate"))
        refused = Counter("meshloom_signal_refused", "Streams and messages refused", ["reason"], registry=registry)
        self._unknown, self._held, self._unproven, self._many = (
            refused.labels(each) for each in ("unknown key", "stream held", "no proof", "too many streams")
        )
        gauge = Gauge("meshloom_signal_streams", "Agents connected", registry=registry)
        gauge.set_function(lambda: len(self._readers))

    def methods(self) -> Methods:
        """For the gRPC server."""
        return service(SERVICE, {"Send": plain(self.send), "ConnectStream": bidirectional(self.connect_stream)})

    def stop(self) -> None:
        """End all streams, so that the agents connect again elsewhere."""
        self._stopping = True
        self._contenders.end_all()
        for reader in self._readers.values():
            reader.end()

    def remove(self, key: str) -> None:
        """Ends the streams of a peer that was removed."""
        self._contenders.end(key)
        reader = self._readers.get(key)
        if reader is not None:
            reader.removed = True
            reader.end()

    # Messages.

    def send(self, data: bytes, call: Call) -> bytes:
        """Forward one message; one for an agent that is not connected is dropped and counted."""
        if len(data) > LONGEST:
            raise CallFailed(Status.INVALID_ARGUMENT, f"a message of {len(data)} bytes is too long")
        try:
            message = pb.EncryptedMessage.FromString(data)
        except DecodeError as error:
            raise CallFailed(Status.INVALID_ARGUMENT, "the message cannot be read") from error
        key, recipient = message.key, message.remoteKey
        if not self._peers.knows(key):
            raise self._not_registered()
        sender, now = self._senders.of(call.connection, _place(call)), self._clock()
        if not sender.take(key, now):
            self._rate.inc()
            return b""
        if key == recipient:
            self._knock(key, data)
        own = self._readers.get(key)
        says = own is not None and own.proxied and own.call.address == call.address
        if says and own is not None:
            own.silence.say(now, to_itself=key == recipient)
        reader = self._readers.get(recipient)
        if reader is None:
            self._absent.inc()
            return b""
        rank = sender.rank(key, now, lambda: self._claimed(key, call))
        if rank is not Rank.PROVEN:
            source = key if rank is Rank.SEEN else network_of(call.address)
            if not self._shares.take(recipient, reader.shared, rank, source, now):
                self._rate.inc()
                return b""
        if reader.proxied and not (says and own is reader):
            reader.silence.tell(now)
        self._forwarded.inc()
        if dropped := reader.add(data, rank):
            self._slow.inc(dropped)
        return b""

    def _knock(self, key: str, data: bytes) -> None:
        """Some proxies keep an answer's head back until its first message, and with it the challenge."""
        for each in self._contenders.of(key):
            if each.call.begun:
                each.call.offer(data)

    # Streams.

    async def connect_stream(self, call: Call) -> None:
        """Give an agent's messages to its stream; of several streams in one name only one gets them."""
        key = self._key_of(call)
        sender = self._senders.of(call.connection)
        proxied = self._behind_proxy or any(map(call.metadata, FORWARDED))
        if sender.streams >= (STREAMS_BY_PROXY if proxied else STREAMS):
            self._many.inc()
            raise CallFailed(Status.RESOURCE_EXHAUSTED, "one connection has too many streams: end some of them")
        sender.streams += 1
        try:
            rank = await self._rank_of(call, key)
            await self._serve(call, key.text, sender, rank, proxied=proxied)
        finally:
            sender.streams -= 1

    def _key_of(self, call: Call) -> PublicKey:
        try:
            key = PublicKey.parse(call.metadata(PEER))
        except ProtocolError as error:
            raise CallFailed(Status.INVALID_ARGUMENT, f"the metadata {PEER} names no public key") from error
        if not self._peers.knows(key.text):
            raise self._not_registered()
        return key

    async def _rank_of(self, call: Call, key: PublicKey) -> Rank:
        """Return what speaks for the stream, when it gets the messages; raises where it does not get them."""
        if call.metadata(PROVES) and await self._is_proven(call, key):
            return Rank.PROVEN
        with self._contend(key.text, call) as contender:
            return await self._claim(contender)

    async def _is_proven(self, call: Call, key: PublicKey) -> bool:
        """Return whether the client answers a challenge; one that says nothing has not proven its key."""
        challenge = self._verifier.challenge()
        with self._contend(key.text, call) as contender:
            call.begin((REGISTERED, "1"), (CHALLENGE, challenge))
            with contender.wait(PROVE_WITHIN):
                async for data in call.requests():
                    if self._verifier.proves(data, challenge, key):
                        return True
                    self._unproven.inc()
                    raise CallFailed(Status.UNAUTHENTICATED, "the challenge is not answered with this key")
        self._check_stays(contender)
        return False

    async def _claim(self, contender: Contender) -> Rank:
        key, call = contender.key, contender.call
        while True:
            old = self._readers.get(key)
            rank = self._claimed(key, call)
            needs_proof = key in self._proven or self._peers.needs_proof(key)
            holder = None if old is None else self._holder(key, old, call)
            verdict = decide(rank, holder, needs_proof=needs_proof)
            if verdict is Verdict.TAKE:
                return rank
            if verdict is Verdict.REFUSE or old is None:
                self._unproven.inc()
                raise CallFailed(Status.UNAVAILABLE, "this key's stream is not given away without a proof")
            if await self._is_there(old, contender):
                self._held.inc()
                raise CallFailed(Status.UNAVAILABLE, "this key has a stream that answers: end that first")
            if self._readers.get(key) is old:
                self._drop(key, old)

    async def _is_there(self, reader: Reader, contender: Contender) -> bool:
        if self._clock() - reader.answered < ANSWER_WITHIN:
            return True
        answers = False
        with contender.wait(2 * ANSWER_WITHIN):
            answers = await reader.call.is_alive(ANSWER_WITHIN)
        self._check_stays(contender)
        if answers:
            reader.answered = self._clock()
        return answers

    async def _serve(self, call: Call, key: str, sender: Sender, rank: Rank, *, proxied: bool) -> None:
        """Hand messages to the stream until it is ended."""
        old = self._readers.get(key)
        waiting = None
        if old is not None:
            if rank is Rank.PROVEN:
                waiting = old.hand_over()  # its client may be gone silently, and its last message with it
            self._drop(key, old)
        reader = self._readers[key] = Reader(call, rank, proxied=proxied, now=self._clock(), waiting=waiting)
        proven = rank is Rank.PROVEN
        if proven and not proxied:  # a proxy's connection carries others, too
            sender.prove(key)
        if proven and self._peers.are_registered:
            call.prove()
        try:
            if not call.begun:
                call.begin((REGISTERED, "1"))
            call.stay()
            if not self._stopping:
                await reader.run()
        finally:
            reader.forget()
            if proven:
                self._proven.leave(key)
            if self._readers.get(key) is reader:
                del self._readers[key]
                sender.forget(key)
        if reader.removed:
            raise self._not_registered()
        if reader.replaced:
            raise CallFailed(Status.ALREADY_EXISTS, REPLACED)

    def _drop(self, key: str, reader: Reader) -> None:
        """End a stream that another one replaces."""
        del self._readers[key]
        self._senders.of(reader.call.connection).forget(key)
        reader.replaced = True
        reader.end()

    def _claimed(self, key: str, call: Call) -> Rank:
        return Rank.SEEN if call.address and call.address == self._peers.address(key) else Rank.CLAIMED

    def _holder(self, key: str, old: Reader, call: Call) -> Holder:
        rank = old.rank
        if rank is not Rank.PROVEN:
            rank = self._claimed(key, old.call)  # its peer may have been seen elsewhere since
        same_place = call.is_forwarded and old.call.is_forwarded and call.address == old.call.address
        quiet = old.silence.is_long(self._clock(), same_place=same_place)
        return Holder(rank, old.proxied, old.call.connection is call.connection, quiet)

    def _contend(self, key: str, call: Call) -> Contender:
        if self._stopping:
            raise _stopping()
        return Contender(self._contenders, key, network_of(call.address), call)

    def _check_stays(self, contender: Contender) -> None:
        if not contender.gave_way:
            return
        if self._stopping:
            raise _stopping()
        if not self._peers.knows(contender.key):
            raise self._not_registered()
        self._held.inc()
        raise CallFailed(Status.UNAVAILABLE, "a newer stream of the same key has come")

    def _not_registered(self) -> CallFailed:
        self._unknown.inc()
        return CallFailed(Status.PERMISSION_DENIED, "peer is not registered")


def _place(call: Call) -> str:
    """Returns where a proxy says that a call comes from; nothing where none says it."""
    return network_of(call.address) if call.is_forwarded else ""


def _stopping() -> CallFailed:
    return CallFailed(Status.UNAVAILABLE, "the server is stopping: connect again")
