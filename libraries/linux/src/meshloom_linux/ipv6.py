"""Whether an interface of this host can have IPv6 addresses: some kernels have none, and some hosts switch it off."""

from pathlib import Path

NO_IPV6 = "no IPv6 inside the mesh"
"""Begins what people are told where an interface of the mesh can have no IPv6 address."""
SETTINGS = Path("/proc/sys/net/ipv6")


def ipv6_objection(interface: str) -> str:
    """Returns why an interface of that name can have no IPv6 address; empty where it can.

    An interface that is not there yet gets what is set for new ones.
    """
    if not SETTINGS.is_dir():
        return "this kernel has no IPv6"
    for name in (interface, "default"):
        try:
            is_off = (SETTINGS / "conf" / name / "disable_ipv6").read_text().strip() == "1"
        except OSError:
            continue
        return f"IPv6 is off on this host (net.ipv6.conf.{name}.disable_ipv6 = 1)" if is_off else ""
    return ""
