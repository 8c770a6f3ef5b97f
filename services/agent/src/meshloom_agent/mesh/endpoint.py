"""Where WireGuard sends one peer's packets, as paths to it come and go."""

from typing import Literal

import attrs

from meshloom.protocol.stun import Address
from meshloom_agent.mesh.path import ThroughTurn, Way

Endpoint = Address | ThroughTurn | Literal[Way.RELAYED]
"""Where WireGuard sends a peer's packets: an address, or into a path that the agent carries itself."""


@attrs.define
class EndpointChoice:
    """One peer's endpoint.

    Args:
        controlling: Whether our side begins handshakes.
        learn_within: Seconds in which the other side learns the endpoint from a handshake.

    Attributes:
        endpoint: None where WireGuard must learn it, or has to wait.
        taken: Grows when a path to the same endpoint is taken again, away from which WireGuard may have been led.
        due: When ``handle_timer`` has something to do.
    """

    controlling: bool
    learn_within: float
    endpoint: Endpoint | None = attrs.field(default=None, init=False)
    taken: int = attrs.field(default=0, init=False)
    due: float | None = attrs.field(default=None, init=False)

    def follow(self, target: Endpoint | None, now: float, *, is_new: bool) -> None:
        """Takes the path in use.

        Args:
            target: Where it leads; None while there is none.
            now: Seconds.
            is_new: Whether another one, or none, was in use before.
        """
        if target is None or target == self.endpoint:
            self.taken += target is not None and is_new
        elif self.controlling or self.endpoint is not None:
            self.endpoint, self.due = target, None
        elif self.due is None:
            self.due = now + self.learn_within

    def handle_timer(self, target: Endpoint | None, now: float) -> None:
        """Sets the endpoint that was not learned."""
        if self.due is not None and now >= self.due:
            self.due, self.endpoint = None, target or self.endpoint
