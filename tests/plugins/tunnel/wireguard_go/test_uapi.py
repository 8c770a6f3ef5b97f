"""The control socket's text: what we write, and whatever may be read."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError, TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey
from meshloom.tunnel import PeerStats, TunnelPeer
from meshloom_linux.difference import PeerChange, peer_changes
from meshloom_tunnel_wireguard_go.uapi import check_errno, parse_get, set_command

KEY = PrivateKey.of(b"k" * 32)
ONE, TWO, THREE = (PrivateKey.of(bytes([number]) * 32).public for number in (1, 2, 3))
PEER = TunnelPeer(frozenset({ip_network("100.64.0.2/32")}), ("192.0.2.1", 51820), timedelta(seconds=25))


def test_a_new_peer_is_told_whole():
    text = set_command([PeerChange(ONE, PEER, endpoint=True, allowed_ips=True, rest=True)], KEY, 51820, 7).decode()
    assert text.split("\n") == [
        "set=1",
        f"private_key={KEY.raw.hex()}",
        "listen_port=51820",
        "fwmark=7",
        f"public_key={ONE.raw.hex()}",
        f"preshared_key={'00' * 32}",
        "endpoint=192.0.2.1:51820",
        "persistent_keepalive_interval=25",
        "replace_allowed_ips=true",
        "allowed_ip=100.64.0.2/32",
        "",
        "",
    ]


def test_an_ipv6_endpoint_has_brackets():
    peer = TunnelPeer(frozenset(), ("2001:db8::1", 5), preshared_key=PresharedKey(b"p" * 32))
    text = set_command([PeerChange(ONE, peer, endpoint=True, rest=True)], None, None, None).decode()
    assert "endpoint=[2001:db8::1]:5\n" in text
    assert f"preshared_key={(b'p' * 32).hex()}\n" in text


def test_what_the_device_says_is_read():
    text = (
        f"private_key={KEY.raw.hex()}\nlisten_port=51820\npublic_key={ONE.raw.hex()}\npreshared_key={'11' * 32}\n"
        "endpoint=[2001:db8::1]:7\nlast_handshake_time_sec=1700000000\nlast_handshake_time_nsec=500000000\n"
        f"rx_bytes=5\ntx_bytes=6\npublic_key={TWO.raw.hex()}\nrx_bytes=0\nerrno=0\n\n"
    )
    device, peers = parse_get(text.encode())
    moment = datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=UTC)
    assert device == {"listen_port": "51820", "errno": "0"}
    assert peers == {ONE: PeerStats(("2001:db8::1", 7), moment, 5, 6), TWO: PeerStats()}


@given(st.text(alphabet="public_key=\nendoit0123456789abf:.[]-", max_size=300))
def test_garbage_has_its_own_error(text):
    for candidate in (text, f"public_key={ONE.raw.hex()}\n{text}"):
        try:
            parse_get(candidate.encode())
        except ProtocolError:
            pass


def test_a_refusal_is_said_in_words():
    check_errno(b"errno=0\n\n", "wg0")
    with pytest.raises(TunnelError, match="wg0: the UDP port is taken"):
        check_errno(b"errno=-98\n\n", "wg0")


peers = st.dictionaries(
    st.sampled_from([ONE, TWO, THREE]),
    st.builds(
        TunnelPeer,
        st.frozensets(st.sampled_from([ip_network("100.64.0.2/32"), ip_network("100.64.0.3/32")])),
        st.none() | st.just(("192.0.2.1", 1)) | st.just(("192.0.2.1", 2)),
        st.none() | st.just(timedelta(seconds=25)),
    ),
)


@given(peers, peers)
def test_the_difference_makes_one_state_of_the_other(old, new):
    device = {key: [peer.allowed_ips, peer.endpoint, peer.persistent_keepalive] for key, peer in old.items()}
    for change in peer_changes(old, new):
        if change.new is None:
            del device[change.key]
            continue
        present = device.setdefault(change.key, [frozenset(), None, None])
        if change.allowed_ips:
            present[0] = change.new.allowed_ips
        if change.endpoint:
            present[1] = change.new.endpoint
        if change.rest:
            present[2] = change.new.persistent_keepalive
    assert device.keys() == new.keys()
    for key, peer in new.items():
        assert device[key][0] == peer.allowed_ips
        assert device[key][2] == peer.persistent_keepalive
        assert peer.endpoint in (None, device[key][1]), "one that is None stays as WireGuard has it"


@given(peers)
def test_the_same_state_again_is_no_difference(state):
    assert list(peer_changes(state, dict(state))) == []
