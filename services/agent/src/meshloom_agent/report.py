"""What the daemon tells people of itself, gathered where it happens."""

import logging
from collections import Counter
from datetime import UTC, datetime

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import IPInterface, PeerStats
from meshloom_agent.mesh import PathStatus, RemotePeer

_log = logging.getLogger(__name__)

PORT = "port"
"""The part of what is refused that says which UDP port is not to be had."""
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
        put_back: How often something else had changed what the agent made on this host, and it was put back.
    """

    sent: Counter[str] = attrs.field(factory=Counter)
    received: Counter[str] = attrs.field(factory=Counter)
    lost: Counter[str] = attrs.field(factory=Counter)
    failures: int = 0
    handshakes: int = 0
    maps: int = 0
    refused_maps: int = 0
    refused_relays: int = 0
    put_back: int = 0


@attrs.define
class Report:
    """The newest of everything.

    Args:
        waiting_for: While it is not connected: what it waits for, in words.
        failure: Why it could not be connected the last time; empty once it is.
        relays: The relays and TURN servers in use, or that should be.
        stuns: The STUN servers that management told, by host and port.
        counters: Go on when everything else begins anew.
        not_known: Why management does not know this machine, in its words; empty while it does, or is away.
        refused: What management said and this agent does not do, by the part of it that was refused.
        disturbed: What on this host is not as the agent made it, and why it is not put back, by its part.
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
    not_known: str = ""
    refused: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    disturbed: dict[str, str] = attrs.field(factory=dict)

    def refuse(self, part: str, texts: tuple[str, ...]) -> None:
        """Notes what is refused of one part of what management says; it takes the place of what was noted before."""
        if self.refused.get(part, ()) != texts:
            for text in texts:
                _log.error("%s: %s", part, text)
        self.refused[part] = texts

    def disturb(self, part: str, text: str) -> None:
        """Notes what of a part of this host is not as it should be; empty where it is."""
        if self.disturbed.get(part, "") == text:
            return
        if text:
            _log.error("%s: %s", part, text)
            self.disturbed[part] = text
        else:
            _log.info("%s is as it should be again", part)
            del self.disturbed[part]
        self.progress()

    def progress(self) -> None:
        """Brings the state up to date with the servers."""
        missing = [
            f"{name} at {server.url}"
            for name, server in (("signal", self.signal), ("management", self.management))
            if not server.connected
        ]
        self.waiting_for = " and ".join(missing)
        self.state = NEEDS_LOGIN if self.not_known else CONNECTING if missing or self.disturbed else CONNECTED
        if not missing:
            self.failure = ""

    @property
    def port_taken(self) -> tuple[str, ...]:
        """Why WireGuard listens on another port than the one that was asked for; empty where it does not."""
        return self.refused.get(PORT, ())

    @property
    def warnings(self) -> list[str]:
        """What a person should know, in words."""
        return [text for texts in self.refused.values() for text in texts]

    @property
    def trouble(self) -> str:
        """Why it is not connected as it should be; empty where nothing failed."""
        if self.not_known:
            return f"management does not know this machine: {self.not_known}; it is still asked, and the mesh stays"
        return "; ".join(f"{part}: {text}" for part, text in self.disturbed.items()) or self.failure

    def renewed(self, state: str = IDLE, failure: str = "") -> "Report":
        """One that knows nothing yet."""
        return Report(state=state, failure=failure, counters=self.counters)


@attrs.frozen
class PeerReport:
    """One peer: what the map, the path and WireGuard say of it.

    Args:
        relay: The relay that carries its packets now, empty on a direct path.
        transport: What carries them to the relay.
        last_seen: Since when it is away; None where it is not, or that is not known.
    """

    key: PublicKey
    remote: RemotePeer
    path: PathStatus
    stats: PeerStats
    since: datetime
    relay: str = ""
    transport: str = ""
    last_seen: datetime | None = None


def wall_clock(moment: float, now: float) -> datetime:
    """A moment of the monotonic clock as a date."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - (now - moment), UTC)
