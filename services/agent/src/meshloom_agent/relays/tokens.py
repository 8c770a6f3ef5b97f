"""The tokens that management gave for relays, and which of them a relay is shown."""

import attrs

from meshloom_agent.mesh import place_of


@attrs.frozen
class RelayTokens:
    """Tokens for relays.

    Args:
        classic: Good at every relay that management names, for any peer; empty for none.
        named: Good for this machine alone; empty for none.
        places: Where relays are that know tokens with a name.
    """

    classic: bytes = attrs.field(default=b"", repr=False)
    named: bytes = attrs.field(default=b"", repr=False)
    places: frozenset[str] = frozenset()

    def shown_at(self, url: str) -> bytes:
        """Returns the token for that relay: the one with our name wherever it is known."""
        return self.named if self.renews(url) else self.classic

    def renews(self, url: str) -> bool:
        """Returns whether that relay lets a connection go on for longer when it is shown a newer token."""
        return bool(self.named) and place_of(url) in self.places
