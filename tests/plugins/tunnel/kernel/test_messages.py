"""Messages to and from the kernel: what we write, and whatever may be read."""

import struct
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom.model.keys import PresharedKey, PrivateKey
from meshloom.tunnel import PeerStats, TunnelPeer
from meshloom_linux.difference import PeerChange, peer_changes
from meshloom_tunnel_kernel.attributes import attribute, attributes, nest
from meshloom_tunnel_kernel.messages import LONGEST_PEERS, Device, get_device, parse_device, set_device, set_peers
from meshloom_tunnel_kernel.netlink import Refused, take

KEY = PrivateKey.of(b"k" * 32)
ONE, TWO = (PrivateKey.of(bytes([number]) * 32).public for number in (1, 2))
LITTLE = struct.pack("=H", 1) == b"\1\0"

SOCKADDR_6 = struct.pack("=H", 10) + b"\0%b" + bytes(4) + bytes.fromhex("20010db8" + "00" * 11 + "01") + bytes(4)
"""2001:db8::1, but for the port."""


def tree(data, *nested):
    """Attributes as a dictionary; those whose types are in *nested* are lists of dictionaries."""
    return {
        kind: [tree(each, *nested[1:]) for _, each in attributes(value)] if nested and kind == nested[0] else value
        for kind, value in attributes(data)
    }


def peers_of(*changes):
    """What all messages say of peers."""
    return [peer for message in set_peers("wg0", changes) for peer in tree(message, 8, 9)[8]]


@pytest.mark.skipif(not LITTLE, reason="the bytes are those of a machine with the small end first")
def test_a_device_is_told_in_the_bytes_of_the_kernels_header():
    assert get_device("wg0").hex() == "08000200" + b"wg0\0".hex()
    assert set_device("ml0", KEY, 51820, 7).hex() == (
        "08000200" + b"ml0\0".hex() + "0800070007000000" + "060006006cca0000" + "24000300" + KEY.raw.hex()
    )


def test_nothing_given_is_nothing_told():
    assert set_device("wg0") == get_device("wg0")
    assert list(set_peers("wg0", [])) == []


def test_a_new_peer_is_told_whole():
    peer = TunnelPeer(
        frozenset({ip_network("100.64.0.2/32"), ip_network("fd00::/64")}),
        ("192.0.2.1", 51820),
        timedelta(seconds=25),
        PresharedKey(b"p" * 32),
    )
    (told,) = peers_of(PeerChange(ONE, peer, endpoint=True, allowed_ips=True, rest=True))
    assert told == {
        1: ONE.raw,
        2: b"p" * 32,
        4: struct.pack("=H", 2) + bytes.fromhex("ca6cc0000201") + bytes(8),
        5: struct.pack("=H", 25),
        3: struct.pack("=I", 2),
        9: [
            {1: struct.pack("=H", 2), 2: bytes([100, 64, 0, 2]), 3: b"\x20"},
            {1: struct.pack("=H", 10), 2: b"\xfd" + bytes(15), 3: b"\x40"},
        ],
    }


def test_only_what_changed_is_told():
    peer = TunnelPeer(frozenset({ip_network("100.64.0.2/32")}), ("2001:db8::1", 5))
    assert peers_of(PeerChange(ONE, None)) == [{1: ONE.raw, 3: struct.pack("=I", 1)}]
    (told,) = peers_of(PeerChange(ONE, peer, endpoint=True))
    assert told.keys() == {1, 4}
    assert told[4] == struct.pack("=H", 10) + b"\0\5" + bytes(4) + bytes.fromhex("20010db8" + "00" * 11 + "01") + bytes(
        4
    )
    (told,) = peers_of(PeerChange(ONE, peer, rest=True))
    assert told == {1: ONE.raw, 2: bytes(32), 5: b"\0\0"}


def test_no_allowed_ips_are_told_as_none():
    (told,) = peers_of(PeerChange(ONE, TunnelPeer(frozenset()), allowed_ips=True))
    assert told == {1: ONE.raw, 3: struct.pack("=I", 2), 9: []}


def test_thousands_of_peers_travel_in_bounded_messages():
    keys = [PrivateKey.of(number.to_bytes(32)).public for number in range(1, 3000)]
    many = {key: TunnelPeer(frozenset({ip_network((number, 32))})) for number, key in enumerate(keys)}
    messages = list(set_peers("wg0", peer_changes({}, many)))
    assert max(map(len, messages)) < LONGEST_PEERS + 1024
    told = [peer[1] for message in messages for peer in tree(message, 8, 9)[8]]
    assert told == [key.raw for key in many]


def test_many_allowed_ips_of_a_peer_are_told_in_parts_that_add_up():
    networks = frozenset(ip_network((0x64400000 + number, 32)) for number in range(2000))
    messages = list(set_peers("wg0", [PeerChange(ONE, TunnelPeer(networks), allowed_ips=True)]))
    assert max(map(len, messages)) < 2 * LONGEST_PEERS
    parts = [peer for message in messages for peer in tree(message, 8, 9)[8]]
    assert {part[1] for part in parts} == {ONE.raw}
    assert [3 in part for part in parts] == [True] + [False] * (len(parts) - 1), "only the first part replaces"
    assert sorted(each[2] for part in parts for each in part[9]) == sorted(
        net.network_address.packed for net in networks
    )


def test_what_the_kernel_says_is_read():
    whole = b"".join([
        attribute(1, ONE.raw),
        attribute(2, b"p" * 32),
        attribute(4, SOCKADDR_6 % b"\7"),
        attribute(6, struct.pack("=qq", 1_700_000_000, 500_000_000)),
        attribute(7, struct.pack("=Q", 5)),
        attribute(8, struct.pack("=Q", 6)),
    ])  # fmt: skip
    first = attribute(6, struct.pack("=H", 51820)) + attribute(3, KEY.raw) + nest(8, [nest(0, [whole])])
    second = nest(8, [nest(0, [attribute(1, ONE.raw)]), nest(0, [attribute(1, TWO.raw)])])
    moment = datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=UTC)
    stats = {ONE: PeerStats(("2001:db8::1", 7), moment, 5, 6), TWO: PeerStats()}
    assert parse_device([first, second]) == Device(51820, False, stats)


def test_a_device_without_key_and_peers_is_blank():
    assert parse_device([attribute(6, struct.pack("=H", 1))]).is_blank
    assert parse_device([attribute(3, bytes(32))]).is_blank
    assert not parse_device([attribute(3, KEY.raw)]).is_blank
    assert not parse_device([nest(8, [nest(0, [attribute(1, ONE.raw)])])]).is_blank


values = st.binary(max_size=40)
pieces = st.lists(st.tuples(st.integers(0, 12), values).map(lambda pair: attribute(*pair)), max_size=6).map(b"".join)


@given(values | pieces | pieces.map(lambda data: nest(8, [nest(0, [data])])))
def test_garbage_has_its_own_error(data):
    for candidate in (data, nest(8, [nest(0, [attribute(1, ONE.raw), data])])):
        try:
            parse_device([candidate])
        except ProtocolError:
            pass


def message(kind, content, number=1):
    return struct.pack("=IHHII", 16 + len(content), kind, 0, number, 0) + content


def test_answers_are_taken_until_the_last():
    answers = []
    assert not take(message(30, b"\0\1\0\0one.") + message(30, b"\0\1\0\0other", 7), 1, answers)
    assert not take(message(30, b"\0\1\0\0two."), 1, answers)
    assert take(message(3, bytes(4)), 1, answers)
    assert answers == [b"one.", b"two."]
    with pytest.raises(Refused) as refused:
        take(message(2, struct.pack("=i", -98) + bytes(16)), 1, answers)
    assert refused.value.number == 98


@given(st.binary(max_size=60))
def test_garbage_of_netlink_has_its_own_error(data):
    for candidate in (data, message(2, data), message(30, data)):
        try:
            take(candidate, 1, [])
        except (ProtocolError, Refused):
            pass
