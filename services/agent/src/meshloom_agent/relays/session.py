"""One session on one relay: a connection, and the protocol spoken on it."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address

import anyio

from meshloom.protocol.relay import HEAD_SIZE, RelayPeerID
from meshloom.protocol.relay_client import (
    Authenticated,
    Event,
    PacketReceived,
    PeerOffline,
    PeerOnline,
    RelayClient,
    RelayLost,
    State,
)
from meshloom.transport import Connection, Receiver
from meshloom_agent.mesh import HomeRelay

Packets = Callable[[RelayPeerID, bytes | memoryview], None]


class Session(Receiver):
    """Made before the connection is; :meth:`begin` it when that stands, and :meth:`run` it.

    Attributes:
        home: How the relay calls itself, once it has accepted us.
        received: Messages that came.
        took: Seconds until the relay accepted us.
        lost: Why the session is over; empty until then.
        over: Set once it is.
    """

    def __init__(self, packets: Packets, changed: Callable[[RelayPeerID, bool], None]) -> None:
        self.connection: Connection | None = None
        self.home: HomeRelay | None = None
        self.lost, self.over = "", anyio.Event()
        self.received, self.took = 0, 0.0
        self._packets, self._changed = packets, changed
        self._client: RelayClient | None = None
        self._began = 0.0
        self._wake = anyio.Event()

    def begin(self, connection: Connection, id: RelayPeerID, token: bytes) -> None:
        """Authenticate on that connection."""
        self.connection, self._began = connection, anyio.current_time()
        self._client = RelayClient(id, token, anyio.current_time())
        self._drain()

    async def run(self, *, until_accepted: bool = False) -> None:
        """Do what time asks for, until the session is over; or until the relay has accepted us."""
        while not self.lost and not (until_accepted and self.home is not None):
            client = self._client
            due = client.deadline() if client is not None else None
            self._wake = anyio.Event()
            with anyio.move_on_after(None if due is None else due - anyio.current_time()):
                await self._wake.wait()
                continue
            if client is not None:
                client.handle_timer(anyio.current_time())
                self._drain()

    def show(self, token: bytes) -> None:
        """Show a newer token, so that the session may go on for longer."""
        if self._client is not None:
            self._client.show(token, anyio.current_time())
            self._drain()

    def give_way(self, *, gives_way: bool) -> None:
        """Whether another connection is about to take this one's place: asked whether it is there, it leaves."""
        if self._client is not None:
            self._client.gives_way = gives_way

    def ask(self, peers: Iterable[RelayPeerID]) -> None:
        """Watch these peers; once more is no error."""
        if self._client is not None and self._client.state is State.READY:
            self._client.open(peers, anyio.current_time())
            self._drain()

    def forget(self, peers: Iterable[RelayPeerID]) -> None:
        """Watch these no longer."""
        if self._client is not None:
            self._client.close(peers, anyio.current_time())
            self._drain()

    def end(self) -> None:
        """Say goodbye and close."""
        if self._client is not None and self.connection is not None:
            self._client.end(anyio.current_time())
            self._drain()
            self.connection.close()
        self._end("left")

    # -- what the connection calls -----------------------------------------------------------------------------

    def message_received(self, message: memoryview) -> None:
        """Packets go their way at once."""
        client = self._client
        self.received += 1
        if client is None:
            return
        peer = client.packet_source(message)
        if peer is not None:
            self._packets(peer, message[HEAD_SIZE:])
            return
        client.receive_message(message, anyio.current_time())
        self._drain()

    def connection_lost(self, reason: str) -> None:
        """It is over."""
        if self._client is not None:
            self._client.connection_lost(reason, anyio.current_time())
            self._drain()
        self._end(reason)

    # -- inside ------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        client, connection = self._client, self.connection
        if client is None or connection is None:
            return
        for message in client.messages_to_send():
            connection.send(message)
        for event in client.events():
            self._act(event, connection)
        self._wake.set()

    def _act(self, event: Event, connection: Connection) -> None:
        match event:
            case Authenticated(url):
                self.took = anyio.current_time() - self._began
                self.home = HomeRelay(url, _packed(connection.remote[0]))
            case PeerOnline(peer):
                self._changed(peer, True)
            case PeerOffline(peer):
                self._changed(peer, False)
            case PacketReceived(peer, payload):
                self._packets(peer, payload)
            case RelayLost(reason):
                self._end(reason)
                connection.close()

    def _end(self, reason: str) -> None:
        self.lost = self.lost or reason
        self.over.set()
        self._wake.set()


def _packed(host: str) -> bytes | None:
    try:
        return ip_address(host).packed
    except ValueError:
        return None
