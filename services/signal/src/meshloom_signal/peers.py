"""Who may use the service."""

from typing import Protocol


class Peers(Protocol):
    """What the service asks about keys; it asks for each message, so the answers must be at hand."""

    @property
    def are_registered(self) -> bool:
        """Tells whether a stream's key says that its agent is known to this server."""

    def knows(self, key: str) -> bool:
        """Tells whether that key may connect and send."""

    def address(self, key: str) -> str:
        """Returns the address from which the key's owner last proved itself elsewhere; empty where none is known."""

    def needs_proof(self, key: str) -> bool:
        """Tells whether the key's agent proves its key, so that nobody without a proof is that agent."""


class Anyone:
    """Peers of a signal service that stands alone: it has no list of them, so every key may be used."""

    are_registered = False

    def knows(self, key: str) -> bool:  # noqa: ARG002
        """Returns True."""
        return True

    def address(self, key: str) -> str:  # noqa: ARG002
        """Returns nothing."""
        return ""

    def needs_proof(self, key: str) -> bool:  # noqa: ARG002
        """Returns False."""
        return False
