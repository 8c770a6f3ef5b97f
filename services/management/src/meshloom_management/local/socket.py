"""The socket in the data folder, by which commands on the server's own machine reach the server that runs."""

import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio

from meshloom_management.errors import PermissionDenied, PreconditionFailed

_log = logging.getLogger(__name__)

NAME: Final = "control.sock"
LONGEST: Final = 16 << 10
"""Bytes of a request, and of an answer."""
WITHIN: Final = 30.0
"""Seconds that a caller has for its request and the server for its answer."""
WAITING: Final = 16
_credentials = struct.Struct("3i")


class ControlSocket:
    """Answers one caller after the other; only root and the server's own user get in.

    Args:
        folder: The data folder.
        answer: Returns the line that answers a line.
        within: Seconds for each caller.
    """

    def __init__(self, folder: Path, answer: Callable[[bytes], Awaitable[bytes]], within: float = WITHIN) -> None:
        self._folder, self._answer, self._within = folder, answer, within

    async def run(self) -> None:
        """Serves until cancelled. Where the socket cannot be made, the log says so, and the server runs without it."""
        try:
            listening = _listen(self._folder)
        except OSError as error:
            file = self._folder / NAME
            _log.warning(
                "%s: cannot be made: %s; commands at this machine do not reach the server", file, error.strerror
            )
            return
        with listening:
            try:
                while True:
                    await anyio.wait_readable(listening)
                    await self._serve_next(listening)
            finally:
                (self._folder / NAME).unlink(missing_ok=True)

    async def _serve_next(self, listening: socket.socket) -> None:
        try:
            await self._serve(listening.accept()[0])
        except OSError:  # the caller left
            return
        except Exception:  # noqa: BLE001 - the server goes on
            _log.exception("a request at this machine failed")

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            if not _is_allowed(connection):
                return
            connection.setblocking(False)
            with anyio.move_on_after(self._within):
                line = await _receive_line(connection)
                connection.sendall(await self._answer(line))  # short enough for the kernel to take it at once


def ask(folder: Path, line: bytes, within: float = WITHIN) -> bytes | None:
    """Returns the running server's answer to a line; None where no server runs with that data folder.

    Raises:
        PermissionDenied: This user may not ask.
        PreconditionFailed: The server is there and does not answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(within + 1)
        try:
            with _reachable(folder) as path, _itself(path) as end:
                connection.connect(end)
            connection.sendall(line)
            answer = b""
            while not answer.endswith(b"\n") and (part := connection.recv(LONGEST)):
                answer += part
        except PermissionError:
            raise PermissionDenied(f"{folder}: permission denied: use sudo, or be the server's user") from None
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except (TimeoutError, BlockingIOError):  # the latter where too many wait already to be taken
            raise PreconditionFailed(
                f"{folder}: the server does not answer: is it stopped, or the machine overloaded?"
            ) from None
        except OSError:
            return b""  # it was there, and left
    return answer


def _listen(folder: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        (folder / NAME).unlink(missing_ok=True)
        os.fchmod(made.fileno(), 0o600)  # before the file is there
        with _reachable(folder) as path:
            made.bind(path)
        made.listen(WAITING)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


@contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """Yields a path of the socket that is short enough, however long the folder's own is: a socket's has 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


@contextmanager
def _itself(path: str) -> Iterator[str]:
    """Yields a path of the socket itself: a link of that name leads nowhere."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _is_allowed(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _credentials.size)
    return _credentials.unpack(credentials)[1] in (0, os.geteuid())


async def _receive_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST:
        await anyio.wait_readable(connection)
        part = connection.recv(LONGEST)
        if not part:
            break
        line += part
    return line
