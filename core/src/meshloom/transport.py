"""The contract of a transport: what carries relay messages between an agent and a relay, in either role.

A connection carries whole messages, unreliably: one may be lost, never split, merged or changed, and those that arrive
do so in the order in which they were sent. What happens once a message is a plain call, not a coroutine: a relay
forwards a hundred thousand of them a second.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from socket import socket
from typing import Any, Protocol, runtime_checkable

import attrs

from meshloom.protocol.relay_address import RelayAddress as RelayAddress  # noqa: PLC0414 - part of the contract

LONGEST_MESSAGE = 8820
"""Bytes of the longest relay message; a transport refuses longer ones, and closes on one that arrives."""
LONGEST_OF_STRANGER = 1024
"""Bytes of the longest message that a server's transport takes before :meth:`Connection.admit`."""


def _other_side(address: str, said: str) -> str:  # noqa: ARG001
    return address


@attrs.frozen
class TransportContext:
    """What a transport is opened with; gains fields, never loses them.

    Args:
        socket_buffer: Bytes of the kernel's buffer wanted in each direction; less is said in the log.
        fwmark: Mark of what is sent, 0 for none.
        extra_roots: Certificates (PEM) trusted besides the system's.
        proxy: URL of an HTTP proxy to connect through (CONNECT); empty for none.
        origin: For what serves HTTP requests: returns where one comes from, by the other side's address and by what
            its fields ``X-Forwarded-For`` say, joined by commas; empty where it has none.
    """

    socket_buffer: int = 4 << 20
    fwmark: int = 0
    extra_roots: bytes = b""
    proxy: str = ""
    origin: Callable[[str, str], str] = _other_side


class Connection(ABC):
    """One open connection, on either side.

    Attributes:
        transport: Name of the backend that carries it.
        remote: Address and port of the other side, as far as it is known.
        max_message_size: Bytes of the longest message that it can carry now.
    """

    transport: str
    remote: tuple[str, int]
    max_message_size: int

    @abstractmethod
    def send(self, message: bytes | bytearray | memoryview, rest: bytes | bytearray | memoryview = b"") -> bool:
        """Send without waiting; the buffers may be used again when it returns.

        Args:
            message: The message, or its beginning.
            rest: What follows it, so that who puts a head in front of a packet need not join them first.

        Returns:
            False where it was dropped: the other side reads too slowly, the message is too long, or the connection
            is closed. :meth:`Receiver.writable` is called when there is room again.
        """

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether ``send`` would drop a message now for want of room."""

    @abstractmethod
    def close(self) -> None:
        """Close after what was sent; ``connection_lost`` follows, not from within this call.

        What the other side does not take in some seconds is lost. Closing twice is no error.
        """

    def admit(self) -> None:  # noqa: B027 - a transport that holds little for anybody needs no second bound
        """Lifts the bounds for strangers: the receiver knows now who the other side is.

        Until then a server's connection takes messages of at most ``LONGEST_OF_STRANGER`` bytes and closes on a
        longer one, and the transport may hold and do as little for it as a handshake needs. The side that connects
        has chosen the other one: its connections are admitted from the start.
        """


class Receiver(ABC):
    """What a connection calls, always from the event loop that opened it."""

    __slots__ = ()

    @abstractmethod
    def message_received(self, message: memoryview) -> None:
        """A whole message. The memory is the transport's: copy what must outlive the call."""

    def writable(self) -> None:  # noqa: B027 - whoever drops what does not fit need not care
        """There is room again after ``send`` had returned False."""

    @abstractmethod
    def connection_lost(self, reason: str) -> None:
        """The last call: the connection is closed, by either side or by the network; *reason* in words."""


Accept = Callable[[Connection], Receiver | None]
"""Called for each connection that a server accepts; None refuses it: the other side cannot connect, or
is closed right after. What is sent from within the call is sent."""


class Transport(ABC):
    """One way to carry relay messages."""

    @abstractmethod
    async def connect(self, address: RelayAddress, receiver: Receiver) -> Connection:
        """Connect to a relay; give up by cancelling.

        Raises:
            TransportError: Unreachable, refused, no certificate that is trusted; the text names the address.
        """


@runtime_checkable
class ServesStreams(Protocol):
    """A transport whose server lives on a TCP connection that something else accepted."""

    def stream_protocol(self, accept: Accept) -> Callable[[], Any]:
        """Makes the ``asyncio.Protocol`` of one connection; it is given the bytes from the first one on.

        A request that is not for the relay is answered with an error of its own protocol and closed.
        """


@runtime_checkable
class ServesDatagrams(Protocol):
    """A transport whose server has a UDP port of its own."""

    def serve(
        self, listening: socket, certificate: Callable[[], tuple[bytes, bytes]] | None, accept: Accept
    ) -> AbstractAsyncContextManager[None]:
        """Serve on a bound UDP socket until leaving; all connections are closed then.

        Args:
            listening: Bound, and not read by anything else.
            certificate: The chain and the private key (PEM) to use for the next connection; None for a certificate
                made for this run, as where nobody checks it.
            accept: Called for each connection.
        """
