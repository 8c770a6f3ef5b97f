"""A check of the network as text and as JSON."""

from typing import Any

import attrs

from meshloom.protocol.nat_discovery import Behaviour
from meshloom.text import LONGEST_LINE, printable
from meshloom_agent.diagnostics.netcheck import Netcheck

MEANING = {
    Behaviour.NONE: "no NAT: others reach this machine where no firewall stands in between",
    Behaviour.ENDPOINT_INDEPENDENT: "direct paths work with most networks",
    Behaviour.NOT_PORT_DEPENDENT: "direct paths work with most networks",
    Behaviour.ADDRESS_DEPENDENT: "direct paths work only with networks that filter loosely",
    Behaviour.ADDRESS_AND_PORT_DEPENDENT: "direct paths work only with networks that filter loosely",
}


def as_value(found: Netcheck) -> dict[str, Any]:
    """For JSON; latencies in seconds."""
    made = attrs.asdict(attrs.evolve(found, web=None))
    del made["web"]
    made["mapping"], made["filtering"] = str(found.mapping), str(found.filtering)
    made["clockSkew"] = found.web.skew if found.web else None
    return made


def meaning(found: Netcheck) -> str:
    """What it means for direct paths, in a sentence."""
    if found.udp is None:
        return f"unknown: {found.udp_unknown}"
    if not found.udp:
        return "UDP does not come through: all paths need a relay over TCP"
    return MEANING.get(Behaviour(found.mapping), "no server here can tell how the NAT maps")


def as_text(found: Netcheck) -> str:
    """For people."""
    values = [
        ("UDP", "unknown" if found.udp is None else "yes" if found.udp else "no"),
        ("IPv4", _family(found.public.get("IPv4"), there=found.ipv4)),
        ("IPv6", _family(found.public.get("IPv6"), there=found.ipv6)),
        ("NAT mapping", str(found.mapping)),
        ("NAT filtering", str(found.filtering)),
        ("Direct paths", meaning(found)),
        ("Port mapping", ", ".join(found.port_mapping) or "none"),
        ("Captive portal", found.portal or "none"),
        ("Proxy", ", ".join(f"{scheme}: {url}" for scheme, url in sorted(found.proxies.items())) or "none"),
    ]
    lines = [f"{name}: {value}" for name, value in values]
    lines.append("Servers:")
    for each in found.servers:
        said = f"{each.latency * 1000:.1f} ms" if each.latency is not None else each.error or "reached"
        lines.append(f"  {each.kind} {each.server}: {said}")
    if not found.servers:
        lines.append("  none is known: give --management-url")
    return "\n".join(printable(line, LONGEST_LINE) for line in lines)


def _family(public: str | None, *, there: bool) -> str:
    if public:
        return f"yes, seen as {public}"
    return "yes, but no STUN server was reached" if there else "no"
