"""One connection: the contract's face of aioquic's state machine, and its timers."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable

import attrs
from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    DatagramFrameReceived,
    HandshakeCompleted,
)

from meshloom.transport import LONGEST_MESSAGE, LONGEST_OF_STRANGER, Accept, Connection, Receiver
from meshloom.transport_bounds import Allowance
from meshloom_transport_quic import Options
from meshloom_transport_quic.certificates import ALPN
from meshloom_transport_quic.library import OVERHEAD, Quic
from meshloom_transport_quic.path_mtu import SAFE, Search
from meshloom_transport_quic.sockets import Address

logger = logging.getLogger(__name__)

KEEPALIVES = 8
"""Times within the idle timeout that a client makes itself heard, for NATs and the server's timer."""
DRAIN = 2.0
"""Seconds in which what was sent before a close must have left."""
DOUBT = 3.0
"""Seconds in which a server answers after the network said that it is gone."""
NUDGES = 12
NUDGE_AFTER, NUDGE_TRIPS, NUDGE_GROWTH = 0.02, 6, 1.4
"""Pings after the handshake, some round trips apart. NetBird's side (quic-go) looks for a larger path MTU only when it
hears something, and five of the round trips that it measured after the last look; it refuses to send a full WireGuard
packet before it is done. Its first measurement may be long: hence the growing distance.
"""
STRANGERS_BURST, STRANGERS_RATE = 48, 5.0
"""Packets that are looked at of one who is not admitted, at once and each second after that; others are as lost. A
handshake needs some ten, and the path's MTU some twenty; the costliest packet takes two milliseconds of a core."""
STRANGERS_PACKET = 1500
"""Bytes of the largest packet of one who is not admitted, if none larger is configured."""
STRANGERS_QUEUE = 8
"""Messages that wait for one who is not admitted."""
NORMAL = "normal closure"
TLS_ALERT = 0x100
"""CRYPTO_ERROR; the alert's number is in its low byte (RFC 9000 section 20.1)."""


class Endpoint(ABC):
    """What a link asks of the socket that it lives on."""

    loop: asyncio.AbstractEventLoop

    @abstractmethod
    def touch(self, link: "Link") -> None:
        """It has something to send: flush it soon, once for all that is written until then."""

    @abstractmethod
    def transmit(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """Send packets."""

    @abstractmethod
    def route(self, identifier: bytes, link: "Link | None") -> None:
        """What comes for that connection identifier is the link's, or nobody's."""

    @abstractmethod
    def due(self, link: "Link") -> None:
        """Its timer has run out: let it :meth:`Link.tick`, now or soon."""

    @abstractmethod
    def forget(self, link: "Link") -> None:
        """It is over."""


class Link(Connection):
    """A QUIC connection in either role.

    Args:
        accept: Called when the handshake is complete; gives the receiver.
        address: The other side's.
        is_client: Whether it keeps the connection alive.
        options: Sizes.
    """

    transport = "quic"

    def __init__(
        self, quic: Quic, endpoint: Endpoint, accept: Accept, address: Address, *, is_client: bool, options: Options
    ) -> None:
        self.quic = quic
        self.remote = named(address)
        self.max_message_size = 0
        self.is_open = False
        self.is_lost = False
        self.is_known = False
        self.reason = ""
        self.ended = asyncio.Event()
        self._endpoint, self._accept, self._address = endpoint, accept, address
        self._is_client = is_client
        self._full_queue = options.queue
        self._largest = max(STRANGERS_PACKET, options.largest_packet)
        self._has_searched = False
        self._allowance = Allowance(STRANGERS_BURST, STRANGERS_RATE, endpoint.loop.time())
        self._set_bounds(min(STRANGERS_QUEUE, options.queue), LONGEST_OF_STRANGER)
        if is_client:
            self.admit()
        self._keepalive = options.idle.total_seconds() / KEEPALIVES
        self._waiting = quic.waiting
        self._search = Search(options.largest_packet)
        self._receiver: Receiver | None = None
        self._has_refused = False
        self._closing: Closing | None = None
        self._doubted_until: float | None = None
        self._heard = endpoint.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._ticked_at = 0.0

    def send(self, message: bytes | bytearray | memoryview, rest: bytes | bytearray | memoryview = b"") -> bool:
        """See :meth:`Connection.send`."""
        if not self.is_open or len(message) + len(rest) > self.max_message_size:
            return False
        if self._has_refused or len(self._waiting) >= self._queue:
            self._has_refused = True
            return False
        self._waiting.append(b"".join((message, rest)))
        self._endpoint.touch(self)
        return True

    @property
    def is_full(self) -> bool:
        """See :meth:`Connection.is_full`."""
        return self._has_refused or len(self._waiting) >= self._queue

    def close(self) -> None:
        """See :meth:`Connection.close`."""
        self._close(0, NORMAL, "closed by this side")

    def admit(self) -> None:
        """See :meth:`Connection.admit`."""
        self.is_known = True
        self._set_bounds(self._full_queue, LONGEST_MESSAGE)
        self._find_packet_size()

    def abandon(self) -> None:
        """End at once and tell nobody on this side; the other side is told."""
        self._receiver = None
        if not self.is_lost:
            self.quic.close(error_code=0, reason_phrase=NORMAL)
            self._end("given up")

    def takes(self, size: int, now: float) -> bool:
        """Whether a datagram of one who is not admitted is looked at; others are as lost."""
        return not self.is_lost and size <= self._largest and self._allowance.take(now)

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """A datagram of this connection; :meth:`flush` must follow."""
        if self.is_lost:
            return
        quic = self.quic
        try:
            quic.receive_datagram(data, address, now)
        except Exception as error:  # noqa: BLE001 - one connection's trouble must not be the other connections'
            logger.debug("QUIC connection with %s: %r", self.remote, error)
            quic.close(error_code=1, reason_phrase="internal error")
        self._heard = now
        self._doubted_until = None
        self._handle_events()
        if address != self._address:
            self._perhaps_moved()
        self._endpoint.touch(self)

    def flush(self, now: float) -> None:
        """Send what is due, tell who waits for room, and set the timer."""
        if self.is_lost:
            return
        quic = self.quic
        if quic.has_begun or self._is_client:
            self._endpoint.transmit(quic.datagrams_to_send(now))
            if self.is_lost:  # by an error of the socket
                return
            if quic.happened:  # an identifier that was just given out may be used in the answer
                self._handle_events()
        closing = self._closing
        if closing is not None and quic.ended is None and (not self._waiting or now >= closing.at):
            quic.close(error_code=closing.code, reason_phrase=closing.phrase)
        if quic.ended is not None:
            self._end(closing.reason if closing else in_words(quic.ended))
            return
        if self._has_refused and len(self._waiting) <= self._room_at:
            self._has_refused = False
            if self._receiver is not None:
                self._receiver.writable()
        self._set_timer()

    def tick(self) -> None:
        """Does what is due."""
        if self.is_lost:
            return
        now = max(self._ticked_at, self._endpoint.loop.time())
        if self._doubted_until is not None and now >= self._doubted_until:
            self._end("the other side is gone")
            return
        if self._is_client and self.is_open and now >= self._heard + self._keepalive:
            self._heard = now
            self.quic.send_ping(0)
        self.quic.handle_timer(now)
        self.quic.forget_acknowledgements()
        self._handle_events()
        self.flush(now)

    def postpone(self, seconds: float) -> None:
        """Is due in so many seconds, unless it is earlier."""
        if self._timer is None and not self.is_lost:
            self._timer_at = self._endpoint.loop.time() + seconds
            self._timer = self._endpoint.loop.call_at(self._timer_at, self._tick)

    def doubt(self, why: str) -> None:
        """The network says that the other side is gone, which may be forged.

        It is believed before the connection is open; afterwards the other side is asked.
        """
        if not self.is_open:
            self._end(why)
        elif self._doubted_until is None:
            self._doubted_until = self._endpoint.loop.time() + DOUBT
            self.quic.send_ping(0)
            self._endpoint.touch(self)

    def reset(self) -> None:
        """The other side does not know this connection any more."""
        self._end("the other side was restarted")

    def too_large(self) -> None:
        """The interface does not carry what was just sent."""
        if self.quic.packet_size > SAFE:
            self._narrow()
        else:
            self._search.refused()

    def _handle_events(self) -> None:
        quic = self.quic
        while (event := quic.next_event()) is not None:
            if type(event) is DatagramFrameReceived:
                if not self.is_open or self._receiver is None:
                    continue
                if len(event.data) > self._longest:
                    self._close(1, "a message is too long", "a message of the other side is too long")
                    continue
                self._receiver.message_received(memoryview(event.data))
            elif isinstance(event, HandshakeCompleted):
                self._opened(event)
            elif isinstance(event, ConnectionIdIssued):
                self._endpoint.route(event.connection_id, self)
            elif isinstance(event, ConnectionIdRetired):
                self._endpoint.route(event.connection_id, None)

    def _set_bounds(self, queue: int, longest: int) -> None:
        self._queue, self._room_at, self._longest = queue, queue * 3 // 4, longest

    def _opened(self, event: HandshakeCompleted) -> None:
        if event.alpn_protocol != ALPN:
            self._close(1, "no application protocol in common", f"the other side does not speak {ALPN}")
        elif self.quic.longest_datagram <= 0:
            self._close(1, "no datagrams", "the other side takes no datagrams")
        else:
            self._measure()
            self.is_open = True
            self._receiver = self._accept(self)
            if self._receiver is None:
                self._close(0, "refused", "refused by this side")
            self._find_packet_size()

    def _find_packet_size(self) -> None:
        """Begins as soon as the other side is admitted and there: it costs some packets."""
        if self.is_open and self.is_known and not self._has_searched:
            self._has_searched = True
            # after the flush that completes the other side's handshake
            self._endpoint.loop.call_soon(self._probe, self._search.round)
            self._endpoint.loop.call_soon(self._nudge, NUDGES)

    def _close(self, code: int, phrase: str, reason: str) -> None:
        if self._closing is None and not self.is_lost:
            self.is_open = False
            self._closing = Closing(self._endpoint.loop.time() + DRAIN, code, phrase, reason)
            self._endpoint.touch(self)

    def _end(self, reason: str) -> None:
        if self.is_lost:
            return
        self.is_open, self.is_lost, self.reason = False, True, reason
        if self.quic.ended is not None and not self.quic.is_over and (self.quic.has_begun or self._is_client):
            self._endpoint.transmit(self.quic.datagrams_to_send(self._endpoint.loop.time()))
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self.ended.set()
        self._endpoint.forget(self)
        self.quic.release()
        if self._receiver is not None:
            self._receiver.connection_lost(reason)

    def _perhaps_moved(self) -> None:
        current = self.quic.get_peer_address()
        if current is not None and current != self._address:
            logger.debug("QUIC connection moved from %s to %s", self._address, current)
            self._address, self.remote = current, named(current)
            self._narrow()

    def _measure(self) -> None:
        self.max_message_size = min(self.quic.packet_size - OVERHEAD, self.quic.longest_datagram, LONGEST_MESSAGE)

    def _narrow(self) -> None:
        """Go back to what every path carries, and search anew; what is longer is lost."""
        self._search.restart()
        self.quic.packet_size = SAFE
        self._measure()
        kept = [message for message in self._waiting if len(message) <= self.max_message_size]
        self._waiting.clear()
        self._waiting.extend(kept)
        self._endpoint.loop.call_soon(self._probe, self._search.round)

    def _probe(self, search: int) -> None:
        size = self._search.next
        if size is None or not self.is_open or not self.is_known or search != self._search.round:
            return

        def done(has_arrived: bool) -> None:
            if search != self._search.round:
                return
            if has_arrived:
                self._search.arrived(size)
                self.quic.packet_size = self._search.size
                self._measure()
            else:
                self._search.lost()
                self._endpoint.loop.call_soon(self._probe, search)

        self._endpoint.transmit(self.quic.probe(size, done, self._endpoint.loop.time()))
        self._endpoint.touch(self)

    def _nudge(self, left: int, growth: float = 1.0) -> None:
        if self.is_open:
            self.quic.send_ping(0)
            self._endpoint.touch(self)
            if left > 1:
                after = max(NUDGE_AFTER, NUDGE_TRIPS * self.quic.round_trip) * growth
                self._endpoint.loop.call_later(after, self._nudge, left - 1, growth * NUDGE_GROWTH)

    def _set_timer(self) -> None:
        """Wake when something is due.

        A timer that is too early stays, and looks again: most deadlines move on with every packet.
        """
        at = self.quic.get_timer()
        if at is None or self.is_lost:
            return
        if self._is_client and self.is_open:
            at = min(at, self._heard + self._keepalive, self._doubted_until or at)
        if self._closing is not None:
            at = min(at, self._closing.at)
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._endpoint.loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._ticked_at, self._timer = self._timer_at, None
        self._endpoint.due(self)


@attrs.frozen
class Closing:
    """How a connection ends: when at the latest, and what each side is told."""

    at: float
    code: int
    phrase: str
    reason: str


def named(address: Address) -> tuple[str, int]:
    """Without what IPv6 sockets add."""
    return address[0].removeprefix("::ffff:") if "." in address[0] else address[0], address[1]


def in_words(ended: ConnectionTerminated) -> str:
    """Why a connection was closed."""
    phrase = ended.reason_phrase[:200]
    if phrase == "Idle timeout":
        return "nothing was heard of the other side"
    if ended.frame_type is None and ended.error_code == 0:
        return "closed by the other side"
    if ended.error_code & ~0xFF == TLS_ALERT:
        return f"TLS: {phrase or f'alert {ended.error_code & 0xFF}'}"
    kind = "application error" if ended.frame_type is None else "QUIC error"
    return f"{kind} {ended.error_code:#x}: {phrase!r}" if phrase else f"{kind} {ended.error_code:#x}"
