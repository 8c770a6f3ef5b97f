"""What a connection of HTTP/2 tells of what came in."""

import attrs


@attrs.define
class RequestCame:
    """A new stream, with the fields of its request; *ended* where no body follows; *size* in bytes that they take."""

    stream: int
    fields: dict[bytes, bytes]
    ended: bool
    size: int = attrs.field(default=0, eq=False)


@attrs.define
class DataCame:
    """More of a body; *ended* with the last of it."""

    stream: int
    data: bytes
    ended: bool


@attrs.define
class StreamEnded:
    """A stream is over before it was finished: the other side took it back, or broke the protocol on it."""

    stream: int


Event = RequestCame | DataCame | StreamEnded
