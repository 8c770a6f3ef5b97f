"""Which router leads out, from the kernel's table of routes."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

import attrs


@attrs.frozen
class Router:
    """The router of the best default route.

    Args:
        address: The router's.
        link: The network that it is reached in, as the routes of its interface have it; None where none has.
    """

    address: IPv4Address
    link: IPv4Network | None = None


@attrs.frozen(order=True)
class _Route:
    metric: int
    network: IPv4Network
    gateway: IPv4Address
    interface: str


def default_router(lines: Iterable[str]) -> Router | None:
    """Finds the router in the lines of ``/proc/net/route`` (proc(5)); None where there is none."""
    routes = [route for line in lines if (route := _parse(line)) is not None]
    ways = [route for route in routes if not route.network.prefixlen and int(route.gateway)]
    if not ways:
        return None
    best = min(ways, key=lambda route: (route.metric, str(route.gateway)))
    links = [
        route.network
        for route in routes
        if route.interface == best.interface and not int(route.gateway) and best.gateway in route.network
    ]
    return Router(best.gateway, max(links, key=lambda network: network.prefixlen, default=None))


def default_gateway(lines: Iterable[str]) -> str | None:
    """The address of the router in the lines of ``/proc/net/route``; None where there is none."""
    router = default_router(lines)
    return str(router.address) if router is not None else None


def _parse(line: str) -> _Route | None:
    try:
        interface, destination, gateway, _, _, _, metric, mask = line.split()[:8]
        network = IPv4Network((_address(destination), str(_address(mask))))
        return _Route(int(metric), network, _address(gateway), interface)
    except (ValueError, OverflowError):
        return None


def _address(text: str) -> IPv4Address:
    return IPv4Address(int(text, 16).to_bytes(4, "little"))
