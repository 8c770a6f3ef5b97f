"""WireGuard in the kernel, configured over netlink."""

import os
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, suppress

import attrs

from meshloom import Backend, hookimpl
from meshloom.tunnel import Tunnel, TunnelContext

LOADED = "/sys/module/wireguard"


@attrs.frozen
class Options:
    """The table ``[tunnel.kernel]``: there is nothing to choose."""


def _probe() -> str | None:
    """Only looks at files: asking the kernel itself, even for the name, would make it load the module."""
    if not os.path.isdir(LOADED):  # noqa: PTH112 - probes import as little as they can
        release = os.uname().release
        if not _can_be_loaded(f"/lib/modules/{release}"):
            return f"the kernel {release} has no WireGuard: no module wireguard is loaded or in /lib/modules"
    from meshloom_linux.permission import lacks_permission

    return lacks_permission()


def _can_be_loaded(modules: str) -> bool:
    with suppress(OSError), open("/proc/sys/kernel/modules_disabled") as disabled:  # noqa: PTH123
        if disabled.read().strip() == "1":
            return False
    for listing in ("modules.dep", "modules.builtin"):
        with suppress(OSError), open(f"{modules}/{listing}") as lines:  # noqa: PTH123
            if any("/wireguard.ko" in line.partition(":")[0] for line in lines):
                return True
    return False


def _open(options: Options, context: TunnelContext) -> AbstractAsyncContextManager[Tunnel]:
    from meshloom_tunnel_kernel.tunnel import open_kernel

    return open_kernel(options, context)


@hookimpl
def meshloom_tunnels() -> Iterable[Backend[TunnelContext, Tunnel]]:
    """The kernel's own device, before any program's."""
    return [Backend("kernel", Options, _open, _probe, rank=10)]
