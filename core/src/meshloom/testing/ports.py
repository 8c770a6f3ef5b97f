"""Ports and addresses for what a test starts: nobody else takes them between the choice and the start."""

import functools
import itertools
import socket

FIRST, EACH, WINDOWS = 10_000, 400, 50
"""Windows of so many ports, all below those that the kernel gives to whoever asks for none (32768 and up)."""


class PortWindow:
    """Ports and a loopback address of one process: other test processes of the machine have other windows."""

    def __init__(self) -> None:
        self._held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        """Its name is the claim; the kernel drops it with the process. Like ports, each network has its own names."""
        number = next(filter(self._claims, range(WINDOWS)), None)
        if number is None:
            self.close()
            raise RuntimeError(f"ports: {WINDOWS} test processes hold all windows; run fewer at once")
        self.address = f"127.53.51.{number + 1}"
        self._ports = itertools.cycle(range(FIRST + number * EACH, FIRST + (number + 1) * EACH, 2))

    def _claims(self, number: int) -> bool:
        try:
            self._held.bind(f"\0meshloom.testing.ports.{number}")
        except OSError:
            return False
        return True

    def next(self) -> int:
        """Returns an even port that is free for TCP and UDP, as is the one above it."""
        for port in itertools.islice(self._ports, EACH // 2):
            if _is_free(port) and _is_free(port + 1):
                return port
        raise RuntimeError(f"ports: all {EACH} of this process are in use")

    def close(self) -> None:
        """Leaves the window to others."""
        self._held.close()


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


@functools.cache
def _window() -> PortWindow:
    return PortWindow()


def free_port() -> int:
    """Returns a port that nothing uses, and that no other test is given while this process lives.

    The port above it is free, too. A port comes again after 200 others.
    """
    return _window().next()


def own_address() -> str:
    """Returns a loopback address that no other test process is given, for protocols whose port is fixed."""
    return _window().address
