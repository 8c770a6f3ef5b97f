"""A post office in virtual time, as the signal service is one: messages from name to name, in order, while it is up."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from meshloom.testing.lab.clock import VirtualClock

Name = TypeVar("Name", bound=Hashable)
Message = TypeVar("Message")


class Exchange(Generic[Name, Message]):
    """Members hear whether it is up, and get what others send them; what is for nobody is dropped.

    Args:
        delay: Seconds from member to member.
    """

    def __init__(self, clock: VirtualClock, delay: float = 0.02) -> None:
        self.is_up = True
        self.observe: Callable[[Name, Message], None] | None = None
        """Called with the receiver and the message whenever one is sent."""
        self._clock, self._delay = clock, delay
        self._members: dict[Name, tuple[Callable[[Message], None], Callable[[bool], None]]] = {}

    def join(self, name: Name, receive: Callable[[Message], None], ready: Callable[[bool], None]) -> None:
        """Get messages from now on; *ready* is told at once and at each change."""
        self._members[name] = receive, ready
        ready(self.is_up)

    def leave(self, name: Name) -> None:
        """Get no more."""
        self._members.pop(name, None)

    def set_up(self, up: bool) -> None:
        """Away, or back; what is under way when it goes away is lost."""
        if up is not self.is_up:
            self.is_up = up
            for _, ready in list(self._members.values()):
                ready(up)

    def send(self, receiver: Name, message: Message) -> None:
        """One message."""
        if self.observe is not None:
            self.observe(receiver, message)
        if self.is_up:
            self._clock.call_in(self._delay, lambda: self._deliver(receiver, message))

    def _deliver(self, receiver: Name, message: Message) -> None:
        member = self._members.get(receiver)
        if self.is_up and member is not None:
            member[0](message)
