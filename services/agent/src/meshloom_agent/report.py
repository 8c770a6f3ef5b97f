"""What the daemon tells people of itself, gathered where it happens."""

from datetime import UTC, datetime

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import IPInterface, PeerStats
from meshloom_agent.mesh import PathStatus, RemotePeer

IDLE, CONNECTING, CONNECTED, NEEDS_LOGIN, LOGIN_FAILED = "Idle", "Connecting", "Connected", "NeedsLogin", "LoginFailed"


@attrs.define
class ServerReport:
    """One server as seen from here."""

    url: str = ""
    connected: bool = False
    error: str = ""


@attrs.define
class Report:
    """The newest of everything.

    Args:
        waiting_for: While it is not connected: what it waits for, in words.
        failure: Why it could not be connected the last time; empty once it is.
    """

    state: str = IDLE
    waiting_for: str = ""
    failure: str = ""
    management: ServerReport = attrs.field(factory=ServerReport)
    signal: ServerReport = attrs.field(factory=ServerReport)
    addresses: tuple[IPInterface, ...] = ()
    fqdn: str = ""
    public_key: str = ""
    kernel: bool = False
    listen_port: int = 0
    lazy: bool = False


@attrs.frozen
class PeerReport:
    """One peer: what the map, the path and WireGuard say of it."""

    key: PublicKey
    remote: RemotePeer
    path: PathStatus
    stats: PeerStats
    since: datetime


def wall_clock(moment: float, now: float) -> datetime:
    """A moment of the monotonic clock as a date."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - (now - moment), UTC)
