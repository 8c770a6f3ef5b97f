"""The client's side of a connection, frame by frame."""

import pytest

from meshloom_front.http2 import frames
from meshloom_front.http2.connection import ServerConnection
from meshloom_front.http2.headers import encode

REQUEST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B"), (b"te", b"trailers"))


class Peer:
    """A server's connection, what is said to it, and what it says."""

    def __init__(self, *, greet=True, **settings):
        self.now = 0.0
        self.server = ServerConnection(lambda: self.now)
        if greet:
            self.say(frames.PREFACE + frames.settings({getattr(frames, name): n for name, n in settings.items()}))
            self.heard()

    @staticmethod
    def frame(kind, flags=0, stream=0, payload=b""):
        return frames.head(kind, flags, stream, len(payload)) + payload

    def request(self, stream=1, *, ended=False, fields=REQUEST):
        flags = frames.END_HEADERS | (frames.END_STREAM if ended else 0)
        return self.frame(frames.HEADERS, flags, stream, encode(fields))

    def data(self, stream, payload, *, ended=False):
        return self.frame(frames.DATA, frames.END_STREAM if ended else 0, stream, payload)

    def say(self, *said):
        return self.server.receive(b"".join(said))

    def heard(self, **how):
        """Frames: kind, flags, stream, payload; until there are no more."""
        found = []
        while data := self.server.take(**how)[0]:
            found += self.parse(data)
        return found

    @staticmethod
    def parse(data):
        found = []
        while data:
            length = int.from_bytes(data[:3], "big")
            found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
            assert len(data) >= 9 + length, "frames are whole"
            data = data[9 + length :]
        return found

    def codes(self, kind=frames.RST_STREAM):
        """Of the streams or the connection that ended."""
        at = 4 if kind == frames.GOAWAY else 0
        return [int.from_bytes(payload[at : at + 4], "big") for was, _, _, payload in self.heard() if was == kind]


@pytest.fixture(scope="session")
def connect():
    """Makes a connection that has been greeted, with the client's settings."""
    return Peer
