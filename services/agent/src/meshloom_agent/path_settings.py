"""Which paths are taken: what users say with ``up``, what the daemon's environment says, and what follows from both."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import attrs

from meshloom.config.convert import duration
from meshloom.errors import ConfigError, ProtocolError
from meshloom.protocol.ice import Timers
from meshloom.rpc import daemon_pb2 as pb
from meshloom.transport import RelayAddress
from meshloom_agent.files import AgentSettings
from meshloom_agent.mesh import MeshOptions
from meshloom_agent.relays import NamedTransport

RELAY_TRANSPORTS = ("auto", "quic", "ws", "prefer-quic", "prefer-ws")
MOST_EXTERNAL = 16
ICE_TIMERS = {
    "NB_ICE_KEEP_ALIVE_INTERVAL_SEC": "keepalive",
    "NB_ICE_DISCONNECTED_TIMEOUT_SEC": "disconnected",
    "NB_ICE_FAILED_TIMEOUT_SEC": "failed",
    "NB_ICE_RELAY_ACCEPTANCE_MIN_WAIT_SEC": "relayed_patience",
}
SAME = {
    "force_relay": "force_relay",
    "relay_transport": "relay_transport",
    "port_mapping": "port_mapping",
    "lazyConnectionEnabled": "lazy",
}
OPPOSITE = {"no_relay": "relays", "disable_ipv6_discovery": "ipv6_discovery"}
"""Fields of requests, and of the settings that say the same, and the opposite."""
LONGEST_TIMER = 3600.0
IDLE = "NB_LAZY_CONN_INACTIVITY_THRESHOLD"
SHORTEST_IDLE = timedelta(minutes=1)
TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def check(settings: AgentSettings) -> None:
    """Whether what was said of paths can be.

    Raises:
        ConfigError: It cannot; names the option.
    """
    if settings.force_relay and not settings.relays:
        raise ConfigError("--force-relay and --no-relay exclude each other: no path would be left")
    if settings.relay_transport not in RELAY_TRANSPORTS:
        raise ConfigError(
            f"--relay-transport {settings.relay_transport!r}: unknown; one of {', '.join(RELAY_TRANSPORTS)}"
        )
    if len(settings.external_ips) > MOST_EXTERNAL:
        raise ConfigError(f"--external-ip-map: {len(settings.external_ips)} addresses; at most {MOST_EXTERNAL}")
    for text in settings.external_ips:
        try:
            ip_address(text.partition("/")[0])
        except ValueError:
            raise ConfigError(f"--external-ip-map {text!r}: no IP address; write OUTER or OUTER/INNER") from None
    for url in settings.home_relays:
        try:
            RelayAddress.parse(url)
        except ProtocolError as error:
            raise ConfigError(f"--home-relay-servers {error}") from error


def path_fields(request: pb.LoginRequest) -> dict[str, Any]:
    """The fields of the settings that a request gives of it."""
    given: dict[str, Any] = {}
    if request.natExternalIPs or request.cleanNATExternalIPs:
        given["external_ips"] = tuple(request.natExternalIPs)
    if request.HasField("home_relays"):
        given["home_relays"] = parted(request.home_relays)
    for field, name in SAME.items():
        if request.HasField(field):
            given[name] = getattr(request, field)
    for field, name in OPPOSITE.items():
        if request.HasField(field):
            given[name] = not getattr(request, field)
    return given


def in_environment(settings: AgentSettings, environment: Mapping[str, str]) -> AgentSettings:
    """The settings with what the daemon's environment says: it goes first, as an administrator's word.

    Raises:
        ConfigError: A variable's value cannot be.
    """
    given: dict[str, Any] = {}
    if (force := _truth(environment, "NB_FORCE_RELAY")) is not None:
        given["force_relay"] = force
        given["relays"] = settings.relays or force
    if (lazy := _truth(environment, "NB_LAZY_CONN")) is not None:
        given["lazy"] = lazy
    if (off := _truth(environment, "NB_DISABLE_NAT_MAPPER")) is not None:
        given["port_mapping"] = not off
    if servers := environment.get("NB_HOME_RELAY_SERVERS"):
        given["home_relays"] = parted(servers)
    if transport := environment.get("NB_RELAY_TRANSPORT"):
        given["relay_transport"] = transport
    made = attrs.evolve(settings, **given)
    try:
        check(made)
    except ConfigError as error:
        raise ConfigError(f"the daemon's environment: {error}") from error
    return made


def mesh_options(settings: AgentSettings, environment: Mapping[str, str]) -> MeshOptions:
    """What the mesh is told of it.

    Raises:
        ConfigError: A variable's value cannot be.
    """
    timers: dict[str, Any] = {
        field: _seconds(environment, name) for name, field in ICE_TIMERS.items() if environment.get(name)
    }
    return MeshOptions(
        idle_after=_idle_after(environment) if environment.get(IDLE) else MeshOptions().idle_after,
        timers=attrs.evolve(Timers(), **timers),
        relays=settings.relays,
        force_relay=settings.force_relay,
        turn_only=bool(_truth(environment, "NB_ICE_FORCE_RELAY_CONN")),
        ipv6=settings.ipv6_discovery,
    )


def relay_transports(transports: Sequence[NamedTransport], wanted: str) -> list[NamedTransport]:
    """Those to reach relays by, in order; *wanted* is one of ``RELAY_TRANSPORTS``."""
    if wanted == "auto":
        return list(transports)
    first = wanted.removeprefix("prefer-")
    of_kind = [each for each in transports if (each.name == "quic") is (first == "quic")]
    return of_kind if wanted == first else of_kind + [each for each in transports if each not in of_kind]


def parted(text: str) -> tuple[str, ...]:
    """A list that commas part."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _truth(environment: Mapping[str, str], name: str) -> bool | None:
    text = environment.get(name, "").strip().lower()
    if text and text not in TRUTH:
        raise ConfigError(f"{name}={environment[name]!r} in the daemon's environment: write on or off")
    return TRUTH.get(text)


def _idle_after(environment: Mapping[str, str]) -> float:
    """In seconds; a number alone is minutes, as it is to NetBird."""
    text = environment[IDLE].strip()
    try:
        value = duration(f"{text}m" if text.isdecimal() else text)
    except ValueError:
        value = timedelta()
    if value < SHORTEST_IDLE:
        raise ConfigError(f"{IDLE}={environment[IDLE]!r} in the daemon's environment: a time such as 30m, at least 1m")
    return value.total_seconds()


def _seconds(environment: Mapping[str, str], name: str) -> float:
    try:
        value = float(environment[name])
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST_TIMER:
        raise ConfigError(
            f"{name}={environment[name]!r} in the daemon's environment: seconds, more than 0, at most {LONGEST_TIMER:g}"
        )
    return value
