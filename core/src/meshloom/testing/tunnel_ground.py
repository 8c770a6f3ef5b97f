"""Where tunnels are tested: a host of the suite's own, which it may do to whatever happens to hosts."""

import contextlib
import ctypes
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import StrEnum
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import anyio
import attrs

from meshloom.backend import Backend
from meshloom.errors import TunnelError
from meshloom.tunnel import Address, IPInterface, IPNetwork, Tunnel, TunnelContext, TunnelState

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
PROGRAMS = ("ip", "mount", "setpriv", "wg")
DISCARD = 9
"""The UDP port of what goes into a tunnel (RFC 863)."""

CHILD = """
import pickle, sys
from meshloom.testing.tunnel_ground import apply_once
apply_once(*pickle.load(sys.stdin.buffer))
"""


@attrs.frozen
class LinkFacts:
    """What a host says of an interface; link-local addresses are left out.

    Attributes:
        routes: Networks that are routed to it, in the main table.
    """

    is_up: bool
    mtu: int
    addresses: frozenset[IPInterface]
    routes: frozenset[IPNetwork] = frozenset()


class Disturbance(StrEnum):
    """What something else may do to an interface under the agent that has it."""

    DOWN = "down"
    NO_ADDRESSES = "no addresses"
    NO_ROUTES = "no routes"
    OTHER_MTU = "other MTU"
    OTHER_PORT = "other port"
    OTHER_KEY = "other key"
    NO_PEERS = "no peers"
    NO_ALLOWED_ADDRESSES = "no allowed addresses"
    STRANGER = "stranger"


OTHER_MTU = 1290
STRANGER = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
"""A public key that no tunnel of the suite knows."""


class Outsider(ABC):
    """Somebody's UDP socket."""

    address: Address

    @abstractmethod
    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram."""

    @abstractmethod
    def received(self) -> list[tuple[bytes, Address]]:
        """What has come since the last call, without waiting."""


class TunnelGround(ABC):
    """A host that reaches itself at 127.0.0.1 and ::1."""

    def objection(self) -> str | None:
        """Why there is no such host here, or None."""
        return None

    @abstractmethod
    def enter(self) -> AbstractContextManager[None]:
        """Be on the host; leaving it ends everything there."""

    @abstractmethod
    def link(self, interface: str) -> LinkFacts | None:
        """The interface; None where there is none."""

    @abstractmethod
    def remove(self, interface: str) -> None:
        """Take the interface away from whoever has it."""

    @abstractmethod
    def add_foreign(self, interface: str) -> None:
        """An interface of that name that no tunnel made."""

    @abstractmethod
    def send(self, interface: str, destination: str, size: int) -> None:
        """One datagram with *size* bytes to an address that is routed into the interface."""

    @abstractmethod
    def disturb(self, interface: str, disturbance: Disturbance) -> None:
        """Change the interface as an administrator or another program might, without a word to the tunnel."""

    @abstractmethod
    def outsider(self, host: str, port: int = 0) -> AbstractContextManager[Outsider]:
        """A socket at that address of the host.

        Raises:
            OSError: The port is taken.
        """

    @abstractmethod
    def leave_behind(
        self, backend: Backend[TunnelContext, Tunnel], options: Any, context: TunnelContext, state: TunnelState
    ) -> None:
        """What is there when an agent was killed that had applied the state."""

    @abstractmethod
    def refusal(
        self, backend: Backend[TunnelContext, Tunnel], options: Any, context: TunnelContext, state: TunnelState
    ) -> str:
        """The TunnelError of a process that may not configure networks; empty where it may nevertheless."""


class LinuxGround(TunnelGround):
    """Network and mounts of its own for this process' main thread; needs root.

    Processes and threads that are started within are there as well; threads that existed before are not.
    """

    def objection(self) -> str | None:
        """Root, and a few programs."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return "needs root on Linux: it makes a network namespace"
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        return f"needs the programs {', '.join(missing)}" if missing else None

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Unshare, and come back."""
        folder = Path.cwd()
        before = [os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in ("mnt", "net")]
        try:
            _call("unshare", CLONE_NEWNS | CLONE_NEWNET)
            try:
                _run("mount", "--make-rprivate", "/")
                _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
                _run("ip", "link", "set", "lo", "up")
                yield
            finally:
                _end_the_others()
                for file in before:
                    _call("setns", file, 0)
                os.chdir(folder)
        finally:
            for file in before:
                os.close(file)

    def link(self, interface: str) -> LinkFacts | None:
        """By iproute2."""
        done = subprocess.run(["ip", "-json", "address", "show", "dev", interface], capture_output=True, check=False)
        if done.returncode:
            return None
        (found,) = (link for link in json.loads(done.stdout) if link)
        addresses = (ip_interface(f"{each['local']}/{each['prefixlen']}") for each in found["addr_info"])
        wanted = frozenset(address for address in addresses if not address.ip.is_link_local)
        routes: set[IPNetwork] = set()
        for family in ("-4", "-6"):
            shown = subprocess.run(
                ["ip", "-json", family, "route", "show", "dev", interface], capture_output=True, check=True
            )
            routes |= {ip_network(each["dst"]) for each in json.loads(shown.stdout) if each["dst"] != "default"}
        return LinkFacts(
            "UP" in found["flags"],
            found["mtu"],
            wanted,
            frozenset(each for each in routes if not each.is_link_local and not each.is_multicast),
        )

    def remove(self, interface: str) -> None:
        """By iproute2."""
        _run("ip", "link", "del", interface)

    def add_foreign(self, interface: str) -> None:
        """One end of a cable."""
        _run("ip", "link", "add", interface, "type", "veth", "peer", "name", f"{interface}p")

    def send(self, interface: str, destination: str, size: int) -> None:
        """A socket that is bound to the interface."""
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            made.sendto(bytes(size), (destination, DISCARD))

    def disturb(self, interface: str, disturbance: Disturbance) -> None:
        """By iproute2 and WireGuard's own tool."""
        match disturbance:
            case Disturbance.DOWN:
                _run("ip", "link", "set", interface, "down")
            case Disturbance.NO_ADDRESSES:
                _run("ip", "address", "flush", "dev", interface)
            case Disturbance.NO_ROUTES:
                for family in ("-4", "-6"):
                    _run("ip", family, "route", "flush", "dev", interface)
            case Disturbance.OTHER_MTU:
                _run("ip", "link", "set", interface, "mtu", str(OTHER_MTU))
            case Disturbance.OTHER_PORT:
                with self.outsider("127.0.0.1") as free, self.outsider("::1", free.address[1]):
                    port = free.address[1]
                _run("wg", "set", interface, "listen-port", str(port))
            case Disturbance.OTHER_KEY:
                with tempfile.NamedTemporaryFile() as file:
                    Path(file.name).write_text(STRANGER)
                    _run("wg", "set", interface, "private-key", file.name)
            case Disturbance.STRANGER:
                _run("wg", "set", interface, "peer", STRANGER, "allowed-ips", "10.98.0.0/24")
            case _:
                what = ("remove",) if disturbance is Disturbance.NO_PEERS else ("allowed-ips", "")
                shown = subprocess.run(["wg", "show", interface, "peers"], capture_output=True, check=True)
                for key in shown.stdout.decode().split():
                    _run("wg", "set", interface, "peer", key, *what)

    @contextlib.contextmanager
    def outsider(self, host: str, port: int = 0) -> Iterator[Outsider]:
        """A plain socket."""
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setblocking(False)
            made.bind((host, port))
            yield _Socket(made)

    def leave_behind(
        self, backend: Backend[TunnelContext, Tunnel], options: Any, context: TunnelContext, state: TunnelState
    ) -> None:
        """A process that kills itself."""
        status, said = _child([], backend, options, context, state)
        if status != -signal.SIGKILL:
            raise AssertionError(f"the agent that was to be killed ended by itself: {said}")

    def refusal(
        self, backend: Backend[TunnelContext, Tunnel], options: Any, context: TunnelContext, state: TunnelState
    ) -> str:
        """A process of root's without the capabilities."""
        without = ["setpriv", "--bounding-set", "-net_admin,-net_raw"]
        status, said = _child(without, backend, options, context, state)
        return "" if status == -signal.SIGKILL else said


class _Socket(Outsider):
    def __init__(self, made: socket.socket) -> None:
        self._socket = made
        self.address = made.getsockname()[:2]

    def send(self, data: bytes, destination: Address) -> None:
        self._socket.sendto(data, destination)

    def received(self) -> list[tuple[bytes, Address]]:
        found: list[tuple[bytes, Address]] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = self._socket.recvfrom(65536)
                found.append((data, source[:2]))
        return found


def apply_once(
    open_: Callable[[Any, TunnelContext], AbstractAsyncContextManager[Tunnel]],
    options: Any,
    context: TunnelContext,
    state: TunnelState,
) -> None:
    """Apply the state, and be killed; where that is refused, print why. In a process of its own."""

    async def main() -> None:
        async with open_(options, context) as tunnel:
            await tunnel.apply(state)
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        anyio.run(main)
    except TunnelError as error:
        sys.stdout.write(str(error))


def _child(
    prefix: list[str],
    backend: Backend[TunnelContext, Tunnel],
    options: Any,
    context: TunnelContext,
    state: TunnelState,
) -> tuple[int, str]:
    command = [*prefix, sys.executable, "-c", CHILD]
    arguments = pickle.dumps((backend.open, options, context, state))
    # Into a file: a program that outlives the agent has its standard output, too.
    with (context.state_dir / "said").open("w+b") as out:
        done = subprocess.run(command, input=arguments, stdout=out, stderr=subprocess.STDOUT, check=False)
        out.seek(0)
        return done.returncode, out.read().decode(errors="replace")


def _end_the_others() -> None:
    """End what still runs in this thread's network."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (entry / "ns" / "net").stat().st_ino == here:
                    os.kill(int(entry.name), signal.SIGKILL)


def _call(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
