"""STUN from a hostile network, and ICE with a hostile peer that knows the password."""

import random

from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.protocol import stun
from meshloom.protocol.ice import AddressDiscovery, IceAgent
from meshloom.protocol.ice.candidate import parse_candidate
from meshloom.protocol.ice.checklist import MAX_PAIRS
from meshloom.protocol.signal import Credentials
from meshloom.protocol.stun import Attribute, Kind

types = st.sampled_from(list(Attribute)) | st.integers(0, 0xFFFF)
attributes = st.lists(st.tuples(types, st.binary(max_size=40)), max_size=8)
kinds = st.sampled_from(list(Kind))
sources = st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), st.integers(1, 65535))
TRANSACTION = b"tokn" + bytes(8)


@given(kinds, attributes, st.none() | st.just(b"password"))
def test_whatever_attributes_come_the_message_is_read_or_refused(kind, found, password):
    try:
        message = stun.parse(stun.encode(kind, TRANSACTION, found, password))
        _ = message.mapped_address, message.error_code, message.username, message.number(Attribute.PRIORITY)
        message.is_authentic(b"password")
    except ProtocolError:
        pass


@given(kinds, attributes, st.integers(0, 400), st.integers(0, 400), st.integers(0, 255))
def test_a_message_that_is_cut_or_changed_is_read_or_refused(kind, found, length, at, byte):
    data = bytearray(stun.encode(kind, TRANSACTION, found, b"password"))
    data[at % len(data)] = byte
    try:
        stun.parse(bytes(data[: length or None]))
    except ProtocolError:
        pass


@given(st.lists(st.tuples(kinds, attributes, sources, st.booleans()), max_size=100))
def test_a_peer_that_knows_the_password_can_do_no_more_than_fail(messages):
    agent = IceAgent(
        controlling=True,
        local=Credentials("mine", "password"),
        token=b"tokn",
        tie_breaker=7,
        entropy=random.Random(1).randbytes,
        now=0.0,
    )
    agent.set_remote(Credentials("theirs", "password"), 0.0)
    agent.add_remote(parse_candidate("1 1 udp 5 192.0.2.1 51820 typ host"), 0.0)
    now, asked = 0.0, TRANSACTION
    for kind, found, source, right in messages:
        for data, *_ in agent.datagrams():
            if stun.parse(data).kind == Kind.REQUEST:
                asked = stun.parse(data).transaction
        start = [(Attribute.USERNAME, b"mine:theirs")] if right else []
        agent.receive(stun.encode(kind, asked, [*start, *found], b"password"), source, now)
        now += 0.1
        agent.handle_timer(now)
        agent.deadline()
    assert agent.remote_candidates <= MAX_PAIRS


@given(st.lists(st.tuples(kinds, attributes, sources), max_size=20))
def test_a_hostile_stun_server_can_do_no_more_than_lie(messages):
    discovery = AddressDiscovery(bytes(4), random.Random(1).randbytes)
    discovery.set_servers([("192.0.2.1", 3478)], 0.0)
    for kind, found, source in messages:
        asked = [stun.parse(data).transaction for data, _ in discovery.datagrams()] or [TRANSACTION]
        discovery.receive(stun.encode(kind, asked[0], found), source, 0.0)
    assert len(discovery.mapped) <= 1
