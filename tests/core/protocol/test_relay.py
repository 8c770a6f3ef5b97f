"""The relay protocol: bytes as they are on the wire, and both sides of a session against each other."""

import base64
import hashlib
from pathlib import Path

import pytest

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol import relay
from meshloom.protocol.relay import (
    FROM_PEERS,
    FROM_RELAYS,
    Auth,
    AuthResponse,
    Close,
    HealthCheck,
    Kind,
    Packet,
    PeerList,
    decode,
    encode,
    packet_head,
    relay_peer_id,
)
from meshloom.protocol.relay_client import (
    Authenticated,
    PacketReceived,
    PeerOffline,
    PeerOnline,
    RelayClient,
    RelayLost,
)
from meshloom.protocol.relay_session import PeerAnswered, PeerClaims, RelaySession, SessionLost, Unwatched, Watched
from meshloom.protocol.relay_token import RelayToken

KEY = PublicKey.of(bytes(range(32)))
ID, OTHER, THIRD = (relay_peer_id(PublicKey.of(bytes([number]) * 32)) for number in (1, 2, 3))
URL = "rels://relay.example:443"
TOKEN = b"\1" + bytes(32) + b"1764000000"


def malformed():
    for line in Path(__file__).with_name("relay_malformed.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, text = line.partition(": ")
            runs = [part.partition("*") for part in text.replace("-", "").split()]
            data = b"".join(bytes.fromhex(data) * int(times or 1) for data, _, times in runs)
            yield pytest.param(data, id=name)


@pytest.mark.parametrize("data", list(malformed()))
@pytest.mark.parametrize("allowed", [FROM_PEERS, FROM_RELAYS], ids=["from peers", "from relays"])
def test_what_is_no_message_is_refused(data, allowed):
    with pytest.raises(ProtocolError):
        decode(data, allowed)


def test_messages_are_on_the_wire_as_netbirds():
    digest = hashlib.sha256(KEY.text.encode()).digest()
    id = relay_peer_id(KEY)
    assert id == b"sha-" + digest
    assert relay.id_text(id) == "sha-" + base64.b64encode(digest).decode()
    assert encode(Auth(id, b"token")) == bytes.fromhex("01062112a442") + id + b"token"
    assert encode(AuthResponse("rel://a:80")) == b"\1\7rel://a:80"
    assert (encode(Close()), encode(HealthCheck())) == (b"\1\4", b"\1\5")
    assert encode(Packet(id, b"packet")) == b"\1\3" + id + b"packet" == packet_head(id) + b"packet"
    assert encode(PeerList(Kind.SUBSCRIBE, (ID, OTHER))) == b"\1\x08" + ID + OTHER
    assert encode(PeerList(Kind.UNSUBSCRIBE, (ID,))) == b"\1\x09" + ID
    assert encode(PeerList(Kind.ONLINE, (ID,))) == b"\1\x0a" + ID
    assert encode(PeerList(Kind.OFFLINE, (ID,))) == b"\1\x0b" + ID


def test_lists_are_split_at_244_peers():
    ids = [relay.RelayPeerID(b"sha-" + number.to_bytes(32)) for number in range(500)]
    messages = list(relay.encode_lists(Kind.ONLINE, ids))
    assert [len(message) for message in messages] == [8786, 8786, 2 + 12 * 36]
    assert [peer for message in messages for peer in decode(message, FROM_RELAYS).peers] == ids
    assert list(relay.encode_lists(Kind.ONLINE, [])) == []


@pytest.mark.parametrize("message", [Auth(ID, bytes(171)), Packet(ID, bytes(8783)), PeerList(Kind.ONLINE, (ID,) * 250)])
def test_what_is_too_long_is_not_encoded(message):
    with pytest.raises(ProtocolError, match="too long"):
        encode(message)


GOOD = RelayToken(1764000000, 1e9, b"mark")


def session(now=0.0, checked=GOOD):
    return RelaySession(URL, lambda token: checked, now)


def ready(now=0.0):
    """A client and a relay's session that know each other."""
    client, server = RelayClient(ID, TOKEN, now), session(now)
    exchange(client, server, now)
    assert client.events() == []
    assert server.events() == [PeerClaims(ID, GOOD)]
    server.admit(now)
    exchange(client, server, now)
    assert client.events() == [Authenticated(URL)]
    assert server.events() == []
    return client, server


def exchange(client, server, now):
    """Until neither has anything to send."""
    while (up := client.messages_to_send()) + (down := server.messages_to_send()):
        for message in up:
            server.receive_message(message, now)
        for message in down:
            client.receive_message(memoryview(message), now)


def test_a_good_token_is_answered_with_the_relays_url():
    ready()


@pytest.mark.parametrize("reason", ["expired", "wrong secret", "malformed"])
def test_a_bad_token_is_not_answered(reason):
    client, server = RelayClient(ID, TOKEN, 0.0), session(checked=reason)
    exchange(client, server, 0.0)
    assert server.events() == [SessionLost(f"token: {reason}")]
    assert client.events() == []
    client.connection_lost("closed by the other side", 1.0)
    assert client.events() == [RelayLost("closed by the other side")]
    assert client.deadline() is None


@pytest.mark.parametrize("first", [b"\1\5", b"\1\4", b"\1\x08" + ID, packet_head(ID) + b"x", b"rubbish", b""])
def test_who_begins_with_something_else_is_sent_away(first):
    server = session()
    server.receive_message(first, 0.0)
    assert [type(event) for event in server.events()] == [SessionLost]
    assert server.messages_to_send() == []
    server.receive_message(encode(Auth(ID, TOKEN)), 0.0)
    assert server.events() == server.messages_to_send() == []


def test_who_says_nothing_is_sent_away():
    server = session()
    server.handle_timer(server.deadline() - 0.1)
    assert server.events() == []
    server.handle_timer(server.deadline())
    assert server.events() == [SessionLost("no authentication")]
    assert server.deadline() is None


@pytest.mark.parametrize("answer", [b"\1\5", b"\1\x0a" + ID, b"", b"\1\1", b"\1\4"])
def test_a_relay_that_answers_something_else_is_left(answer):
    client = RelayClient(ID, TOKEN, 0.0)
    client.receive_message(answer, 1.0)
    assert [type(event) for event in client.events()] == [RelayLost]


def test_a_relay_that_does_not_answer_is_left():
    client = RelayClient(ID, TOKEN, 0.0)
    client.handle_timer(8.0)
    assert client.events() == [RelayLost("no answer to the token from the relay in time")]


def test_health_checks_keep_both_sides_for_hours():
    client, server = ready()
    now = 0.0
    checks = 0
    while now < 4 * 3600:
        now = min(client.deadline(), server.deadline())
        client.handle_timer(now)
        server.handle_timer(now)
        checks += len(server._out)
        exchange(client, server, now)
        assert client.events() == server.events() == []
    assert checks == 4 * 3600 // 25


def test_a_peer_that_answers_no_health_check_is_lost():
    _, server = ready()
    times = []
    while (now := server.deadline()) is not None:
        server.handle_timer(now)
        times.append(now)
    assert times == [25.0, 30.0, 35.0, 40.0, 45.0]
    assert server.events() == [SessionLost("no health check")]


def test_a_relay_that_sends_no_health_check_is_lost():
    client, _ = ready()
    client.handle_timer(34.9)
    assert client.events() == []
    client.handle_timer(35.0)
    assert client.events() == [RelayLost("no health check from the relay in time")]


def test_a_peer_that_is_asked_for_is_online_when_the_relay_says_so():
    client, server = ready()
    client.open([OTHER, THIRD], 1.0)
    exchange(client, server, 1.0)
    assert server.events() == [Watched((OTHER, THIRD), (OTHER, THIRD))]
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    assert client.events() == [PeerOnline(OTHER)]
    assert client.is_open(OTHER)
    assert not client.is_open(THIRD)
    client.open([OTHER, THIRD], 2.0)
    assert client.messages_to_send() == []


def test_a_peer_that_does_not_come_is_given_up_and_watched_no_longer():
    client, server = ready()
    client.open([OTHER], 1.0)
    exchange(client, server, 1.0)
    while (now := client.deadline()) < 31.0:
        client.handle_timer(now)
        client.messages_to_send()
        assert client.events() == []
    client.handle_timer(31.0)
    assert client.events() == [PeerOffline(OTHER, never_came=True)]
    exchange(client, server, 31.0)
    assert server.events() == [Watched((OTHER,), (OTHER,)), Unwatched((OTHER,))]


def test_a_peer_that_leaves_is_offline_and_may_be_asked_for_again():
    client, server = ready()
    client.open([OTHER], 1.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    client.receive_message(encode(PeerList(Kind.OFFLINE, (THIRD, OTHER, OTHER))), 2.0)
    assert client.events() == [PeerOnline(OTHER), PeerOffline(OTHER)]
    exchange(client, server, 2.0)
    assert server.watched == set()
    client.open([OTHER], 3.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 3.0)
    assert client.events() == [PeerOnline(OTHER)]


def test_nothing_is_said_of_a_peer_that_was_closed():
    client, server = ready()
    client.open([OTHER], 1.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    client.close([OTHER, THIRD], 2.0)
    client.events()
    client.receive_message(encode(PeerList(Kind.OFFLINE, (OTHER,))), 2.0)
    assert client.events() == []
    exchange(client, server, 2.0)
    assert server.events()[-1] == Unwatched((OTHER,))


def test_packets_of_open_peers_need_no_state_machine():
    client, _ = ready()
    message = packet_head(OTHER) + b"packet"
    assert client.packet_source(memoryview(message)) is None
    client.open([OTHER], 1.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    assert client.packet_source(memoryview(message)) == OTHER
    for other in (b"", b"\1\5", packet_head(THIRD) + b"packet", packet_head(OTHER)[:20]):
        assert client.packet_source(other) is None
    client.events()
    client.receive_message(message, 1.0)
    assert client.events() == [PacketReceived(OTHER, b"packet")]


def test_the_first_packet_of_a_peer_waits_until_it_is_asked_for_but_not_for_long():
    client, _ = ready()
    for number in range(3):
        client.receive_message(packet_head(OTHER) + b"%d" % number, 1.0)
    client.receive_message(packet_head(THIRD) + b"x", 1.0)
    client.open([OTHER, THIRD], 2.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 5.9)
    client.receive_message(encode(PeerList(Kind.ONLINE, (THIRD,))), 6.1)
    assert client.events() == [PeerOnline(OTHER), PacketReceived(OTHER, b"0"), PeerOnline(THIRD)]


def test_first_packets_are_kept_of_a_bounded_number_of_peers():
    client, _ = ready()
    for number in range(3000):
        client.receive_message(b"\1\3sha-" + number.to_bytes(32) + b"x", 1.0)
    assert len(client._early) == 1000


def test_either_side_may_end_it():
    client, server = ready()
    client.end(1.0)
    exchange(client, server, 1.0)
    assert server.events() == [SessionLost("closed by the peer")]
    client, server = ready()
    server.end(1.0)
    exchange(client, server, 1.0)
    assert client.events() == [RelayLost("the relay said that it closes")]
    assert server.deadline() is client.deadline() is None


def test_a_peer_may_be_wrong_for_a_while_but_not_for_ever():
    _, server = ready()
    for _ in range(100):
        server.receive_message(b"rubbish", 1.0)
    assert server.events() == []
    server.receive_message(b"rubbish", 1.0)
    assert server.events() == [SessionLost("malformed message")]


def test_one_peer_watches_a_bounded_number_of_others():
    client, server = ready()
    client.open([relay.RelayPeerID(b"sha-" + number.to_bytes(32)) for number in range(12_000)], 1.0)
    exchange(client, server, 1.0)
    assert len(server.watched) == sum(len(event.new) for event in server.events()) == 10_000


def test_one_side_may_make_sure_that_the_other_is_there():
    client, server = ready()
    server.ask(1.0)
    exchange(client, server, 1.0)
    assert server.events() == [PeerAnswered()]
    server.receive_message(encode(HealthCheck()), 2.0)
    assert server.events() == []


def test_a_peer_that_moves_to_another_connection_leaves_this_one_when_it_is_asked():
    client, server = ready()
    client.gives_way = True
    server.ask(1.0)
    exchange(client, server, 1.0)
    assert server.events() == [SessionLost("closed by the peer")]
    assert [type(event) for event in client.events()] == [RelayLost]


def test_a_relay_that_has_not_decided_yet_sends_no_health_check_and_gives_up():
    server = session()
    server.receive_message(encode(Auth(ID, TOKEN)), 0.0)
    server.receive_message(encode(Auth(ID, TOKEN)), 1.0)
    server.receive_message(encode(HealthCheck()), 1.0)
    assert server.events() == [PeerClaims(ID, GOOD)]
    assert server.messages_to_send() == []
    server.handle_timer(server.deadline())
    assert server.events() == [SessionLost("no authentication")]
    server.admit(11.0)
    assert server.messages_to_send() == []


def test_a_token_is_shown_until_it_is_answered_but_not_for_ever():
    client, _ = ready()
    client.show(b"newer", 1.0)
    sent = [(1.0, client.messages_to_send())]
    while (now := client.deadline()) < 30.0:
        client.handle_timer(now)
        sent.append((now, client.messages_to_send()))
    again = [encode(Auth(ID, b"newer"))]
    assert sent == [(1.0, again), (2.0, again), (4.0, again), (8.0, again), (9.0, [])]
    assert client.events() == []
    client.show(b"newest", 30.0)
    assert client.messages_to_send() == [encode(Auth(ID, b"newest"))]
    client.receive_message(encode(AuthResponse(URL)), 30.1)
    assert client.events() == []
    client.show(b"newest", 30.2)
    client.handle_timer(32.0)
    assert client.messages_to_send() == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://relay.example",
        "rel://relay.example\n2026 forged line",
        "rel://relay.example/\x1b[2J",
        "rel://relay.example/\u202e",
        "rel://us er@relay.example",
        "rel://user:word@relay.example",
        "rel://relay.example:99999",
        "rel://" + "a" * 600,
        "rel://[::1%25eth0]:80",
        "rel://a|b",
    ],
)
def test_what_a_relay_says_of_itself_is_an_address_or_it_is_left(url):
    client = RelayClient(ID, TOKEN, 0.0)
    client.receive_message(b"\1\7" + url.encode(), 1.0)
    assert [type(event) for event in client.events()] == [RelayLost]
