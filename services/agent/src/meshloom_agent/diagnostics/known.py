"""Which servers to look at: as the running daemon tells, or as its files do, or as is given by hand."""

from pathlib import Path
from urllib.parse import urlsplit

import attrs

from meshloom.errors import MeshError
from meshloom.rpc import diagnostics_pb2 as pb

STUN_PORT = 3478


@attrs.frozen
class Known:
    """What is known of this machine's mesh.

    Args:
        stuns: ``host:port`` of each.
        daemon_version: Empty where no daemon runs.
        extra_roots: Certificates (PEM) trusted besides the system's.
    """

    management_url: str = ""
    signal_url: str = ""
    stuns: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    interface: str = "ml0"
    mtu: int = 0
    listen_port: int = 0
    overlay: tuple[str, ...] = ()
    state_dir: str = ""
    daemon_version: str = ""
    extra_roots: bytes = attrs.field(default=b"", repr=False)

    def at(self, management_url: str) -> "Known":
        """The same with another server, if one is given; where nothing tells its STUN server, the usual is tried."""
        made = self
        if management_url and management_url != self.management_url:
            made = attrs.evolve(self, management_url=management_url, signal_url="", stuns=(), relays=())
        host = urlsplit(made.management_url).hostname
        if host and not made.stuns:
            made = attrs.evolve(made, stuns=(joined(host, STUN_PORT),))
        return made

    def completed(self, other: "Known") -> "Known":
        """The same with what another source knows of the same server besides."""
        if other.management_url != self.management_url:
            return self
        more = {
            name: getattr(other, name)
            for name in ("signal_url", "stuns", "relays", "overlay")
            if not getattr(self, name)
        }
        return attrs.evolve(self, **more)


def from_daemon(told: pb.ServersResponse) -> Known:
    """As the daemon tells."""
    return Known(
        told.management_url,
        told.signal_url,
        tuple(told.stuns),
        tuple(told.relays),
        told.interface,
        told.mtu,
        told.listen_port,
        tuple(told.overlay),
        told.state_dir,
        told.version,
        told.extra_roots,
    )


def from_files(state_dir: Path) -> Known:
    """As the files of a daemon that does not run tell; what cannot be read is not known."""
    from meshloom_agent.channel import ServerAddress
    from meshloom_agent.files import StateDir
    from meshloom_agent.network import own_address, signal_address, stun_servers

    made = Known(state_dir=str(state_dir))
    if not state_dir.is_dir():
        return made
    try:
        files = StateDir(state_dir)
        settings, kept = files.settings(), files.last_map()
    except MeshError:
        return made
    made = attrs.evolve(
        made,
        management_url=settings.management_url,
        interface=settings.interface,
        mtu=settings.mtu,
        listen_port=settings.port,
    )
    if kept is None:
        return made
    signal: ServerAddress | None = signal_address(kept.netbirdConfig)
    try:
        overlay = tuple(str(each.network) for each in own_address(kept.NetworkMap.peerConfig).addresses)
    except MeshError:
        overlay = ()
    return attrs.evolve(
        made,
        signal_url=signal.url if signal else "",
        stuns=tuple(joined(*each) for each in stun_servers(kept.netbirdConfig)),
        relays=tuple(kept.netbirdConfig.relay.urls),
        overlay=overlay,
    )


def joined(host: str, port: int) -> str:
    """``host:port``, with brackets where they are needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parted(text: str) -> tuple[str, int]:
    """The host and the port of what :func:`joined` made."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
