"""A socket to a generic netlink family: requests and their answers, one after the other.

The kernel does what a request says before sending returns, so that its answer is there at once: no thread is needed.
"""

import asyncio
import itertools
import os
import socket
import struct
import sys
from types import TracebackType
from typing import Self

import anyio

from meshloom.errors import ProtocolError, TunnelError
from meshloom_tunnel_kernel.attributes import attribute, attributes

NETLINK_GENERIC = 16
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE, FIRST_FAMILY = 2, 3, 16
CONTROL, GET_FAMILY, FAMILY_ID, FAMILY_NAME = 16, 3, 1, 2
HEADER, GENERIC = struct.Struct("=IHHII"), struct.Struct("=BBxx")
ROOM = 1 << 18
"""More than the kernel puts into one part of an answer."""
WITHIN = 10


class Refused(Exception):
    """The kernel's error number."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class GenericNetlink:
    """Speaks to one family; entered before use.

    Raises:
        TunnelError: The kernel does not have the family.
    """

    def __init__(self, family: str) -> None:
        self._name, self._family = family, 0
        self._numbers = itertools.count(1)
        self._one = anyio.Lock()

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, 0))
            name = attribute(FAMILY_NAME, self._name.encode() + b"\0")
            (answer, *_) = await self._ask(CONTROL, GET_FAMILY, name, ACK)
            self._family = int.from_bytes(dict(attributes(answer))[FAMILY_ID], sys.byteorder)
        except (Refused, KeyError, ValueError) as error:
            self._socket.close()
            raise TunnelError(f"this kernel does not speak of {self._name} over netlink: {error}") from error
        except BaseException:
            self._socket.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def tell(self, command: int, body: bytes) -> None:
        """Have it done.

        Raises:
            Refused: The kernel will not.
        """
        await self._ask(self._family, command, body, ACK)

    async def dump(self, command: int, body: bytes) -> list[bytes]:
        """All parts of the answer, without their headers.

        Raises:
            Refused: The kernel will not.
        """
        return await self._ask(self._family, command, body, DUMP)

    async def _ask(self, family: int, command: int, body: bytes, flags: int) -> list[bytes]:
        async with self._one:
            number = next(self._numbers)
            content = GENERIC.pack(command, 1) + body
            header = HEADER.pack(HEADER.size + len(content), family, REQUEST | flags, number, 0)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(self._socket, header + content)
            answers: list[bytes] = []
            with anyio.fail_after(WITHIN):
                while not take(await loop.sock_recv(self._socket, ROOM), number, answers):
                    """There are more parts."""
            return answers


def take(data: bytes, number: int, answers: list[bytes]) -> bool:
    """Add the content of messages that answer request *number*; True when nothing more comes.

    Raises:
        Refused: The answer is an error.
        ProtocolError: These are no messages of netlink.
    """
    while data:
        if len(data) < HEADER.size:
            raise ProtocolError("a message of netlink is cut off")
        length, kind, _, of, _ = HEADER.unpack_from(data)
        if not HEADER.size <= length <= len(data):
            raise ProtocolError("a message of netlink is longer than it came")
        content, data = data[HEADER.size : length], data[length + -length % 4 :]
        if of != number:  # of a request that was cancelled
            continue
        if kind in (ERROR, DONE):
            status = int.from_bytes(content[:4], sys.byteorder, signed=True)
            if status < 0:
                raise Refused(-status)
            return True
        if kind >= FIRST_FAMILY:
            answers.append(content[GENERIC.size :])
    return False
