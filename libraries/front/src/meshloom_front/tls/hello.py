"""What a client begins with, looked at before TLS is: how long it says that its hello is costs memory at once."""

from typing import Final

from meshloom.errors import ProtocolError

HANDSHAKE: Final = 22
CHANGE_CIPHER_SPEC: Final = 20
CLIENT_HELLO: Final = 1
HEAD: Final = 5 + 4
"""Bytes of a record's head, and of a handshake message's in it (RFC 8446 sections 4 and 5.1)."""
COMPATIBLE: Final = 6
"""Bytes of the record that may come before, for what is between the two (RFC 8446 appendix D.4)."""
AGAIN: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""What a server says in place of random bytes where it asks for another hello (RFC 8446 section 4.1.3)."""


class Hellos:
    """Lets a hello pass that is in one record, as that of each client is; a longer one may be 128 KB."""

    __slots__ = ("_kept", "_left", "is_next")

    def __init__(self) -> None:
        self._kept, self._left = b"", 0
        self.is_next = True

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Returns what may be looked at now, and what comes after the server has answered that.

        Raises:
            ProtocolError: The hello is longer than its record.
        """
        if self.is_next:
            data, self._kept = self._kept + data, b""
            start = COMPATIBLE if data[:1] == bytes([CHANGE_CIPHER_SPEC]) else 0
            head = data[start : start + HEAD]
            if len(head) < HEAD and head[:1] in (b"", bytes([HANDSHAKE])):
                self._kept = data
                return b"", b""
            self.is_next = False
            if head[0] == HANDSHAKE:
                record, kind, size = int.from_bytes(head[3:5]), head[5], int.from_bytes(head[6:9])
                if record < HEAD - 5 or (kind == CLIENT_HELLO and size > record - (HEAD - 5)):
                    raise ProtocolError("TLS fails: the client's hello is longer than a record")
                self._left = start + 5 + record
        now, later = data[: self._left], data[self._left :]
        self._left -= len(now)
        return (now, later) if now else (later, b"")

    def answered(self, answer: bytes) -> None:
        """Takes note of what the server has said: perhaps that there is to be another hello."""
        self.is_next = self.is_next or AGAIN in answer
