"""What routers are asked for ports, and what they answer, kind or not."""

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.protocol import port_mapping as wire
from meshloom.protocol.port_mapping import Lease, MappingRefused

NONCE = bytes(range(12))
OUTER = "203.0.113.5"
LOCATION = b"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: %s\r\n\r\n"


def pcp_answer(head=(2, 0x81, 0, 7200), nonce=NONCE, inner=51820, outer=(OUTER, 40000)):
    """*head*: version, code, result and lease."""
    version, code, result, lease = head
    address = IPv6Address(f"::ffff:{outer[0]}").packed
    return struct.pack("!BBBBII12x", version, code, 0, result, lease, 1) + struct.pack(
        "!12sB3xHH16s", nonce, 17, inner, outer[1], address
    )


def nat_pmp_answer(result=0, inner=51820, outer=40000, lease=7200):
    return struct.pack("!BBHIHHI", 0, 129, result, 1, inner, outer, lease)


def test_a_pcp_request_says_all_that_rfc_6887_wants():
    request = wire.pcp_map_request("192.168.1.7", NONCE, 51820, (OUTER, 40000), 7200)
    assert len(request) == 60
    assert request[:8] == b"\2\1\0\0" + (7200).to_bytes(4)
    assert request[8:24] == IPv6Address("::ffff:192.168.1.7").packed
    assert request[24:40] == NONCE + b"\x11\0\0\0"
    assert request[40:44] == (51820).to_bytes(2) + (40000).to_bytes(2)
    assert request[44:] == IPv6Address(f"::ffff:{OUTER}").packed


def test_a_pcp_lease_is_read():
    assert wire.pcp_lease(pcp_answer(), NONCE, 51820) == Lease((OUTER, 40000), 7200)
    assert wire.pcp_lease(pcp_answer((2, 0x81, 0, 0)), NONCE, 51820).seconds == 0
    assert wire.pcp_lease(pcp_answer((2, 0x81, 0, 1 << 31)), NONCE, 51820).seconds == wire.MAX_LEASE


@pytest.mark.parametrize(
    "data",
    [
        pcp_answer(nonce=bytes(12)),
        pcp_answer(inner=51821),
        pcp_answer((2, 0x80, 0, 7200)),
        pcp_answer((2, 0x01, 0, 7200)),
        pcp_answer()[:59],
        pcp_answer(outer=(OUTER, 0)),
        pcp_answer(outer=("0.0.0.0", 40000)),
        pcp_answer(outer=("127.0.0.1", 40000)),
        pcp_answer() + bytes(1100),
        b"",
    ],
)
def test_what_is_no_answer_of_pcp_to_us_is_not_read(data):
    with pytest.raises(ProtocolError) as error:
        wire.pcp_lease(data, NONCE, 51820)
    assert not isinstance(error.value, MappingRefused)


@pytest.mark.parametrize(
    "data", [pcp_answer((2, 0x81, 2, 60)), pcp_answer((2, 0x81, 99, 60)), b"\0\x81\0\1" + bytes(4)]
)
def test_a_refusal_of_pcp_is_one(data):
    with pytest.raises(MappingRefused):
        wire.pcp_lease(data, NONCE, 51820)


def test_a_nat_pmp_lease_is_asked_for_and_read():
    assert wire.nat_pmp_map_request(51820, 40000, 7200) == struct.pack("!BBHHHI", 0, 1, 0, 51820, 40000, 7200)
    assert wire.nat_pmp_map_request(51820, 40000, 0)[6:8] == b"\0\0", "RFC 6886 section 3.4"
    assert wire.nat_pmp_lease(nat_pmp_answer(), 51820) == Lease(("", 40000), 7200)
    assert wire.nat_pmp_outer(b"\0\x80\0\0" + bytes(4) + b"\xcb\0\x71\x05") == OUTER
    with pytest.raises(MappingRefused):
        wire.nat_pmp_lease(nat_pmp_answer(result=2), 51820)
    for data in (nat_pmp_answer(inner=1), nat_pmp_answer()[:15], nat_pmp_answer(outer=0), b"\0\1\0\0", b""):
        with pytest.raises(ProtocolError):
            wire.nat_pmp_lease(data, 51820)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        (b"http://192.168.1.1:5000/root.xml", True),
        (b"http://192.168.1.66:5000/root.xml", False),
        (b"https://192.168.1.1/root.xml", False),
        (b"http://192.168.1.1@192.168.1.66/root.xml", False),
        (b"http://192.168.1.1:0/", False),
        (b"http://192.168.1.1:port/", False),
        (b"file:///etc/passwd", False),
        (b"", False),
    ],
)
def test_only_the_gateway_itself_is_asked_what_it_is(url, is_taken):
    try:
        assert wire.description_url(LOCATION % url, "192.168.1.1") == url.decode()
        assert is_taken
    except ProtocolError:
        assert not is_taken


def test_the_answer_of_another_device_is_not_taken():
    data = (LOCATION % b"http://192.168.1.1:5000/root.xml").replace(b"InternetGatewayDevice", b"MediaServer")
    with pytest.raises(ProtocolError):
        wire.description_url(data, "192.168.1.1")


@given(
    st.binary(max_size=1200) | st.builds(lambda data, cut: pcp_answer()[:cut] + data, st.binary(), st.integers(0, 60))
)
@example(b"\2\x81")
def test_garbage_is_refused_in_no_other_way(data):
    for read in (
        lambda: wire.pcp_lease(data, NONCE, 51820),
        lambda: wire.nat_pmp_lease(data, 51820),
        lambda: wire.nat_pmp_outer(data),
        lambda: wire.description_url(data, "192.168.1.1"),
    ):
        try:
            read()
        except ProtocolError:
            pass


@given(st.text(alphabet="htp:/[]@192.68%\u0661 \\#?", max_size=40), st.sampled_from(["LOCATION", "Location"]))
def test_a_wild_location_is_refused_in_no_other_way(text, name):
    data = (LOCATION % text.encode()).replace(b"LOCATION", name.encode())
    try:
        assert "192.168.1.1" in wire.description_url(data, "192.168.1.1")
    except ProtocolError:
        pass
