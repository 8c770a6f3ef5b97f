"""Relay messages from a hostile network: both sides keep their bounds whatever comes."""

from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
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
)
from meshloom.protocol.relay_client import PacketReceived, PeerOnline, RelayClient, RelayLost
from meshloom.protocol.relay_session import PeerClaims, RelaySession, SessionLost
from meshloom.protocol.relay_token import RelayToken, check_token, join_token, secret_key

ids = st.integers(0, 5).map(lambda number: b"sha-" + number.to_bytes(32))
lists = st.lists(ids, min_size=1, max_size=8).map(tuple)
kinds_of_lists = st.sampled_from([Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.ONLINE, Kind.OFFLINE])
urls = st.builds("rel{}://{}:{}".format, st.sampled_from(["", "s"]), st.sampled_from("abc"), st.integers(1, 65535))
messages = st.one_of(
    st.builds(Packet, ids, st.binary(max_size=60)),
    st.just(Close()),
    st.just(HealthCheck()),
    st.builds(Auth, ids, st.binary(max_size=60)),
    st.builds(AuthResponse, urls),
    st.builds(PeerList, kinds_of_lists, lists),
)
heads = st.binary(min_size=2, max_size=2).map(lambda two: b"\1" + bytes([two[1] % 16]))
data = st.one_of(st.binary(max_size=100), messages.map(encode), st.builds(bytes.__add__, heads, st.binary(max_size=90)))
ALL = frozenset(Kind)


@given(messages)
def test_a_message_is_read_as_it_was_written(message):
    assert decode(encode(message), ALL) == message


@given(data)
def test_anything_is_read_or_refused_and_what_is_read_is_written_alike(data):
    for allowed in (FROM_PEERS, FROM_RELAYS):
        try:
            message = decode(data, allowed)
        except ProtocolError:
            continue
        assert data.startswith(encode(message))  # what follows a message of two bytes is of no meaning


@given(messages.map(encode), st.integers(0, 300), st.integers(0, 300), st.integers(0, 255))
def test_a_message_that_is_cut_or_changed_is_read_or_refused(data, length, at, byte):
    damaged = bytearray(data)
    damaged[at % len(damaged)] = byte
    try:
        decode(memoryview(damaged)[: length or None], ALL)
    except ProtocolError:
        pass


@given(st.binary(max_size=200), st.lists(st.binary(max_size=20), max_size=3))
def test_no_token_is_good_that_was_not_signed(token, secrets):
    assert isinstance(check_token(token, [secret_key(secret.hex()) for secret in secrets], 0), str)


@given(st.text(max_size=30), st.text(max_size=60))
def test_whatever_management_hands_out_is_a_token_or_refused(payload, signature):
    try:
        assert len(join_token(payload, signature)) <= 1 + 32 + 137
    except ProtocolError:
        pass


steps = st.lists(st.tuples(data, st.floats(0, 40)), max_size=60)


@given(steps)
def test_a_hostile_peer_can_do_no_more_than_be_sent_away(steps):
    good = RelayToken(0, 100.0, b"mark", b"sha-" + bytes(32))
    session, now = RelaySession("rel://x:80", lambda token: good if b"\1" in token else "wrong", 0.0), 0.0
    arrived = lost = 0
    for message, later in steps:
        now += later
        session.handle_timer(now)
        session.receive_message(message, now)
        events = session.events()
        arrived += sum(isinstance(event, PeerClaims) for event in events)
        if arrived:
            session.admit(now)
        lost += sum(isinstance(event, SessionLost) for event in events)
        for answer in session.messages_to_send():
            decode(answer, FROM_RELAYS)
        assert lost == (session.deadline() is None)
        assert len(session.watched) <= 6
    assert arrived <= 1
    assert lost <= 1


@given(steps, st.lists(ids, max_size=4))
def test_a_hostile_relay_can_do_no_more_than_lie(steps, wanted):
    client, now = RelayClient(b"sha-" + bytes(32), b"token", 0.0), 0.0
    online, lost = set(), 0
    for message, later in steps:
        now += later
        client.handle_timer(now)
        client.open(wanted, now)
        client.receive_message(message, now)
        for event in client.events():
            assert not lost
            if isinstance(event, PeerOnline):
                online.add(event.peer)
            elif isinstance(event, PacketReceived):
                assert event.peer in online
            elif isinstance(event, RelayLost):
                lost += 1
        for answer in client.messages_to_send():
            decode(answer, FROM_PEERS)
        assert lost == (client.deadline() is None)
    assert online <= set(wanted)
