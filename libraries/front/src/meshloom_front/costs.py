"""What callers cost: CPU time that is measured where this process works for them, and estimates of what is not seen."""

import select
import socket
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Protocol

TRIP: Final = 1.6e-6
"""Seconds of CPU, about, that a byte to this process itself takes on the machine that the estimates were made on.

Reckoned, as that machine is not at hand: on one where the estimates were 2.7 times too low, it is 4.3e-6.
"""
SLOWEST: Final = 4.0
"""Times as slow as that a machine is taken for, at the most."""


def slowness() -> float:
    """Returns how many times as long as there this machine takes, never less than once; measures it, in some ms."""
    return min(SLOWEST, max(1.0, min(_trip() for _ in range(5)) / TRIP))


def _trip(count: int = 100) -> float:
    """Returns the seconds of CPU that sending, waiting for and receiving a byte takes."""
    one, other = socket.socketpair()
    with one, other, select.epoll() as poll:
        poll.register(other, select.EPOLLIN)
        start = time.thread_time()
        for _ in range(count):
            one.send(b"x")
            poll.poll(0)
            other.recv(1)
        return (time.thread_time() - start) / count


_SLOWNESS: Final = slowness()

EVENT: Final = 100e-6 * _SLOWNESS
"""Seconds of CPU, about, that the event loop and the kernel take for bytes that come, beside what is measured."""
BYTE: Final = 3e-9 * _SLOWNESS
"""Seconds of CPU for each byte of them."""
STEP: Final = 20e-6 * _SLOWNESS
"""Seconds of CPU, about, that the event loop takes for each step of a task, beside what is measured."""
ACCEPTED: Final = 50e-6 * _SLOWNESS
"""Seconds of CPU, about, that a new connection costs before it has its turn."""
ACCEPTING: Final = 500e-6 * _SLOWNESS
"""Seconds of CPU, about, that it costs then."""
CONNECTION_TAKES: Final = 8 << 10
"""Bytes of memory, about, that an open connection takes on which nothing waits."""
TLS_TAKES: Final = 36 << 10
"""Bytes, about, that TLS adds, with a record of which half has come."""


class Payer(Protocol):
    """Whoever causes work."""

    @property
    def is_known(self) -> bool:
        """Whether the work is free."""

    def spend(self, seconds: float) -> None:
        """Count CPU time that it has cost."""


class Steps:
    """Awaits a coroutine and tells after each of its steps how long this has kept the processor busy.

    Args:
        begin: Makes the coroutine.
        payer: Is told, as long as its work is not free.
    """

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, None]], payer: Payer) -> None:
        self._begin, self._payer = begin, payer

    def __await__(self) -> Generator[Any, Any, None]:
        """Returns when the coroutine does."""
        steps, payer = self._begin(), self._payer
        thrown: BaseException | None = None
        while True:
            start = 0.0 if payer.is_known else time.thread_time()
            try:
                waits_for = steps.send(None) if thrown is None else steps.throw(thrown)
            except StopIteration:
                return
            finally:
                if start:
                    payer.spend(time.thread_time() - start + STEP)
            thrown = None
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                thrown = error


def cost_of_reading(size: int) -> float:
    """Returns the seconds of CPU that so many bytes have cost before anybody looked at them."""
    return EVENT + size * BYTE
