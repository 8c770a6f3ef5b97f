"""What the daemon tells people of itself, gathered where it happens."""

from collections import Counter
from datetime import UTC, datetime

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import IPInterface, PeerStats
from meshloom_agent.mesh import PathStatus, RemotePeer

IDLE, CONNECTING, CONNECTED, NEEDS_LOGIN = "Idle", "Connecting", "Connected", "NeedsLogin"


@attrs.define
class ServerReport:
    """One server as seen from here."""

    url: str = ""
    connected: bool = False
    error: str = ""


@attrs.frozen
class RelayReport:
    """A relay, or a STUN or TURN server, as seen from here.

    Args:
        error: Why it is not available; empty also while that is not known yet.
        transport: What carries messages to a relay, ``quic`` or ``ws``; empty for other servers.
    """

    uri: str
    available: bool = False
    error: str = ""
    transport: str = ""


@attrs.define
class Counters:
    """What has happened since the daemon started.

    Args:
        sent: Signal messages by their kind, such as ``offer``.
        received: The same of those that came.
        lost: How often the connection to each kind of server (``management``, ``signal``) was lost.
        failures: How often the tunnel or its engine had to be started anew.
        handshakes: Handshakes of WireGuard that were noticed.
        maps: Network maps taken over.
        refused_maps: Network maps that were not.
        refused_relays: Offers and answers whose relay is not the address of one.
    """

    sent: Counter[str] = attrs.field(factory=Counter)
    received: Counter[str] = attrs.field(factory=Counter)
    lost: Counter[str] = attrs.field(factory=Counter)
    failures: int = 0
    handshakes: int = 0
    maps: int = 0
    refused_maps: int = 0
    refused_relays: int = 0


@attrs.define
class Report:
    """The newest of everything.

    Args:
        waiting_for: While it is not connected: what it waits for, in words.
        failure: Why it could not be connected the last time; empty once it is.
        relays: The relays and TURN servers in use, or that should be.
        stuns: The STUN servers that management told, by host and port.
        counters: Go on when everything else begins anew.
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
    relays: tuple[RelayReport, ...] = ()
    stuns: tuple[tuple[str, int], ...] = ()
    counters: Counters = attrs.field(factory=Counters)

    def renewed(self, state: str = IDLE, failure: str = "") -> "Report":
        """One that knows nothing yet."""
        return Report(state=state, failure=failure, counters=self.counters)


@attrs.frozen
class PeerReport:
    """One peer: what the map, the path and WireGuard say of it.

    Args:
        relay: The relay that carries its packets now, empty on a direct path.
        transport: What carries them to the relay.
    """

    key: PublicKey
    remote: RemotePeer
    path: PathStatus
    stats: PeerStats
    since: datetime
    relay: str = ""
    transport: str = ""


def wall_clock(moment: float, now: float) -> datetime:
    """A moment of the monotonic clock as a date."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - (now - moment), UTC)
