"""What this machine tells management of itself."""

import os
import platform
import socket
from pathlib import Path

import anyio.to_thread

from meshloom.rpc import management_pb2 as pb
from meshloom.text import readable
from meshloom_agent.files import AgentSettings
from meshloom_linux.ipv6 import ipv6_objection

COMPATIBLE_VERSION = "0.77.1"
"""The release of the protocol's own agent whose behaviour ours matches; servers decide by it what they send."""
SOURCE_PREFIXES, IPV6_OVERLAY = 1, 2


async def system_meta(hostname: str, *, ipv6: bool) -> pb.PeerSystemMeta:
    """Facts of the operating system; without the overlay's own addresses."""
    return await anyio.to_thread.run_sync(_gather, hostname, ipv6)


def wants_ipv6(settings: AgentSettings) -> bool:
    """Tells whether this machine shall have an IPv6 address in the mesh, and can."""
    return settings.ipv6 and not ipv6_objection(settings.interface)


def _gather(hostname: str, ipv6: bool) -> pb.PeerSystemMeta:
    release = _os_release()
    system = os.uname()
    meta = pb.PeerSystemMeta(
        hostname=readable(hostname or socket.gethostname()),
        goOS="linux",
        kernel=readable(system.sysname),
        core=readable(release.get("VERSION_ID", "")),
        platform=readable(platform.machine()),
        OS=readable(release.get("NAME", system.sysname)),
        OSVersion=readable(release.get("VERSION_ID", "")),
        kernelVersion=readable(system.release),
        netbirdVersion=COMPATIBLE_VERSION,
        sysProductName=_dmi("product_name"),
        sysManufacturer=_dmi("sys_vendor"),
    )
    meta.flags.disableIPv6 = not ipv6
    meta.capabilities.extend([SOURCE_PREFIXES, IPV6_OVERLAY] if ipv6 else [SOURCE_PREFIXES])  # type: ignore[list-item]
    return meta


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except (OSError, ValueError):  # a file that is not text is as good as none
        return {}


def _dmi(name: str) -> str:
    try:
        text = Path(f"/sys/class/dmi/id/{name}").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isascii() else ""
