"""What the doctor judges by, gathered once; each check then is a function of it."""

import os
import socket
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import attrs

from meshloom import __version__
from meshloom.errors import MeshError, words_of
from meshloom.inventory import Offer, offers
from meshloom.service import installed_plugins
from meshloom_agent.diagnostics.host import HostNetwork, gather_network, read, run
from meshloom_agent.diagnostics.known import Known, parted
from meshloom_agent.diagnostics.netcheck import Netcheck, check
from meshloom_agent.diagnostics.path_mtu import PathMtu, probe
from meshloom_linux.ipv6 import ipv6_objection

DEFAULT_MTU = 1280
LOOK_UP_WITHIN = 10.0
WIREGUARD_HEADER = 32
"""Bytes of a data message besides the packet that it carries."""


@attrs.frozen
class StateFolder:
    """The daemon's folder.

    Args:
        mode: Permissions; -1 where there is no folder, or it may not be looked at.
        free: Bytes that can be written.
    """

    path: str = ""
    mode: int = -1
    free: int = 0
    writable: bool = False


@attrs.frozen
class Facts:
    """Everything.

    Args:
        daemon_trouble: Why the daemon does not answer; empty where it does.
        plugin_trouble: Why the plugins cannot be loaded; empty where they can.
        state: The daemon's, such as ``Connected``.
        waiting: What it waits for, or why it failed.
        no_ipv6: Why the interface can have no IPv6 address; empty where it can.
        warnings: What management said and the daemon does not do.
        names: Of the servers: the error of looking each up, empty where it has an address.
    """

    known: Known = attrs.field(factory=Known)
    version: str = __version__
    daemon_trouble: str = ""
    state: str = ""
    waiting: str = ""
    warnings: tuple[str, ...] = ()
    is_root: bool = False
    has_tun: bool = True
    has_module: bool = True
    no_ipv6: str = ""
    wireguard_go: str = ""
    plugin_trouble: str = ""
    tunnels: tuple[Offer, ...] = ()
    transports: tuple[Offer, ...] = ()
    folder: StateFolder = attrs.field(factory=StateFolder)
    network: HostNetwork = attrs.field(factory=HostNetwork)
    names: dict[str, str] = attrs.field(factory=dict)
    netcheck: Netcheck = attrs.field(factory=Netcheck)
    path: PathMtu | None = None


async def gather(known: Known, trouble: str = "", *, ask_gateway: bool = True) -> Facts:
    """Look at all of it; takes some seconds."""
    facts = await anyio.to_thread.run_sync(_gather_host, known, trouble)
    names = await _look_up(known)
    found = await check(known, ask_gateway=ask_gateway)
    path = None
    if found.udp:
        answering = next(each.server for each in found.servers if each.kind == "stun" and not each.error)
        path = await probe(*parted(answering), tunnel_mtu(facts) + WIREGUARD_HEADER)
    return attrs.evolve(facts, names=names, netcheck=found, path=path)


def tunnel_mtu(facts: Facts) -> int:
    """The tunnel's as it is, as it is set, or as it would be."""
    there = [each.mtu for each in facts.network.interfaces if each.name == facts.known.interface]
    return (there[0] if there else 0) or facts.known.mtu or DEFAULT_MTU


def _gather_host(known: Known, trouble: str) -> Facts:
    try:
        network = gather_network()
    except OSError:  # no netlink, as in some containers
        network = HostNetwork(resolv_conf=read("/etc/resolv.conf"))
    release = os.uname().release
    modules = read(f"/lib/modules/{release}/modules.builtin") + read(f"/lib/modules/{release}/modules.dep")
    plugin_trouble, installed = "", list[Offer]()
    try:
        installed = offers(installed_plugins())
    except MeshError as error:
        plugin_trouble = str(error)
    return Facts(
        known=known,
        plugin_trouble=plugin_trouble,
        daemon_trouble=trouble,
        is_root=os.geteuid() == 0,
        has_tun=Path("/dev/net/tun").exists(),
        has_module=Path("/sys/module/wireguard").exists() or "/wireguard.ko" in modules,
        no_ipv6=ipv6_objection(known.interface),
        wireguard_go=(run("wireguard-go", "--version") or "").partition("\n")[0].strip(),
        tunnels=tuple(each for each in installed if each.kind == "tunnel"),
        transports=tuple(each for each in installed if each.kind == "transport"),
        folder=_folder(known.state_dir),
        network=network,
    )


def _folder(path: str) -> StateFolder:
    try:
        mode = Path(path).stat().st_mode & 0o777 if path else -1
        space = os.statvfs(path) if path else None
    except OSError:
        return StateFolder(path)
    free = space.f_bavail * space.f_frsize if space else 0
    return StateFolder(path, mode, free, os.access(path, os.W_OK) if path else False)


async def _look_up(known: Known) -> dict[str, str]:
    urls = [url for url in (known.management_url, known.signal_url, *known.relays) if url]
    hosts = {urlsplit(url).hostname or "" for url in urls} | {parted(each)[0] for each in known.stuns}
    found: dict[str, str] = {}

    async def look_up(host: str) -> None:
        found[host] = f"no answer within {LOOK_UP_WITHIN:.0f} s"
        with anyio.move_on_after(LOOK_UP_WITHIN):
            try:
                await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                found[host] = ""
            except (OSError, UnicodeError) as error:
                found[host] = words_of(error)

    async with anyio.create_task_group() as tasks:
        for host in hosts:
            if host and not _is_address(host):
                tasks.start_soon(look_up, host)
    return found


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
