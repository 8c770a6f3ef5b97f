"""Answers binding requests over UDP, no larger and no more of them than a source needs."""

import errno
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

import anyio
import attrs
from prometheus_client import CollectorRegistry, Counter

from meshloom.errors import ConfigError
from meshloom.local_address import named
from meshloom.port_holder import why_not_bound
from meshloom.protocol.nat_discovery import CHANGE_IP, CHANGE_PORT, Origin, behaviour_answer, wanted_change
from meshloom.protocol.stun import HEADER, Address, answer, is_binding_request
from meshloom_front.listening import listen
from meshloom_stun.limits import AnswerLimit, Bucket
from meshloom_stun.port import Port

_log = logging.getLogger(__name__)

BEHAVIOUR_PER_SECOND = 500
"""Answers about a NAT's behaviour to all together: each looks up a route, and few machines ask, when they start."""
SOCKET_BUFFER = 1 << 20
MAX_PORT = 0xFFFF

Place = tuple[bool, bool]
"""A socket of the service: whether of the alternate address, whether on the alternate port."""


@attrs.frozen
class StunPorts:
    """Where the service answers.

    Args:
        alternate_port: Of all addresses, too; 0 for the one after ``port``.
        alternate_address: A second address of this host; empty for none.
    """

    port: int
    alternate_port: int = 0
    alternate_address: str = ""

    @property
    def both(self) -> tuple[int, int]:
        """The port and the alternate one, 0 where there can be none."""
        return self.port, self.alternate_port or (self.port + 1 if 0 < self.port < MAX_PORT else 0)


def check_ports(ports: StunPorts) -> None:
    """Looks whether there can be such ports; none is touched.

    Raises:
        ConfigError: There cannot.
    """
    for key, port in (("stun_port", ports.port), ("stun_alternate_port", ports.alternate_port)):
        if not 0 <= port <= MAX_PORT:
            raise ConfigError(f"{key} = {port}: not a UDP port; write 1 to {MAX_PORT}")
    if ports.port and ports.alternate_port == ports.port:
        raise ConfigError(f"stun_alternate_port = {ports.port}: is stun_port, too; choose another, or leave it out")
    if address := ports.alternate_address:
        if not ports.port:
            raise ConfigError("stun_port = 0: with stun_alternate_address, both addresses need the same port; name one")
        try:
            family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        except ValueError:
            raise ConfigError(f"stun_alternate_address = {address!r}: not an IP address of this host") from None
        _bound(family, address, 0, "stun_alternate_address").close()


class StunService:
    """Answers on up to four sockets: of all addresses or of the alternate one, on the port or on the alternate one."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ports: StunPorts,
        monotonic: Callable[[], float] = time.monotonic,
        address_towards: Callable[[Address], str | None] | None = None,
    ) -> None:
        self.sockets: dict[Place, Port] = {}
        self._ports, self._monotonic = ports, monotonic
        self._address_towards = address_towards or _address_towards
        self._limit = AnswerLimit()
        self._behaviours = Bucket(BEHAVIOUR_PER_SECOND, BEHAVIOUR_PER_SECOND, BEHAVIOUR_PER_SECOND, monotonic())
        counter = Counter("meshloom_stun_datagrams", "Datagrams by what became of them", ["result"], registry=registry)
        self._answered, self._ignored, self._limited = map(counter.labels, ("answered", "ignored", "limited"))

    def receive(self, data: bytes, addr: tuple[Any, ...], place: Place, local: bytes = b"") -> None:
        """Answer a binding request; anything else is dropped silently. What is refused costs next to nothing.

        The answer leaves from *local*, the address that was asked, where the socket has several.
        """
        if not is_binding_request(data):
            self._ignored.inc()
            return
        source = addr[0].removeprefix("::ffff:").partition("%")[0], addr[1]
        now = self._monotonic()
        if not self._limit.allows(source[0], now):
            self._limited.inc()
            return
        response: bytes | None
        leaves = place
        if len(data) > HEADER and (flags := wanted_change(data)) is not None:
            if not self._behaviours.allows(now):
                self._limited.inc()
                return
            response, leaves, local = self._behaviour(data, source, place, flags, local)
        else:
            response = answer(data, source)
        if response is None or leaves not in self.sockets:
            self._ignored.inc()
            return
        self._answered.inc()
        leaving = self.sockets[leaves]
        leaving.send(response, addr if leaves == place else leaving.destination(*source), local)

    def _behaviour(
        self, data: bytes, source: Address, place: Place, flags: int, local: bytes
    ) -> tuple[bytes | None, Place, bytes]:
        """The answer to a request for the NAT's behaviour, and where it leaves; None for silence."""
        changed = place[0] ^ bool(flags & CHANGE_IP), place[1] ^ bool(flags & CHANGE_PORT)
        ours = named(local) if local else self._address_towards(source)
        origin = self._origin(source, place, ours) if ours else None
        made = behaviour_answer(data, source, origin, flags) if origin else None
        if made is None or ours is None:
            return (None if flags else answer(data, source)), place, local
        is_elsewhere = changed[0] or changed not in self.sockets
        return made[0], changed, b"" if is_elsewhere else self.sockets[changed].packed(ours)

    def _origin(self, source: Address, place: Place, ours: str) -> Origin | None:
        """Where the request came to, and where else there are sockets; None where there is no other port."""
        if (False, True) not in self.sockets:
            return None
        alternate = self._ports.alternate_address
        usable = (True, False) in self.sockets and (":" in alternate) == (":" in source[0])
        addresses = (ours, alternate if usable else ours)
        here = addresses[place[0]], self._ports.both[place[1]]
        return Origin(here, addresses[not place[0]], self._ports.both[not place[1]])


async def run_stun(ports: StunPorts, registry: CollectorRegistry) -> None:
    """Answer on those UDP ports until cancelled.

    Raises:
        ConfigError: A port or address is wrong or taken; a taken alternate port alone is only said in the log.
    """
    service = StunService(registry, ports)
    try:
        for place, made in _sockets(ports).items():
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
            service.sockets[place] = Port(made, partial(_receive, service, place))
        _log.info("STUN on UDP port %d", ports.port)
        await anyio.sleep_forever()
    finally:
        for each in service.sockets.values():
            each.close()


def _receive(service: StunService, place: Place, data: bytes, addr: tuple[Any, ...], local: bytes) -> None:
    service.receive(data, addr, place, local)


def _sockets(ports: StunPorts) -> dict[Place, socket.socket]:
    port, other = ports.both
    if not ports.alternate_address:
        made = {(False, False): listen(f":{port}", "stun_port", socket.SOCK_DGRAM, value=port)}
        if other and (second := _second(other)) is not None:
            made[False, True] = second
        return made
    family = socket.AF_INET6 if ":" in ports.alternate_address else socket.AF_INET
    made = {}
    try:
        for number, key in ((port, "stun_port"), (other, "stun_alternate_port")):
            made[False, number == other] = _everywhere(number, key)
            made[True, number == other] = _bound(family, ports.alternate_address, number, "stun_alternate_address")
    except ConfigError:
        for each in made.values():
            each.close()
        raise
    return made


def _second(port: int) -> socket.socket | None:
    try:
        return listen(f":{port}", "stun_alternate_port", socket.SOCK_DGRAM, value=port)
    except ConfigError as error:
        _log.warning("%s; machines cannot learn from here what their NAT filters", error)
        return None


def _everywhere(port: int, key: str) -> socket.socket:
    try:
        return _bound(socket.AF_INET6, "::", port, key)
    except ConfigError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return _bound(socket.AF_INET, "0.0.0.0", port, key)  # no IPv6 here
        raise


def _bound(family: socket.AddressFamily, host: str, port: int, key: str) -> socket.socket:
    """A socket beside others on the same port: the one with the more exact address gets what is sent there."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        made.bind((host, port))
    except OSError as error:
        made.close()
        why = why_not_bound(error, host, port, socket.SOCK_DGRAM)
        value = host if key == "stun_alternate_address" else port
        raise ConfigError(
            f"{key} = {value!r}: cannot listen there on UDP port {port}: {why}; give an address of this host"
        ) from error
    made.setblocking(False)
    return made


def _address_towards(destination: Address) -> str | None:
    """The address of this host that a socket of all addresses answers from, None where nothing leads there."""
    family = socket.AF_INET6 if ":" in destination[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(destination)
            return str(probe.getsockname()[0])
        except OSError:
            return None
