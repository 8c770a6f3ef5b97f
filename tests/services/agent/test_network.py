"""Maps as the agent uses them: what is believed, what is left out."""

from ipaddress import ip_interface

import pytest

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.network import is_refused, own_address, remote_peers, signal_address, stun_servers

KEYS = [PrivateKey.of(bytes([number]) * 32).public for number in range(1, 11)]


def map_of(count, serial, *, empty=False):
    remotes = [pb.RemotePeerConfig(wgPubKey=key.text) for key in KEYS[:count]]
    return pb.NetworkMap(Serial=serial, remotePeers=remotes, remotePeersIsEmpty=empty)


@pytest.mark.parametrize(
    ("before", "after", "serial", "refused"),
    [
        (None, map_of(0, 1), 0, False),
        (map_of(3, 1), map_of(0, 2), 1, True),
        (map_of(3, 1), map_of(0, 2, empty=True), 1, False),
        (map_of(3, 1), map_of(0, 1, empty=True), 1, True),
        (map_of(3, 0), map_of(0, 0, empty=True), 0, False),  # kept on disk, and the first of this start
        (map_of(10, 1), map_of(2, 1), 1, True),
        (map_of(10, 1), map_of(2, 2), 1, False),
        (map_of(3, 5), map_of(3, 5), 5, False),
        (map_of(3, 5), map_of(10, 4), 5, True),
    ],
)
def test_which_maps_are_believed(before, after, serial, refused):
    assert bool(is_refused(before, after, serial)) is refused


def test_ones_own_entry_and_ipv6_without_ipv6_are_left_out():
    entries = pb.NetworkMap(
        remotePeers=[
            pb.RemotePeerConfig(wgPubKey=KEYS[0].text, allowedIps=["100.64.0.1/32"]),
            pb.RemotePeerConfig(wgPubKey=KEYS[1].text, allowedIps=["100.64.0.2/32", "fd00::2/128"]),
            pb.RemotePeerConfig(wgPubKey=KEYS[2].text, allowedIps=["fd00::3/128"]),
            pb.RemotePeerConfig(wgPubKey=KEYS[3].text),
        ]
    )
    both = (ip_interface("100.64.0.1/16"), ip_interface("fd00::1/64"))
    assert set(remote_peers(entries, KEYS[0], both)) == {KEYS[1], KEYS[2]}
    found = remote_peers(entries, KEYS[0], both[:1])
    assert {key: list(map(str, peer.allowed_ips)) for key, peer in found.items()} == {KEYS[1]: ["100.64.0.2/32"]}


def test_our_addresses_come_as_text_and_as_bytes():
    config = pb.PeerConfig(address="100.64.0.5/16", address_v6=bytes.fromhex("fd00" + "00" * 13 + "05" + "40"))
    assert [str(address) for address in own_address(config).addresses] == ["100.64.0.5/16", "fd00::5/64"]
    for wrong in ("", "nowhere", "100.64.0.5/77"):
        with pytest.raises(ProtocolError):
            own_address(pb.PeerConfig(address=wrong))


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("stun:stun.example.net:3478", [("stun.example.net", 3478)]),
        ("stun:192.0.2.1:3478?transport=udp", [("192.0.2.1", 3478)]),
        ("stun:[2001:db8::1]:3478", [("2001:db8::1", 3478)]),
        ("stun:", []),
        ("nonsense", []),
    ],
)
def test_stun_servers_are_read_from_their_uris(uri, found):
    assert stun_servers(pb.NetbirdConfig(stuns=[pb.HostConfig(uri=uri)])) == found


def test_signal_is_with_tls_only_where_it_says_https():
    config = pb.NetbirdConfig()
    assert signal_address(config) is None
    config.signal.uri = "signal.example.net:10000"
    assert not signal_address(config).tls
    config.signal.protocol = pb.HostConfig.HTTPS
    assert signal_address(config).tls


def test_an_mtu_that_no_interface_takes_counts_as_none():
    said = {mtu: own_address(pb.PeerConfig(address="100.64.0.1/16", mtu=mtu)).mtu for mtu in (5, -1, 1279, 1280, 65536)}
    assert said == {5: 0, -1: 0, 1279: 0, 1280: 1280, 65536: 0}
