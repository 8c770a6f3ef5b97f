"""Which router leads out, from the kernel's table of routes."""

from collections.abc import Iterable
from ipaddress import IPv4Address


def default_gateway(lines: Iterable[str]) -> str | None:
    """The gateway of the best default route in the lines of ``/proc/net/route`` (proc(5)); None where there is none."""
    best: tuple[int, str] | None = None
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        try:
            address = str(IPv4Address(int(fields[2], 16).to_bytes(4, "little")))
            found = (int(fields[6]), address)
        except (ValueError, OverflowError):
            continue
        if address != "0.0.0.0" and (best is None or found < best):
            best = found
    return best[1] if best else None
