"""The contract of a bus: how instances of one service tell each other that something changed."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import attrs


@attrs.frozen
class BusContext:
    """What a backend is opened with; gains fields, never loses them.

    Args:
        service: Name of the service whose instances talk, such as ``management``.
    """

    service: str


class Bus(ABC):
    """Topics with short messages, delivered at most once to every present subscriber, the publisher's own included.

    Messages of one publisher on one topic arrive in order. Nothing is kept: who subscribes later, or falls further
    behind than the backend buffers, has missed it and must read the store anew (``Missed`` is then raised).
    """

    @abstractmethod
    async def publish(self, topic: str, message: bytes) -> None:
        """Tell all present subscribers of the topic.

        Raises:
            BusError: The bus cannot be reached.
        """

    @abstractmethod
    def subscribe(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Messages published on the topic from entering on.

        Iterating raises ``Missed`` where messages were lost, and then goes on.
        """


class Missed(Exception):
    """Messages were lost between the last one and the next: read the store anew."""
