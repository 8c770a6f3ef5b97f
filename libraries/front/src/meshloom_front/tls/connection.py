"""One connection with TLS: a protocol for the network below, a transport for the protocol above.

The event loop's own TLS reads on while the protocol above is held up, into buffers that nobody counts, and what
records cost nobody measures. Here as much is read as may be worked on, and work is done when it is the caller's turn.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

from meshloom.errors import ProtocolError
from meshloom_front.callers import Caller
from meshloom_front.costs import EVENT
from meshloom_front.incoming import AT_A_TIME
from meshloom_front.reading import Reading
from meshloom_front.tls.session import RECORD, Session

_log = logging.getLogger(__name__)

SAYS_LITTLE: Final = 8
"""Records are worth their cost where an eighth of their bytes says something to the protocol above."""
SAYS_IT_LATER: Final = RECORD + 1024
"""Bytes that may come before they have said something: those of a record of which a part is on its way."""
READ: Final = 1 << 15
"""Bytes of a known caller that are read at a time; the memory for so many stays allocated."""


class Rooms:
    """Where bytes are for a moment; all connections of one event loop share them."""

    def __init__(self) -> None:
        self.read = memoryview(bytearray(READ))
        self.said = memoryview(bytearray(2 * READ))


class TLSConnection(asyncio.BufferedProtocol, asyncio.Transport):
    """TLS at the server's side.

    Args:
        context: Certificates and what is agreed to.
        rooms: Shared by the connections of one event loop.
        above: Gets what the other side says, once the handshake is over; it hears of the connection before.

    Attributes:
        caller: Pays for the work. The protocol above sets it when it hears of the connection.
        is_bounded: Whether the protocol above bounds by itself what is said. Nobody then has to pay for records but for
            those that say next to nothing.
    """

    caller: Caller

    def __init__(self, context: ssl.SSLContext, rooms: Rooms, above: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._rooms = rooms
        self._session = Session(context, rooms.said)
        self._context = context
        self._above: Any = above
        self._is_buffered = isinstance(above, asyncio.BufferedProtocol)
        self._later = b""
        self._is_full = self._closes = self.is_bounded = False
        self._said_nothing = SAYS_IT_LATER + 1

    # The network below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the handshake; the protocol above bounds the time."""
        self._below: asyncio.Transport = transport  # type: ignore[assignment]
        self._reading = Reading(self._below, self._work)
        self._above.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """As much is read of a stranger as may be worked on at once."""
        return self._rooms.read if self._is_free else self._rooms.read[:AT_A_TIME]

    def buffer_updated(self, nbytes: int) -> None:
        """Records come, or parts of them."""
        came = self._rooms.read[:nbytes]
        if self._is_free and not self._later:
            self._give(self._receive(came))
            return
        self._later += came
        self._work()

    def eof_received(self) -> bool:
        """The other side sends no more, whether it has said so before or not."""
        return self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """There is no connection."""
        self._closes = True
        self._reading.close()
        self._later = b""
        above, self._above = self._above, None
        above.connection_lost(exc)

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._is_full = True
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self._reading.release(Reading.UNSENT)
        self._above.resume_writing()

    @property
    def _is_free(self) -> bool:
        return self.caller.proven or (self.is_bounded and self._said_nothing <= SAYS_IT_LATER)

    def _work(self) -> None:
        caller = self.caller
        while self._later and not self._reading.is_held and not self._below.is_closing():
            if not caller.may_go_on():
                self._reading.hold(Reading.TURN)
                caller.wait(self._take_turn)
                return
            came, self._later = self._later, b""
            start = time.thread_time()
            said = self._receive(came)
            if (rest := caller.spend(time.thread_time() - start + EVENT)) > 0:
                self._reading.hold_for(rest)
            caller.has_turn = True  # what was said is looked at in the same one
            self._give(said)
            caller.has_turn = False

    def _take_turn(self) -> None:
        self._reading.release(Reading.TURN)

    def _receive(self, came: bytes | memoryview) -> bytes:
        try:
            said = self._session.receive(came)
        except ProtocolError as error:
            _log.debug("a connection ends: %s", error)
            self.close()
            return b""
        if self.is_bounded:
            self._said_nothing = max(0, self._said_nothing + len(came) - SAYS_LITTLE * len(said))
        if answer := self._session.take():
            self._below.write(answer)
            if self._is_full:  # whoever makes this side answer has to read
                self._reading.hold(Reading.UNSENT)
        return said

    def _give(self, said: bytes) -> None:
        """Hands on what was said, to the protocol that is above by then."""
        while said and self._is_buffered and not self._closes:
            room = memoryview(self._above.get_buffer(len(said)))
            part, said = said[: len(room)], said[len(room) :]
            room[: len(part)] = part
            self._above.buffer_updated(len(part))
        if said and not self._closes:
            self._above.data_received(said)
        if self._session.ended:
            self._ended()

    def _ended(self) -> bool:
        if self._closes:
            return False
        if self._session.agreed and self._above.eof_received():
            return True
        self.close()
        return False

    # The protocol above.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Also tells about TLS."""
        if name == "ssl_object":
            return self._session.object
        if name == "sslcontext":
            return self._context
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol goes on."""
        self._above, self._is_buffered = protocol, isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Returns the protocol above."""
        return self._above  # type: ignore[no-any-return]

    def is_reading(self) -> bool:
        """Whether the protocol above may be given something."""
        return not self._reading.is_held

    def pause_reading(self) -> None:
        """Reads nothing: what comes waits at the other side."""
        self._reading.hold(Reading.UNREAD)

    def resume_reading(self) -> None:
        """Reads again."""
        self._reading.release(Reading.UNREAD)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Says that to the other side."""
        if self._closes or not data:
            return
        try:
            self._below.write(self._session.send(data))
        except ProtocolError as error:
            _log.debug("a connection ends: %s", error)
            self.abort()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Says all that, in as few records as it fits into."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Returns False: saying so also ends what the other side says."""
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Sets when the protocol above is told to pause."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Returns what was set."""
        return self._below.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Returns the bytes that wait for the network."""
        return self._below.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or will be."""
        return self._closes or self._below.is_closing()

    def close(self) -> None:
        """Closes it when all that was written is sent."""
        if not self._closes:
            self._closes = True
            self._below.write(self._session.close())
            self._below.close()

    def abort(self) -> None:
        """Closes it at once."""
        self._closes = True
        self._below.abort()
