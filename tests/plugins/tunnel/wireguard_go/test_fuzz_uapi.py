"""Answers of a WireGuard program that is not what it seems."""

from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError, TunnelError
from meshloom_tunnel_wireguard_go.uapi import check_errno, parse_get

values = st.sampled_from(["", "0", "-1", "9" * 400, "ff" * 32, "0" * 64, "[::1]:1", ":", "192.0.2.1:x", "1e9", "é"])
names = st.sampled_from(
    [
        *("public_key", "private_key", "preshared_key", "endpoint", "rx_bytes", "tx_bytes", "errno", "allowed_ip"),
        *("last_handshake_time_sec", "last_handshake_time_nsec", "listen_port", "persistent_keepalive_interval", "x"),
    ]
)
answers = st.lists(st.tuples(names, values).map("=".join) | st.text(max_size=20), max_size=12).map("\n".join)


@given(answers)
def test_an_answer_is_read_or_refused(text):
    try:
        device, peers = parse_get(text.encode())
    except ProtocolError:
        return
    assert "private_key" not in device
    assert all(len(key.raw) == 32 for key in peers)


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(data):
    try:
        check_errno(data, "wg0")
    except (ProtocolError, TunnelError):
        pass
