"""TLS of one connection, at the server's side and without a network: bytes are given to it and taken from it."""

import contextlib
import ssl
from typing import Final

from meshloom.errors import ProtocolError, words_of
from meshloom_front.tls.hello import Hellos

RECORD: Final = 1 << 14
"""Bytes that one record carries at most (RFC 8446 section 5.1)."""


class Session:
    """One connection.

    Args:
        context: Certificates and what is agreed to.
        room: Where what the other side said is put together; sessions may share it, and it is longer than a record.

    Attributes:
        object: What tells about the agreement.
        agreed: Whether the handshake is over.
        ended: Whether the other side says no more.
    """

    __slots__ = ("_answer", "_hellos", "_incoming", "_outgoing", "_room", "agreed", "ended", "object")

    def __init__(self, context: ssl.SSLContext, room: memoryview) -> None:
        self._incoming, self._outgoing, self._room = ssl.MemoryBIO(), ssl.MemoryBIO(), room
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._hellos, self._answer = Hellos(), b""
        self.agreed = self.ended = False

    def receive(self, data: bytes | memoryview) -> bytes:
        """Returns what the other side has said by these bytes and those before; :meth:`take` has what is answered.

        Raises:
            ProtocolError: They are not TLS, or there is no agreement.
        """
        try:
            if not self.agreed:
                data = self._agree(bytes(data))
            self._incoming.write(data)
            return self._read() if self.agreed else b""
        except ssl.SSLError as error:
            raise ProtocolError(f"TLS fails: {error.reason or words_of(error)}") from error

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        """Returns the bytes that say that; a record at a time, since the memory for the longest stays allocated.

        Raises:
            ProtocolError: There is no agreement, or no more.
        """
        view = memoryview(data).cast("B")
        parts = []
        try:
            for start in range(0, len(view), RECORD):
                self.object.write(view[start : start + RECORD])
                parts.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise ProtocolError(f"TLS fails: {error.reason or words_of(error)}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take(self) -> bytes:
        """Returns what is to be sent though nobody asked for it: parts of the handshake, alerts, new keys."""
        answer, self._answer = self._answer + self._outgoing.read(), b""
        return answer

    def close(self) -> bytes:
        """Returns the bytes that say that nothing follows; the other side need not say so too."""
        if self.agreed:
            with contextlib.suppress(ssl.SSLError):  # the other side has not said so, or the session is broken
                self.object.unwrap()
        return self.take()

    def _agree(self, data: bytes) -> bytes:
        """Goes on with the handshake; returns what came after its end."""
        while data and not self.agreed:
            now, data = self._hellos.split(data)
            self._incoming.write(now)
            with contextlib.suppress(ssl.SSLWantReadError):
                self.object.do_handshake()
                self.agreed = True
            answer = self._outgoing.read()
            self._hellos.answered(answer)
            self._answer += answer
        return data

    def _read(self) -> bytes:
        room, size, parts = self._room, 0, []
        while (self._incoming.pending or self.object.pending()) and not self.ended:
            if size + RECORD > len(room):
                parts.append(bytes(room[:size]))
                size = 0
            try:
                came: int = self.object.read(RECORD, room[size:])  # type: ignore[assignment]  # into a buffer
            except ssl.SSLWantReadError:
                break
            size += came
            self.ended = not came
        return b"".join((*parts, room[:size])) if parts else bytes(room[:size])
