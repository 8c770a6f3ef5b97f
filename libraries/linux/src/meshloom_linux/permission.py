"""Whether this process may make and configure network devices; imports nothing, for probes."""

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
NEEDED = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW


def lacks_permission() -> str | None:
    """What is missing (capabilities(7)), or None."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - probes import as little as they can
        effective = next((int(line.split()[1], 16) for line in status if line.startswith("CapEff:")), 0)
    return None if effective & NEEDED == NEEDED else "it needs root, or CAP_NET_ADMIN and CAP_NET_RAW"
