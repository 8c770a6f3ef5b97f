"""Hosts and routers as Linux network namespaces: an internet on one machine, for privileged tests and the demo.

A :class:`Host` has its own network, mounts (``/run``, ``/etc/resolv.conf``, ``/etc/ssh``) and host name, so that
programs in it run as root without touching the machine's own. Nothing has a name outside: the namespaces live as long
as their processes do, and leaving :class:`Internet` ends all of these, also those that made themselves daemons.
Addresses are the documentation ranges of RFC 5737 and RFC 3849, and RFC 1918 behind routers.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

PUBLIC = IPv4Network("203.0.113.0/24")
OWNER = "MESHLOOM_NAMESPACES"
"""Environment variable of every process in a namespace: who made it."""
PATIENCE = float(os.environ.get("MESHLOOM_PATIENCE", "1"))
"""How many times longer than said is waited: more where the processor is emulated."""

PRIVATE_MOUNTS = """
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/wireguard /run/lock
cp -a /etc/ssh /run/ssh 2>/dev/null || mkdir /run/ssh; mount --bind /run/ssh /etc/ssh 2>/dev/null || true
touch /run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf 2>/dev/null || true
mount -t sysfs sysfs /sys
hostname "$1"
ip link set lo up
echo ready
exec sleep infinity
"""

HOLDER = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--uts", "sh", "-ec")

DROP_UNASKED = """
table inet filter {
  chain input {
    type filter hook input priority 0; policy accept;
    ct state established,related accept
    iifname "wan" meta l4proto udp drop
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    %(forward)s
  }
}
"""


class NAT(StrEnum):
    """What a router does with UDP (words of RFC 4787)."""

    FULL_CONE = "endpoint-independent mapping, endpoint-independent filtering"
    PORT_RESTRICTED = "endpoint-independent mapping, address-and-port-dependent filtering"
    SYMMETRIC = "address-and-port-dependent mapping, address-and-port-dependent filtering"
    UDP_BLOCKED = "UDP blocked"
    HAIRPIN = "endpoint-independent mapping and filtering, with hairpinning"


class Host:
    """One machine: its own network, mounts and host name."""

    def __init__(self, internet: "Internet", name: str) -> None:
        self.name = name
        self._internet = internet
        self._programs: list[subprocess.Popen[bytes]] = []
        self._holder = subprocess.Popen(
            [*HOLDER, PRIVATE_MOUNTS, "host", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=internet.environment,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError(f"namespace of {name}: could not be made; root is needed")
        self.address = IPv4Address(0)

    def command(self, *argv: str | Path) -> list[str]:
        """The command line that runs *argv* on this host."""
        enter = ["nsenter", "--target", str(self._holder.pid), "--net", "--mount", "--uts", "--"]
        return [*enter, *map(str, argv)]

    def run(self, *argv: str | Path, check: bool = True, input: str | None = None, timeout: float = 60) -> str:
        """Run to the end and return what it printed (both streams).

        Raises:
            AssertionError: It failed, with its output in the message.
        """
        done = subprocess.run(
            self.command(*argv),
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout * PATIENCE,
            env=self._internet.environment,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def start(
        self, *argv: str | Path, log: Path | IO[Any] | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a program that goes on; it ends with the internet at the latest."""
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("ab")) if isinstance(log, Path) else log or subprocess.DEVNULL
            program = subprocess.Popen(
                self.command(*argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._internet.environment | environment,
            )
        self._programs.append(program)
        return program

    def ip(self, arguments: str) -> None:
        """``ip ARGUMENTS`` on this host."""
        self.run("ip", *arguments.split())

    def nft(self, rules: str) -> None:
        """Load a ruleset on this host."""
        self.run("nft", "-f", "-", input=rules)

    def plug(self, device: str, into: "Host", other: str) -> None:
        """Lay a cable: *device* here to *other* there, both up."""
        link = self._internet.unused_link()
        pids = self._holder.pid, into.pid
        names = f"{link}a", f"{link}b"
        _ip(f"link add {names[0]} netns {pids[0]} type veth peer name {names[1]} netns {pids[1]}")
        for host, old, new in ((self, names[0], device), (into, names[1], other)):
            host.ip(f"link set {old} name {new}")
            host.ip(f"link set {new} up")

    @property
    def pid(self) -> int:
        """A process that lives as long as the host."""
        return self._holder.pid

    def processes(self) -> Iterator[int]:
        """All processes of this host, daemons included."""
        own = Path(f"/proc/{self.pid}/ns/net").stat().st_ino
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if (entry / "ns" / "net").stat().st_ino == own:
                        yield int(entry.name)

    def close(self) -> None:
        """End every process of the host; its network goes with the last of them."""
        for pid in list(self.processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for program in [*self._programs, self._holder]:
            program.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Router(Host):
    """A host with a public side (``wan``) and a bridge of private hosts (``lan``)."""

    network: IPv4Network

    def host(self, name: str) -> Host:
        """A new machine on the private side, its default route through here."""
        return self._internet.attach(name, self)

    def translate(self, nat: NAT, inside: Host | None = None) -> None:
        """Become that kind of NAT; full cone and hairpin forward unasked packets to the one host *inside*."""
        self.run("nft", "flush", "ruleset")
        masquerade = "masquerade random,fully-random" if nat is NAT.SYMMETRIC else "masquerade persistent"
        forward, extra = 'iifname "wan" drop', ""
        if nat is NAT.UDP_BLOCKED:
            forward = 'meta l4proto udp drop\niifname "wan" drop'
        if nat in (NAT.FULL_CONE, NAT.HAIRPIN):
            assert inside is not None
            forward = "accept"
            side = 'iifname "wan"' if nat is NAT.FULL_CONE else f"ip daddr {self.address}"
            extra = (
                "chain prerouting {\ntype nat hook prerouting priority -100;\n"
                f"{side} udp dport 1024-65535 dnat to {inside.address}\n}}\n"
            )
        hairpin = f'oifname "lan" ip saddr {self.network} masquerade\n' if nat is NAT.HAIRPIN else ""
        self.nft(
            DROP_UNASKED
            % {"forward": forward}
            + f"table ip nat {{\n{extra}chain postrouting {{\ntype nat hook postrouting priority 100;\n"
            f'oifname "wan" {masquerade}\n{hairpin}}}\n}}\n'
        )


class Internet:
    """A public network that hosts and routers are plugged into; everything ends when it is left."""

    def __init__(self) -> None:
        self.environment = {**os.environ, OWNER: str(os.getpid())}
        self.folder = Path(tempfile.mkdtemp(prefix="meshloom-"))
        self._hosts: list[Host] = []
        self._public = (str(address) for address in itertools.islice(PUBLIC.hosts(), 9, None))
        self._private = (IPv4Network(f"192.168.{number}.0/24") for number in range(1, 255))
        self._links = itertools.count()

    def __enter__(self) -> Self:
        end_orphans()
        self.backbone = Host(self, "internet")
        self._hosts.append(self.backbone)
        self._bridge(self.backbone, "net")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in reversed(self._hosts):
            host.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def host(self, name: str) -> Host:
        """A new machine with a public address and no NAT."""
        host = Host(self, name)
        self._hosts.append(host)
        self._join(host, "eth0")
        return host

    def named(self, name: str) -> Host:
        """The host or router of that name."""
        return next(host for host in self._hosts if host.name == name)

    def router(self, name: str, behind: Router | None = None) -> Router:
        """A new router with a private network of its own; say with ``translate`` what NAT it is."""
        router = Router(self, name)
        self._hosts.append(router)
        if behind is None:
            self._join(router, "wan")
        else:
            self._join_private(router, "wan", behind)
        router.network = next(self._private)
        self._bridge(router, "lan")
        router.ip(f"address add {router.network[1]}/24 dev lan")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        return router

    def attach(self, name: str, router: Router) -> Host:
        """A new machine on a router's private side."""
        host = Host(self, name)
        self._hosts.append(host)
        self._join_private(host, "eth0", router)
        return host

    def unused_link(self) -> str:
        """A device name that nothing has."""
        return f"ml{os.getpid() % 100000}x{next(self._links)}"

    def _bridge(self, host: Host, name: str) -> None:
        host.ip(f"link add {name} type bridge")
        host.ip(f"link set {name} up")

    def _join(self, host: Host, device: str) -> None:
        port = self.unused_link()
        host.plug(device, self.backbone, port)
        self.backbone.ip(f"link set {port} master net")
        host.address = IPv4Address(next(self._public))
        host.ip(f"address add {host.address}/24 dev {device}")

    def _join_private(self, host: Host, device: str, router: Router) -> None:
        port = self.unused_link()
        host.plug(device, router, port)
        router.ip(f"link set {port} master lan")
        used = sum(1 for other in self._hosts if other.address in router.network)
        host.address = router.network[10 + used]
        host.ip(f"address add {host.address}/24 dev {device}")
        host.ip(f"route add default via {router.network[1]}")


def end_orphans() -> None:
    """End processes of namespaces whose maker died without leaving them."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for line in (entry / "environ").read_bytes().split(b"\0"):
                key, _, maker = line.partition(b"=")
                if key == OWNER.encode() and not Path(f"/proc/{maker.decode()}").exists():
                    os.kill(int(entry.name), signal.SIGKILL)


def wait_until(condition: Any, within: float, what: str, every: float = 0.02) -> Any:
    """What *condition* returns as soon as it is true; AssertionError naming *what* after *within* seconds."""
    deadline = time.monotonic() + within * PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(every)
    return result


def missing_programs(programs: Sequence[str] = ("ip", "nft", "nsenter", "unshare", "setpriv", "sysctl")) -> list[str]:
    """Those of the programs that this machine lacks."""
    return [program for program in programs if shutil.which(program) is None]


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)
