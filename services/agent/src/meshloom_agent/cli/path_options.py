"""Options of ``up`` and ``login`` that say which paths are taken."""

from typing import Any

import click

from meshloom_agent.cli.options import option

path_options = [
    option(
        "--external-ip-map",
        multiple=True,
        metavar="OUTER[/INNER]",
        help="Address of a router that hands WireGuard's port on to here, as OUTER or OUTER/INNER with this machine's"
        " address or interface behind it; empty for none.",
    ),
    option("--force-relay/--allow-direct", default=None, help="No direct paths: relays carry everything."),
    option("--no-relay/--allow-relay", default=None, help="No relays of the mesh: direct paths or none."),
    option(
        "--home-relay-servers",
        metavar="URL,...",
        help="Relays instead of those that the server tells of, separated by commas; empty for the server's.",
    ),
    option(
        "--relay-transport",
        type=click.Choice(["auto", "quic", "ws", "prefer-quic", "prefer-ws"]),
        help="How to reach relays: only by one, or by one first. [default: auto]",
    ),
    click.option(
        "--lazy/--no-lazy",
        default=None,
        envvar=["MESHLOOM_LAZY", "NB_LAZY_CONN"],
        show_envvar=True,
        help="Connect to peers only while there is traffic, or always. [default: as the server says]",
    ),
    option("--disable-ipv6-discovery/--enable-ipv6-discovery", default=None, help="No direct paths over IPv6."),
    option(
        "--port-mapping/--no-port-mapping",
        default=None,
        help="Whether to ask the router, by PCP, NAT-PMP or UPnP, to hand WireGuard's port on to here."
        " [default: --port-mapping]",
    ),
]


def login_fields(given: dict[str, Any]) -> dict[str, Any]:
    """What a request to the daemon says of it."""
    external = given["external_ip_map"]
    return {
        "natExternalIPs": [each.strip() for text in external for each in text.split(",") if each.strip()],
        "cleanNATExternalIPs": external == ("",),
        "force_relay": given["force_relay"],
        "no_relay": given["no_relay"],
        "home_relays": given["home_relay_servers"],
        "relay_transport": given["relay_transport"],
        "lazyConnectionEnabled": given["lazy"],
        "disable_ipv6_discovery": given["disable_ipv6_discovery"],
        "port_mapping": given["port_mapping"],
    }
