"""The relay of a running server: a machine that is removed through the API leaves it at once."""

import time

import anyio
import pytest

from meshloom.protocol.relay import relay_peer_id
from meshloom.protocol.relay_client import Authenticated, PeerOffline, PeerOnline, RelayClient, RelayLost
from meshloom.protocol.relay_token import join_token
from meshloom.transport import Receiver, RelayAddress, TransportContext
from meshloom_transport_picows import meshloom_transports as websocket
from meshloom_transport_quic import meshloom_transports as quic

pytestmark = [pytest.mark.anyio, pytest.mark.mesh]

SOON = 3.0
"""Seconds: none of the relay's own deadlines ends before."""


class Peer(Receiver):
    """A machine's connection to the relay."""

    def __init__(self, machine, token):
        self.machine, self.token = machine, token
        self.id = relay_peer_id(machine.key.public)
        self.client = RelayClient(self.id, token, time.monotonic())
        self.events, self.connection = [], None

    async def connect(self, transport, url):
        self.connection = await transport.connect(RelayAddress.parse(url), self)
        self.act()
        return self

    def message_received(self, message):
        self.client.receive_message(message, time.monotonic())
        self.act()

    def connection_lost(self, reason):
        self.client.connection_lost(reason, time.monotonic())
        self.events += self.client.events()

    def open(self, other):
        self.client.open([other.id], time.monotonic())
        self.act()

    def act(self):
        for message in self.client.messages_to_send():
            self.connection.send(message)
        self.events += self.client.events()

    def was_told(self, kind):
        return any(isinstance(event, kind) for event in self.events)


async def until(holds, within=20.0):
    with anyio.fail_after(within):
        while not holds():
            await anyio.sleep(0.005)


@pytest.fixture(params=[websocket, quic], ids=["websocket", "quic"])
async def transport(request):
    (backend,) = request.param()
    async with backend.open(backend.options(), TransportContext()) as made:
        yield made


def given(answer, kind):
    """Where the relay is, and the token: good for any peer, as NetBird's clients have it, or for this one alone."""
    relay = answer.netbirdConfig.relay
    if kind == "classic":
        return relay.urls[0], join_token(relay.tokenPayload, relay.tokenSignature)
    return relay.named.urls[0], join_token(relay.named.payload, relay.named.signature)


@pytest.mark.parametrize("kind", ["classic", "named"])
async def test_a_machine_that_is_removed_through_the_api_leaves_the_relay_at_once(program, machine, transport, kind):
    server = program().start().set_up()
    key, peers, urls = server.setup_key(), {}, {}
    for name in ("stays", "goes"):
        made = machine(server.url)
        urls[name], token = given(await made.login(key, name), kind)
        peers[name] = await Peer(made, token).connect(transport, urls[name])
    stays, goes = peers["stays"], peers["goes"]
    await until(lambda: all(peer.was_told(Authenticated) for peer in peers.values()))
    stays.open(goes)
    await until(lambda: stays.was_told(PeerOnline))

    listed = {each["name"]: each["id"] for each in server.api("GET", "/api/peers")[1]}
    status, _ = await anyio.to_thread.run_sync(server.api, "DELETE", f"/api/peers/{listed['goes']}")
    assert status == 200
    await until(lambda: goes.was_told(RelayLost) and stays.was_told(PeerOffline), within=SOON)
    assert not stays.was_told(RelayLost)

    again = await Peer(goes.machine, goes.token).connect(transport, urls["goes"])
    await until(lambda: again.was_told(RelayLost), within=SOON)
    assert not again.was_told(Authenticated), "its token is not good any more"
