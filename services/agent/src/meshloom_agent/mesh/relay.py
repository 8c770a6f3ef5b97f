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


@attrs.define
class RelayChoice:
    """One peer's: the home of the side that begins, if both sides have one.

    Attributes:
        home: Ours.
        other: The peer's, as it told.
        use: What shall be open.
        reason: Why it is not, in words; empty while nothing is known.
    """

    controlling: bool
    enabled: bool
    home: HomeRelay | None = None
    other: HomeRelay | None = None
    use: RelayUse | None = None
    reason: str = ""
    _attempt: int = 0

    @property
    def url(self) -> str:
        """The relay's, empty where none is used."""
        return self.use.url if self.use is not None else ""

    def settle(self, *, anew: bool = False) -> bool:
        """Choose by what is known now, and have the path opened *anew*; whether ``use`` changed."""
        self._attempt += anew
        before, self.use = self.use, self._chosen()
        return self.use != before

    def _chosen(self) -> RelayUse | None:
        if not self.enabled or self.home is None or self.other is None:
            return None
        if self.controlling:
            return RelayUse(self.home.url, self.home.ip, self._attempt)
        ip = None if self.other.url == self.home.url else self.other.ip
        return RelayUse(self.other.url, ip, self._attempt)
