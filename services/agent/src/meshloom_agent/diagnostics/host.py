"""What the kernel says of this host's network: interfaces, routes, rules; nothing is changed."""

import json
import shutil
import socket
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import attrs

from meshloom.tunnel import IPNetwork

UNICAST = 1
PROGRAM_WITHIN = 5.0
LONGEST_RULESET = 4 << 20


@attrs.frozen
class Interface:
    """One interface.

    Args:
        kind: As netlink names it, such as ``wireguard`` or ``tun``; empty for hardware.
        addresses: With their prefix lengths.
    """

    name: str
    kind: str = ""
    mtu: int = 0
    up: bool = True
    addresses: tuple[str, ...] = ()


@attrs.frozen
class Route:
    """One route for single destinations."""

    network: IPNetwork
    interface: str
    gateway: str = ""
    table: int = 254
    metric: int = 0


@attrs.frozen
class HostNetwork:
    """All of it.

    Args:
        ruleset: What ``nft -j list ruleset`` prints, None where it could not be asked for.
        legacy_tables: Tables of the old iptables that are in use.
    """

    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[str, ...] = ()
    ruleset: list[dict[str, Any]] | None = None
    legacy_tables: tuple[str, ...] = ()
    resolv_conf: str = ""


def gather_network() -> HostNetwork:
    """Look at everything; what may not be looked at stays out."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        names = {link["index"]: str(link.get("ifname")) for link in netlink.get_links()}
        addresses: dict[int, list[str]] = {}
        for message in netlink.get_addr():
            text = message.get("local") or message.get("address")
            addresses.setdefault(message["index"], []).append(f"{text}/{message['prefixlen']}")
        interfaces = tuple(_interface(link, addresses) for link in netlink.get_links())
        routes = tuple(_route(each, names) for each in netlink.get_routes() if each["type"] == UNICAST)
        rules = tuple(_rule(each) for family in (2, 10) for each in netlink.get_rules(family=family))
    return HostNetwork(
        interfaces,
        routes,
        rules,
        _ruleset(),
        tuple(name for file in ("ip", "ip6") for name in read(f"/proc/net/{file}_tables_names").split()),
        read("/etc/resolv.conf"),
    )


def read(file: str) -> str:
    """A small file; empty where it cannot be read."""
    try:
        with Path(file).open(errors="replace") as stream:
            return stream.read(65536)
    except OSError:
        return ""


def run(*command: str) -> str | None:
    """What a program prints; None where it is not there, fails or takes too long."""
    path = shutil.which(command[0], path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=PROGRAM_WITHIN, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _ruleset() -> list[dict[str, Any]] | None:
    text = run("nft", "-j", "list", "ruleset")
    if not text or len(text) > LONGEST_RULESET:
        return None
    try:
        found = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, list) else None


def _interface(link: Any, addresses: dict[int, list[str]]) -> Interface:
    kind = (link.get("linkinfo") or {}).get("kind") or ""
    return Interface(
        str(link.get("ifname")),
        str(kind),
        int(link.get("mtu") or 0),
        bool(link["flags"] & 1),
        tuple(addresses.get(link["index"], ())),
    )


def _route(route: Any, names: dict[int, str]) -> Route:
    anywhere = "0.0.0.0" if route["family"] == socket.AF_INET else "::"
    network = ip_network(f"{route.get('dst') or anywhere}/{route['dst_len']}", strict=False)
    return Route(
        network,
        names.get(route.get("oif") or 0, ""),
        str(route.get("gateway") or ""),
        int(route.get("table") or route["table"]),
        int(route.get("priority") or 0),
    )


def _rule(rule: Any) -> str:
    said = [f"{rule.get('priority') or 0}:"]
    for name, field in (("from", "src"), ("to", "dst"), ("fwmark", "fwmark"), ("iif", "iifname"), ("oif", "oifname")):
        value = rule.get(field)
        if value:
            said.append(f"{name} {value:#x}" if isinstance(value, int) else f"{name} {value}")
    return " ".join([*said, f"lookup {rule.get('table') or 0}"])
