"""A server with several addresses answers from the one that was asked, on every UDP port of it."""

import json
import sys

import pytest

from meshloom.testing.deployment import ServerProgram

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]

ADDRESSES = ("203.0.113.201", "203.0.113.202", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3")
ASK = """
import json, socket, ssl, sys, time
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted
from meshloom.protocol import stun
from meshloom_transport_quic.certificates import ALPN

def connected(host, port):
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(0.5)
    made.connect((host, port))  # what comes from elsewhere is not for it
    return made

def asks_stun(host):
    with connected(host, 3478) as made:
        for _ in range(4):
            try:
                made.send(stun.encode(stun.Kind.REQUEST, b"transaction!"))
                return stun.parse(made.recv(2048)).mapped_address[0] == made.getsockname()[0]
            except (TimeoutError, ConnectionError):
                pass
    return False

def shakes_hands(host):
    said = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE, max_datagram_frame_size=1500)
    quic, now = QuicConnection(configuration=said), time.monotonic
    with connected(host, 443) as made:
        quic.connect((host, 443), now())
        deadline = now() + 5
        while now() < deadline:
            for data, _ in quic.datagrams_to_send(now()):
                made.send(data)
            try:
                quic.receive_datagram(made.recv(2048), (host, 443), now())
            except (TimeoutError, ConnectionError):
                quic.handle_timer(now())
            while (event := quic.next_event()) is not None:
                if isinstance(event, HandshakeCompleted):
                    return True
    return False

def is_told_versions(host):
    with connected(host, 443) as made:
        made.send(b"\\xc0\\x1a\\x1a\\x1a\\x1a\\x08" + b"identify" + b"\\x00" + bytes(1200))
        try:
            return made.recv(2048)[1:5] == bytes(4)
        except (TimeoutError, ConnectionError):
            return False

print(json.dumps({host: [asks_stun(host), is_told_versions(host), shakes_hands(host)] for host in sys.argv[1:]}))
"""
"""Asks each address by sockets that hear from no other: STUN, a version that is not spoken, a QUIC handshake."""


def test_each_of_three_addresses_of_both_families_answers_stun_and_quic_itself(internet):
    host, client = internet.host("server"), internet.host("client")
    client.ip("-6 address add 2001:db8:1::ffff/64 dev eth0 nodad")
    for address in ADDRESSES:
        host.ip(f"address add {address}/{64 if ':' in address else 24} dev eth0{' nodad' if ':' in address else ''}")
    server = ServerProgram(host, internet.folder / "server", port=443)
    server.start("--listen", ":443")
    asked = (str(host.address), *ADDRESSES)
    assert json.loads(client.run(sys.executable, "-c", ASK, *asked)) == dict.fromkeys(asked, [True] * 3)
