"""Which relay carries the packets to a peer: the home of the side that begins, if both sides have one."""

import attrs


@attrs.frozen
class HomeRelay:
    """The relay that we stay connected to.

    Args:
        url: As it calls itself; others compare it letter by letter.
        ip: Its address, 4 or 16 bytes, as a hint where to connect to; None where it is not known.
    """

    url: str
    ip: bytes | None = None


@attrs.frozen
class RelayUse:
    """A relayed path that shall be open.

    Args:
        url: The relay.
        ip: A hint where it is.
        attempt: Another number asks for the path to be opened anew.
    """

    url: str
    ip: bytes | None = None
    attempt: int = 0


def relay_for(home: HomeRelay | None, other: HomeRelay | None, attempt: int, *, controlling: bool) -> RelayUse | None:
    """The relay to use with a peer whose home is *other*; None where one side has none."""
    if home is None or other is None:
        return None
    if controlling:
        return RelayUse(home.url, home.ip, attempt)
    return RelayUse(other.url, None if other.url == home.url else other.ip, attempt)
