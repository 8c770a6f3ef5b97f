"""WireGuard in the wireguard-go program (or another with the same control socket)."""

import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import attrs

from meshloom import Backend, hookimpl
from meshloom.config import key
from meshloom.tunnel import Tunnel, TunnelContext


@attrs.frozen
class Options:
    """The table ``[tunnel.wireguard-go]``."""

    program: str = key(default="wireguard-go", help="The program, a name in PATH or a path.")


def _probe() -> str | None:
    if shutil.which("wireguard-go") is None:
        return "the wireguard-go program is not installed (Debian: apt-get install wireguard-go)"
    if not os.path.exists("/dev/net/tun"):  # noqa: PTH110 - probes import as little as they can
        return "/dev/net/tun does not exist"
    from meshloom_linux.permission import lacks_permission

    return lacks_permission()


def _open(options: Options, context: TunnelContext) -> AbstractAsyncContextManager[Tunnel]:
    from meshloom_tunnel_wireguard_go.tunnel import open_wireguard_go

    return open_wireguard_go(options, context)


@hookimpl
def meshloom_tunnels() -> Iterable[Backend[TunnelContext, Tunnel]]:
    """The userspace device; the kernel's own is better where there is one."""
    return [Backend("wireguard-go", Options, _open, _probe, rank=20)]
