"""What this machine's network lets through: asked of the servers of its mesh and of its gateway."""

import os
import socket
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import attrs

from meshloom.errors import words_of
from meshloom.protocol.nat_discovery import Behaviour, NatDiscovery, NatReport, across_servers
from meshloom.protocol.stun import Address
from meshloom_agent.diagnostics import gateway
from meshloom_agent.diagnostics.known import Known, parted
from meshloom_agent.diagnostics.web import WebAnswer, ask, parts_of, why

GATEWAY_WITHIN = 1.0
CONNECT_WITHIN = 10.0
NO_ANSWER = "no answer"
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@attrs.frozen
class Reached:
    """One server.

    Args:
        kind: ``stun``, ``relay``, ``management`` or ``signal``.
        latency: Seconds: of a STUN binding, or until a TCP connection was there; None where it was not reached.
        error: Why it was not.
    """

    kind: str
    server: str
    latency: float | None = None
    error: str = ""


@attrs.frozen
class Netcheck:
    """The whole picture.

    Args:
        udp: Whether UDP gets out and back; None where that is not known.
        udp_unknown: Why it is not.
        public: Our addresses as STUN servers see them, by the version of IP.
        gateway: The IPv4 gateway, empty for none.
        port_mapping: The protocols by which it would open ports.
        portal: Why a captive portal seems to be there; empty where none does.
        proxies: Of the environment, by scheme, without passwords.
    """

    udp: bool | None = None
    udp_unknown: str = ""
    ipv4: bool = False
    ipv6: bool = False
    public: dict[str, str] = attrs.field(factory=dict)
    mapping: str = Behaviour.UNKNOWN
    filtering: str = Behaviour.UNKNOWN
    gateway: str = ""
    port_mapping: tuple[str, ...] = ()
    portal: str = ""
    proxies: dict[str, str] = attrs.field(factory=dict)
    servers: tuple[Reached, ...] = ()
    web: WebAnswer | None = None


@attrs.define
class _Found:
    """What the tasks of one check have found so far."""

    nats: dict[int, list[NatReport]] = attrs.field(factory=dict)
    names: dict[Address, str] = attrs.field(factory=dict)
    reached: list[Reached] = attrs.field(factory=list)
    mapping: list[str] = attrs.field(factory=list)
    web: WebAnswer | None = None


async def check(known: Known, *, ask_gateway: bool = True) -> Netcheck:
    """Look at everything at once; takes a few seconds at most, and changes nothing."""
    found = _Found()
    router = gateway.default_gateway(_lines("/proc/net/route"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_check_nats, known.stuns, found)
        if router and ask_gateway:
            for protocol in ("PCP", "NAT-PMP", "UPnP"):
                tasks.start_soon(_check_gateway, protocol, router, found)
        for kind, url in (("signal", known.signal_url), *(("relay", each) for each in known.relays)):
            if url:
                tasks.start_soon(_check_tcp, kind, url, found)
        if known.management_url:
            tasks.start_soon(_check_web, known.management_url, known.extra_roots, found)
    return _summed_up(found, router or "")


def _summed_up(found: _Found, router: str) -> Netcheck:
    answered = {
        version: [each for each in reports if each.mapped] for version, reports in found.nats.items() if reports
    }
    v4 = answered.get(4, [])
    best = v4 or answered.get(6, [])
    told = [each.filtering for each in best if each.filtering is not Behaviour.UNKNOWN]
    stuns = [
        Reached("stun", found.names[each.server], each.latency or None, "" if each.mapped else NO_ANSWER)
        for reports in found.nats.values()
        for each in reports
    ]
    order = ("management", "signal", "relay", "stun")
    servers = sorted([*found.reached, *stuns], key=lambda each: (order.index(each.kind), each.server))
    unknown = "" if best else udp_unknown(servers)
    return Netcheck(
        udp=None if unknown else bool(best),
        udp_unknown=unknown,
        ipv4=bool(v4) or _has_way(4),
        ipv6=bool(answered.get(6)) or _has_way(6),
        public={f"IPv{version}": _text(each[0].mapped) for version, each in answered.items() if each},
        mapping=across_servers(best),
        filtering=told[0] if told else Behaviour.UNKNOWN,
        gateway=router,
        port_mapping=tuple(sorted(found.mapping)),
        portal=found.web.portal if found.web else "",
        proxies=proxies(urllib.request.getproxies_environment()),
        servers=tuple(servers),
        web=found.web,
    )


def udp_unknown(servers: Sequence[Reached]) -> str:
    """Returns why nothing is known of UDP, where no STUN server answers; empty where this shows that it is blocked.

    A server that is down answers nothing either: only where others answer, it is UDP that does not get through.
    """
    stuns = [each for each in servers if each.kind == "stun"]
    if not stuns:
        return "no server is known to ask: run it as root, or give --management-url"
    if all(each.error != NO_ANSWER for each in stuns):
        return "; ".join(f"{each.server}: {each.error}" for each in stuns)
    others = [each for each in servers if each.kind != "stun"]
    if any(each.latency is not None for each in others):
        return ""
    if not others:
        return "the STUN server does not answer, and no other server is known that would tell whether it is there"
    return "no server answers at all: this machine has no network, or the servers are down"


def proxies(environment: dict[str, str]) -> dict[str, str]:
    """Proxies by scheme, without their passwords."""
    made = {}
    for scheme, url in environment.items():
        parts = parts_of(url if "://" in url else f"//{url}")
        host = parts.netloc.rpartition("@")[2]
        made[scheme] = url if scheme == "no" else f"{parts.scheme or 'http'}://{host}"
    return made


# -- NATs ------------------------------------------------------------------------------------------------------


async def _check_nats(stuns: Sequence[str], found: _Found) -> None:
    for text in stuns:
        host, port = parted(text)
        try:
            for family, *_, address in await anyio.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
                version = 6 if family == socket.AF_INET6 else 4
                server = (str(address[0]), port)
                if server not in found.names and _has_way(version, server[0]):
                    found.names[server] = text
                    found.nats.setdefault(version, []).append(NatReport(server))
            if text not in found.names.values():
                found.reached.append(Reached("stun", text, None, "no route leads there"))
        except OSError as error:
            found.reached.append(Reached("stun", text, None, f"its name has no address: {words_of(error)}"))
    async with anyio.create_task_group() as tasks:
        for version in found.nats:
            tasks.start_soon(_ask_stuns, version, found)


async def _ask_stuns(version: int, found: _Found) -> None:
    """All servers of one family from one socket, so that what they see can be compared."""
    wildcard = "0.0.0.0" if version == 4 else "::"
    family = FAMILIES[version]
    async with await anyio.create_udp_socket(family=family, local_host=wildcard) as asking:  # type: ignore[arg-type]
        port = int(asking.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610
        now = anyio.current_time()
        all_tests = [
            NatDiscovery(each.server, frozenset([(_source(each.server), port)]), os.urandom, now)
            for each in found.nats[version]
        ]

        async def read() -> None:
            async for data, source in asking:
                for each in all_tests:
                    each.receive(data, (source[0].partition("%")[0], source[1]), anyio.current_time())
                wake.set()

        async with anyio.create_task_group() as tasks:
            wake = anyio.Event()
            tasks.start_soon(read)
            while not all(each.is_done for each in all_tests):
                wake = anyio.Event()
                for each in all_tests:
                    each.handle_timer(anyio.current_time())
                    for data, destination in each.datagrams():
                        with suppress(OSError):
                            await asking.sendto(data, *destination)
                due = min((time for each in all_tests if (time := each.deadline()) is not None), default=None)
                if due is not None:
                    with anyio.move_on_after(max(0.0, due - anyio.current_time())):
                        await wake.wait()
            tasks.cancel_scope.cancel()
    found.nats[version] = [each.report for each in all_tests]


def _has_way(version: int, destination: str = "") -> bool:
    """Whether this host has a route of that family."""
    return bool(_source((destination or ("192.0.2.1" if version == 4 else "2001:db8::1"), 9)))


def _source(destination: Address) -> str:
    """The address that this host would use for that destination; empty where there is no route. Sends nothing."""
    with socket.socket(FAMILIES[6 if ":" in destination[0] else 4], socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(destination)
            return str(probe.getsockname()[0])
        except OSError:
            return ""


# -- everything else -------------------------------------------------------------------------------------------


async def _check_gateway(protocol: str, router: str, found: _Found) -> None:
    questions: dict[str, tuple[bytes, Address, Callable[[bytes], object]]] = {
        "PCP": (gateway.pcp_request(_source((router, 9)) or "0.0.0.0"), (router, gateway.PORT), gateway.speaks_pcp),
        "NAT-PMP": (gateway.NAT_PMP_REQUEST, (router, gateway.PORT), gateway.nat_pmp_address),
        "UPnP": (gateway.SSDP_REQUEST, gateway.SSDP, gateway.is_gateway_device),
    }
    data, destination, says_yes = questions[protocol]
    with suppress(OSError), anyio.move_on_after(GATEWAY_WITHIN):
        async with await anyio.create_udp_socket(family=socket.AF_INET) as asking:
            await asking.sendto(data, *destination)
            async for answer, source in asking:
                if (source[0] == router or protocol == "UPnP") and says_yes(answer):
                    found.mapping.append(protocol)
                    return


async def _check_tcp(kind: str, url: str, found: _Found) -> None:
    parts = parts_of(url)
    began = anyio.current_time()
    error = f"no answer within {CONNECT_WITHIN:.0f} s"
    with anyio.move_on_after(CONNECT_WITHIN):
        try:
            secure = parts.scheme in ("https", "rels")
            async with await anyio.connect_tcp(parts.hostname or "", parts.port or (443 if secure else 80)):
                found.reached.append(Reached(kind, url, anyio.current_time() - began))
                return
        except (OSError, ValueError) as failure:
            error = why(failure)
    found.reached.append(Reached(kind, url, None, error))


async def _check_web(url: str, extra_roots: bytes, found: _Found) -> None:
    found.web = await ask(url, extra_roots)
    found.reached.append(Reached("management", url, found.web.connected_after or None, found.web.error))


def _text(address: Address | None) -> str:
    if address is None:
        return ""
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
