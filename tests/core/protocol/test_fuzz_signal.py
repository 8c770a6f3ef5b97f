"""Bodies, candidates and sealed messages of hostile agents."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey
from meshloom.protocol.ice import parse_candidate
from meshloom.protocol.relay_address import RelayAddress
from meshloom.protocol.seal import Box
from meshloom.protocol.signal import MAX_BODY, decode
from meshloom.rpc import signalexchange_pb2 as pb

ONE, OTHER = PrivateKey.of(b"1" * 32), PrivateKey.of(b"2" * 32)
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]

bodies = st.builds(
    pb.Body,
    type=st.sampled_from([0, 1, 2, 3, 4, 5, 6]),
    payload=st.text(max_size=600) | st.sampled_from(["a:b", ":", "a:", ":b", "a:b:c", "ä:ö"]),
    wgListenPort=st.integers(0, 2**32 - 1),
    netBirdVersion=st.text(max_size=100),
    sessionId=st.binary(max_size=20),
    relayServerAddress=st.text(max_size=2000) | st.text(max_size=20).map("rel://relay.example{}".format),
    relayServerIP=st.binary(max_size=20),
)


@given(bodies)
def test_every_field_of_a_body_is_bounded(body):
    try:
        message = decode(body.SerializeToString(), ONE.public)
    except ProtocolError:
        return
    assert 0 <= message.wg_listen_port < 1 << 16
    assert len(message.version) <= 64
    assert message.session_id is None or len(message.session_id) == 5
    address = message.relay_address or ""
    assert len(address) <= 512
    assert address.isascii()
    assert address.isprintable()
    assert not address or RelayAddress.parse(address)
    assert not (message.relay_refused and address)
    assert len(message.relay_ip or b"") in (0, 4, 16)
    assert message.credentials is None or 0 < len(message.credentials.ufrag) <= 520


def test_a_body_that_is_too_long_is_not_looked_at():
    with pytest.raises(ProtocolError, match="too long"):
        decode(bytes(MAX_BODY + 1), ONE.public)


@given(bodies, st.integers(0, 500))
def test_a_body_that_is_cut_off_is_read_or_refused(body, length):
    try:
        decode(body.SerializeToString()[:length], ONE.public)
    except ProtocolError:
        pass


numbers = st.integers(-(2**70), 2**70).map(str) | st.text(max_size=12)
addresses = st.ip_addresses().map(str) | st.sampled_from(["fe80::1%eth0", "::ffff:127.0.0.1", "0x7f.1", "localhost"])
lines = st.builds(
    " ".join,
    st.tuples(
        st.text(max_size=40),
        st.sampled_from(["1", "2", "x"]),
        st.sampled_from(["udp", "UDP", "tcp", ""]),
        numbers,
        addresses,
        numbers,
        st.just("typ"),
        st.sampled_from(["host", "srflx", "prflx", "relay", "evil"]),
        st.sampled_from(["", "raddr ::1 rport 99999", "raddr x", "rport", "cid", "cid \0\n"]),
    ),
)


@given(lines)
def test_a_candidate_is_one_that_can_be_sent_to_or_refused(line):
    try:
        candidate = parse_candidate(line)
    except ProtocolError:
        return
    host, port = candidate.address
    assert 0 < port < 1 << 16
    assert "%" not in host
    assert not host.startswith(("127.", "0.0.0.0", "22", "::ffff:"))
    assert 0 < candidate.priority < 1 << 32


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 7))
def test_a_box_opens_only_what_was_sealed_for_it(plain, at, bit):
    sealed = bytearray(Box(ONE, OTHER.public, os.urandom).seal(plain))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(ProtocolError):
        Box(OTHER, ONE.public, os.urandom).open(bytes(sealed))


@given(st.binary(max_size=200))
def test_what_was_never_sealed_does_not_open(data):
    with pytest.raises(ProtocolError):
        Box(OTHER, ONE.public, os.urandom).open(data)


@pytest.mark.parametrize("raw", LOW_ORDER)
def test_a_key_with_which_every_secret_is_the_same_is_refused(raw):
    with pytest.raises(ProtocolError, match="unusable"):
        Box(ONE, PublicKey.of(raw), os.urandom)


def test_no_nonce_comes_twice():
    box = Box(ONE, OTHER.public, os.urandom)
    assert len({box.seal(b"the same")[:24] for _ in range(10_000)}) == 10_000


@given(st.text(min_size=5, max_size=43))
def test_what_is_no_key_is_refused_without_repeating_it(text):
    for kind in (PublicKey, PrivateKey, PresharedKey):
        with pytest.raises(ProtocolError) as caught:
            kind.parse(text)
        assert text not in str(caught.value)
