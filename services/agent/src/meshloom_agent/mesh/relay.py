"""Which relay carries the packets to a peer: the home of the side that begins, if both sides have one."""

from functools import lru_cache

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.relay_address import RelayAddress


@lru_cache(maxsize=1024)
def place_of(url: str) -> str:
    """Returns the address in a relay's URL, always written alike; empty where there is none."""
    try:
        return str(RelayAddress.parse(url))
    except ProtocolError:
        return ""


@attrs.frozen
class HomeRelay:
    """The relay that we stay connected to.

    Args:
        url: As it calls itself; others compare it letter by letter.
        ip: Its address, 4 or 16 bytes, which NetBird's clients are told; None where it is not known.
    """

    url: str
    ip: bytes | None = None


@attrs.frozen
class OwnRelays:
    """The relays that we may be connected to.

    Args:
        home: The one that we are connected to, and that others reach us by; None for none.
        named: Places of all that management, or the user, names. Connections go to no others: a peer could send us
            anywhere, and would see our token.
    """

    home: HomeRelay | None = None
    named: frozenset[str] = frozenset()


@attrs.frozen
class RelayUse:
    """A relayed path that shall be open.

    Args:
        url: The relay.
        attempt: Another number asks for the path to be opened anew.
    """

    url: str
    attempt: int = 0


@attrs.define
class RelayChoice:
    """One peer's: the home of the side that begins, if both sides have one.

    Attributes:
        own: Ours.
        other: The peer's, as it told; None for none.
        is_garbage: Whether it told of something that is not the address of a relay.
        use: What shall be open.
        reason: Why it is not, in words; empty while nothing is known.
    """

    controlling: bool
    enabled: bool
    own: OwnRelays = OwnRelays()
    other: str | None = None
    is_garbage: bool = False
    use: RelayUse | None = None
    reason: str = ""
    _attempt: int = 0

    @property
    def url(self) -> str:
        """The relay's, empty where none is used."""
        return self.use.url if self.use is not None else ""

    @property
    def problem(self) -> str:
        """Returns why the relayed path is not open, in words; empty while nothing is known."""
        if self.is_garbage:
            return "what it tells of its relay is not the address of one"
        return f"its relay {self.other} is not one that management names" if self._is_refused else self.reason

    def settle(self, *, anew: bool = False) -> bool:
        """Choose by what is known now, and have the path opened *anew*; whether ``use`` changed."""
        self._attempt += anew
        before, self.use = self.use, self._chosen()
        return self.use != before

    @property
    def _is_refused(self) -> bool:
        home, other = self.own.home, self.other
        if home is None or other is None or self.controlling or other == home.url:
            return False
        return place_of(other) not in self.own.named

    def _chosen(self) -> RelayUse | None:
        if not self.enabled or self.own.home is None or self.other is None or self._is_refused:
            return None
        return RelayUse(self.own.home.url if self.controlling else self.other, self._attempt)
