"""A transport may lose messages of a session: what was not answered is said again."""

from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import Auth, Kind, PeerList, encode, packet_head, relay_peer_id
from meshloom.protocol.relay_client import Authenticated, PacketReceived, PeerOnline, RelayClient
from meshloom.protocol.relay_session import PeerClaims, RelaySession
from meshloom.protocol.relay_token import RelayToken

ID, OTHER, THIRD = (relay_peer_id(PublicKey.of(bytes([number]) * 32)) for number in (1, 2, 3))
URL = "rels://relay.example:443"
TOKEN = b"\1" + bytes(32) + b"1764000000"


GOOD = RelayToken(1764000000, 1e9, b"mark")


def session():
    return RelaySession(URL, lambda token: GOOD, 0.0)


def ready():
    """A client and a relay's session that know each other."""
    client, server = RelayClient(ID, TOKEN, 0.0), session()
    exchange(client, server, 0.0)
    assert client.events() == [Authenticated(URL)]
    assert server.events() == [PeerClaims(ID, GOOD)]
    return client, server


def exchange(client, server, now):
    """Until neither has anything to send."""
    server.admit(now)
    while (up := client.messages_to_send()) + (down := server.messages_to_send()):
        for message in up:
            server.receive_message(message, now)
            server.admit(now)
        for message in down:
            client.receive_message(message, now)


def test_a_token_that_was_lost_is_shown_again():
    client, server = RelayClient(ID, TOKEN, 0.0), session()
    shown = client.messages_to_send()
    times = []
    while not times or times[-1] < 3.0:
        times.append(client.deadline())
        client.handle_timer(times[-1])
        assert client.messages_to_send() == shown
    assert times == [1.0, 3.0]
    server.receive_message(shown[0], 3.0)
    exchange(client, server, 3.0)
    assert client.events() == [Authenticated(URL)]
    assert server.events() == [PeerClaims(ID, GOOD)]


def test_an_acceptance_that_was_lost_is_said_again_and_a_packet_before_it_is_kept():
    client, server = RelayClient(ID, TOKEN, 0.0), session()
    server.receive_message(client.messages_to_send()[0], 0.0)
    server.admit(0.0)
    assert len(server.messages_to_send()) == 1  # lost
    client.receive_message(packet_head(OTHER) + b"first", 0.5)
    client.handle_timer(1.0)
    exchange(client, server, 1.0)
    assert client.events() == [Authenticated(URL)]
    assert server.events() == [PeerClaims(ID, GOOD)]  # once
    client.open([OTHER], 1.0)
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    assert client.events() == [PeerOnline(OTHER), PacketReceived(OTHER, b"first")]


def test_nobody_becomes_another_peer_by_a_second_token():
    _, server = ready()
    server.receive_message(encode(Auth(OTHER, TOKEN)), 1.0)
    assert server.events() == server.messages_to_send() == []
    assert server.peer == ID


def test_a_question_that_was_lost_is_asked_again_for_those_that_have_not_come():
    client, _ = ready()
    client.open([OTHER, THIRD], 0.0)
    assert len(client.messages_to_send()) == 1  # lost
    client.handle_timer(1.0)
    assert client.messages_to_send() == [encode(PeerList(Kind.SUBSCRIBE, (OTHER, THIRD)))]
    client.receive_message(encode(PeerList(Kind.ONLINE, (OTHER,))), 1.0)
    client.handle_timer(3.0)
    assert client.messages_to_send() == [encode(PeerList(Kind.SUBSCRIBE, (THIRD,)))]
    client.receive_message(encode(PeerList(Kind.ONLINE, (THIRD,))), 3.0)
    assert client.deadline() == 35.0


def test_a_health_check_that_was_lost_is_sent_again_and_answered_in_time():
    client, server = ready()
    server.handle_timer(25.0)
    assert len(server.messages_to_send()) == 1  # lost
    server.handle_timer(30.0)
    exchange(client, server, 30.0)
    client.handle_timer(35.0)
    assert client.events() == []
    assert server.deadline() == 55.0
