"""The STUN codec: RFC 5769's vectors, an independent codec, and garbage."""

import os

import aioice.stun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.protocol import stun
from meshloom.protocol.stun import Attribute, Kind

# RFC 5769 section 2.1: a request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY, FINGERPRINT.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1"
    "51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
# Section 2.2: the response, with XOR-MAPPED-ADDRESS 192.0.2.1:32853. Section 2.3: the same over IPv6.
RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599"
    "fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_V6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5"
    "bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"


def test_the_request_of_the_rfc():
    message = stun.parse(REQUEST)
    assert message.kind == Kind.REQUEST
    assert message.username == b"evtj:h6vY"
    assert message.number(Attribute.PRIORITY) == 0x6E0001FF
    assert message.number(Attribute.ICE_CONTROLLED) == 0x932FF9B151263B36
    assert message.has_fingerprint
    assert message.is_authentic(PASSWORD)
    assert not message.is_authentic(b"another")


@pytest.mark.parametrize(
    ("data", "address"),
    [(RESPONSE, ("192.0.2.1", 32853)), (RESPONSE_V6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_responses_of_the_rfc(data, address):
    message = stun.parse(data)
    assert message.mapped_address == address
    assert message.is_authentic(PASSWORD)


def test_an_attribute_after_the_fingerprint_is_ignored():
    data = stun.encode(Kind.REQUEST, os.urandom(12), [(Attribute.USERNAME, b"a:b")], b"password")
    extra = b"\x81\x00\x00\x03a:b\x00"
    longer = data[:2] + (len(data) - 20 + len(extra)).to_bytes(2) + data[4:] + extra
    message = stun.parse(longer)
    assert message.has_fingerprint
    assert message.is_authentic(b"password")
    assert 0x8100 not in message.attributes


def test_an_attribute_that_is_not_protected_is_ignored():
    data = stun.encode(Kind.REQUEST, os.urandom(12), [(Attribute.USERNAME, b"a:b")], b"password")[:-8]
    extra = b"\x00\x25\x00\x00"
    longer = data[:2] + (len(data) - 20 + len(extra)).to_bytes(2) + data[4:] + extra
    assert Attribute.USE_CANDIDATE not in stun.parse(longer).attributes


@given(st.binary(min_size=12, max_size=12), st.ip_addresses(), st.integers(0, 65535))
def test_an_independent_codec_reads_what_we_write(transaction, address, port):
    value = stun.pack_address((str(address), port), transaction)
    data = stun.encode(Kind.SUCCESS, transaction, [(Attribute.XOR_MAPPED_ADDRESS, value)], b"password")
    theirs = aioice.stun.parse_message(data)
    assert theirs.attributes["XOR-MAPPED-ADDRESS"] == (str(address), port)
    assert stun.parse(data).mapped_address == (str(address), port)


@given(st.text(min_size=1, max_size=40), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_we_read_what_an_independent_codec_writes(username, rank, tie):
    theirs = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
    theirs.attributes["USERNAME"] = username
    theirs.attributes["PRIORITY"] = rank
    theirs.attributes["ICE-CONTROLLING"] = tie
    theirs.add_message_integrity(b"password")
    message = stun.parse(bytes(theirs))
    assert message.username == username.encode()
    assert message.number(Attribute.PRIORITY) == rank
    assert message.number(Attribute.ICE_CONTROLLING) == tie
    assert message.is_authentic(b"password")


@given(st.binary(max_size=1600))
def test_garbage_raises_nothing_but_its_own_error(data):
    for candidate in (data, b"\x01\x01" + len(data).to_bytes(2) + stun.MAGIC_COOKIE + bytes(12) + data):
        try:
            message = stun.parse(candidate)
            message.is_authentic(b"password")
            _ = message.mapped_address, message.error_code, message.username
        except ProtocolError:
            pass
        stun.answer(candidate, ("192.0.2.1", 1))


@given(st.integers(0, len(REQUEST) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at, flip):
    data = bytearray(REQUEST)
    data[at] ^= flip
    try:
        message = stun.parse(bytes(data))
    except ProtocolError:
        return
    assert not message.is_authentic(PASSWORD) or not message.has_fingerprint or at >= len(REQUEST) - 8


def test_an_answer_is_no_larger_than_the_address_needs():
    request = stun.encode(Kind.REQUEST, bytes(12))
    assert len(stun.answer(request, ("192.0.2.1", 5))) == 40
    assert len(stun.answer(request, ("2001:db8::1", 5))) == 52
    assert stun.answer(RESPONSE, ("192.0.2.1", 5)) is None
    assert stun.answer(request + b"\0\0\0\0", ("192.0.2.1", 5)) is None
