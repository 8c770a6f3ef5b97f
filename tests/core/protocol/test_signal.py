"""Signal messages, candidates and sealing: what comes out is what went in, and garbage has its own error."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.ice import Candidate, CandidateKind, parse_candidate
from meshloom.protocol.seal import OVERHEAD, Box
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage, decode

ONE, OTHER = PrivateKey.of(b"1" * 32), PrivateKey.of(b"2" * 32)
words = st.text(alphabet="abcXYZ", min_size=1, max_size=32)


@given(st.sampled_from([SignalKind.OFFER, SignalKind.ANSWER]), words, words, st.binary(min_size=5, max_size=5))
def test_an_offer_comes_out_as_it_went_in(kind, ufrag, pwd, session):
    message = SignalMessage(kind, ONE.public, Credentials(ufrag, pwd), session, wg_listen_port=51820, version="1.2")
    assert decode(message.encode(), ONE.public) == message


def test_an_offer_without_ice_has_no_credentials():
    assert decode(SignalMessage(SignalKind.OFFER, ONE.public).encode(), ONE.public).credentials is None


@pytest.mark.parametrize("kind", [SignalKind.OFFER, SignalKind.ANSWER])
@pytest.mark.parametrize("moved", [False, True])
def test_an_offer_says_whether_its_sender_has_moved_only_where_it_has(kind, moved):
    message = SignalMessage(kind, ONE.public, Credentials("a", "b"), moved=moved)
    assert decode(message.encode(), ONE.public) == message
    own = b"\xd0\x3e\x01"
    """The field of that number, which others ignore."""
    assert message.encode().endswith(own) is moved
    assert decode(message.encode().removesuffix(own), ONE.public).moved is False


def test_a_goodbye_is_a_heartbeat_to_those_that_know_no_more():
    goodbye = SignalMessage(SignalKind.HEARTBEAT, ONE.public, goodbye="abcd")
    assert goodbye.encode() == b"\x08\x06" + b"\xca\x3e\x04abcd"
    assert decode(goodbye.encode(), ONE.public) == goodbye
    assert decode(b"\x08\x06", ONE.public).goodbye is None
    assert decode(b"\x12\x01:\xca\x3e\x04abcd", ONE.public).goodbye is None, "an offer says nothing else"
    assert len(decode(b"\x08\x06\xca\x3e\xd0\x0f" + b"a" * 2000, ONE.public).goodbye) == 256


@given(st.binary(max_size=300))
def test_garbage_has_its_own_error(data):
    try:
        decode(data, ONE.public)
    except ProtocolError:
        pass


@given(st.text(max_size=600))
def test_a_line_that_is_no_candidate_has_its_own_error(line):
    for text in (line, f"1 1 udp 1 {line} 5 typ host", f"1 1 udp {line} 192.0.2.1 5 typ host", f"candidate:{line}"):
        try:
            parse_candidate(text)
        except ProtocolError:
            pass


def test_a_candidate_of_the_field():
    line = "2172655182 1 udp 1694498815 203.0.113.7 51820 typ srflx raddr 192.168.1.4 rport 51820 cid AbC generation 0"
    candidate = parse_candidate(line)
    assert candidate == Candidate(
        CandidateKind.SERVER_REFLEXIVE, ("203.0.113.7", 51820), 1694498815, "2172655182", ("192.168.1.4", 51820), "AbC"
    )
    assert parse_candidate(candidate.line()) == candidate


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "ff02::1", "::"])
def test_a_candidate_cannot_make_us_send_to_ourselves_or_to_groups(address):
    with pytest.raises(ProtocolError):
        parse_candidate(f"1 1 udp 5 {address} 51820 typ host")


@given(st.binary(max_size=2000))
def test_a_sealed_message_opens_for_its_reader_alone(plain):
    sealed = Box(ONE, OTHER.public, os.urandom).seal(plain)
    assert len(sealed) == len(plain) + OVERHEAD
    assert Box(OTHER, ONE.public, os.urandom).open(sealed) == plain
    for wrong in (sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", sealed[:30]):
        with pytest.raises(ProtocolError):
            Box(OTHER, ONE.public, os.urandom).open(wrong)
    with pytest.raises(ProtocolError):
        Box(PrivateKey.of(b"3" * 32), ONE.public, os.urandom).open(sealed)


@pytest.mark.parametrize("text", ["", "x", "A" * 44, "A" * 43, "ä" * 44, "AAAA" * 12])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ProtocolError, match="44 characters"):
        PublicKey.parse(text)


def test_a_private_key_does_not_show_itself():
    assert ONE.reveal() not in repr(ONE) + str(ONE)
