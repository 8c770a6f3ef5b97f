"""A relay in virtual time: messages between members, over connections that no router blocks."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from meshloom.testing.lab.clock import VirtualClock
from meshloom.testing.lab.host import Host

Name = TypeVar("Name", bound=Hashable)
Named_contra = TypeVar("Named_contra", contravariant=True)

DEAD_AFTER = 2.0
"""Seconds until a connection whose way is cut is noticed to be dead."""


class Member(Protocol[Named_contra]):
    """What a connection tells its host."""

    def relay_up(self, url: str) -> None:
        """It stands."""

    def relay_down(self, url: str) -> None:
        """It does not, or no longer."""

    def relay_online(self, url: str, name: Named_contra, *, online: bool) -> None:
        """A member that was asked for is there, or has left."""

    def relay_received(self, url: str, name: Named_contra, data: bytes) -> None:
        """A message of another member."""


class RelayConnection(Generic[Name]):
    """One member's connection, from the attempt to the end."""

    def __init__(self, server: "RelayServer[Name]", host: Host, name: Name, member: Member[Name]) -> None:
        self.host, self.name, self.member = host, name, member
        self.asked: set[Name] = set()
        self.is_up = False
        self.is_closed = False
        self._server = server
        self._delivered_at = 0.0

    def ask(self, names: Iterable[Name]) -> None:
        """Hear of these from now on, and of no others."""
        new = set(names) - self.asked
        self.asked = set(names)
        if self.is_up:
            self._server.tell_of(self, new)

    def send(self, receiver: Name, data: bytes) -> None:
        """One message; lost where the receiver is not there."""
        if self.is_up:
            self._server.forward(self, receiver, data)

    def close(self) -> None:
        """End it; nothing more is told."""
        self.is_closed = True
        self._server.drop(self)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """After everything that was planned before."""
        self._delivered_at = max(self._delivered_at, self._server.clock.now + delay)
        self._server.clock.call_at(self._delivered_at, lambda: None if self.is_closed else action())


class RelayServer(Generic[Name]):
    """One relay.

    Args:
        delay: Seconds from a host to the relay.
    """

    def __init__(self, clock: VirtualClock, host: Host, url: str, delay: float = 0.01) -> None:
        self.clock, self.url = clock, url
        self.is_up = True
        self.observe: Callable[[Name, Name], None] | None = None
        """Called with the sender and the receiver of each message."""
        self._host, self._delay = host, delay
        self._members: dict[Name, RelayConnection[Name]] = {}
        self._connections: set[RelayConnection[Name]] = set()

    def connect(self, host: Host, name: Name, member: Member[Name]) -> RelayConnection[Name]:
        """Try to connect; *member* is told what becomes of it."""
        made = RelayConnection(self, host, name, member)
        self._connections.add(made)
        made.later(4 * self._delay, lambda: self._established(made))
        return made

    def set_up(self, up: bool) -> None:
        """Killed, or started again."""
        self.is_up = up
        if not up:
            for each in list(self._connections):
                self._fail(each)

    def check(self) -> None:
        """The network has changed: connections whose way is cut die, after a while."""
        for each in list(self._connections):
            if not self._reaches(each):
                each.later(DEAD_AFTER, lambda each=each: None if self._reaches(each) else self._fail(each))  # type: ignore[misc]

    def forward(self, sender: RelayConnection[Name], receiver: Name, data: bytes) -> None:
        """Pass a message on."""
        if self.observe is not None:
            self.observe(sender.name, receiver)
        found = self._members.get(receiver)
        if found is not None and self._reaches(sender) and self._reaches(found):
            found.later(2 * self._delay, lambda: found.member.relay_received(self.url, sender.name, data))

    def tell_of(self, connection: RelayConnection[Name], names: Iterable[Name]) -> None:
        """Those of *names* that are there."""
        for name in names:
            if name in self._members:
                connection.later(
                    2 * self._delay,
                    lambda name=name: connection.member.relay_online(self.url, name, online=True),  # type: ignore[misc]
                )

    def drop(self, connection: RelayConnection[Name]) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        if self._members.get(connection.name) is connection:
            del self._members[connection.name]
            self._tell_others(connection.name, online=False)

    def _reaches(self, connection: RelayConnection[Name]) -> bool:
        return self.is_up and any(map(connection.host.reaches, self._host.addresses))

    def _established(self, connection: RelayConnection[Name]) -> None:
        if not self._reaches(connection):
            self._fail(connection)
            return
        old = self._members.get(connection.name)
        if old is not None:
            self._fail(old)
        self._members[connection.name] = connection
        connection.is_up = True
        connection.member.relay_up(self.url)
        self.tell_of(connection, connection.asked)
        self._tell_others(connection.name, online=True)

    def _tell_others(self, name: Name, *, online: bool) -> None:
        for each in list(self._connections):
            if each.is_up and name in each.asked:
                each.later(
                    self._delay,
                    lambda each=each: each.member.relay_online(self.url, name, online=online),  # type: ignore[misc]
                )

    def _fail(self, connection: RelayConnection[Name]) -> None:
        if connection.is_closed:
            return
        connection.is_up, connection.is_closed = False, True
        self.drop(connection)
        self.clock.call_in(0.0, lambda: connection.member.relay_down(self.url))
