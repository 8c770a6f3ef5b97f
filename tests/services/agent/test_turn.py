"""Addresses on TURN servers: what management tells of them, and what is made of it."""

import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom_agent.network import turn_servers
from meshloom_agent.trust import Refusals
from meshloom_agent.turn import TurnServer


def config(*uris):
    made = pb.NetbirdConfig()
    for uri in uris:
        entry = made.turns.add(user="1900000000:mesh", password="secret")
        entry.hostConfig.uri = uri
    return made


@pytest.mark.parametrize(
    ("uri", "transport", "tls"),
    [
        ("turn:turn.example.net:3478?transport=udp", "udp", False),
        ("turn:turn.example.net:3478", "udp", False),
        ("turn:turn.example.net:3478?transport=tcp", "tcp", False),
        ("turns:turn.example.net:3478?transport=tcp", "tcp", True),
        ("turns:turn.example.net:3478", "tcp", True),
    ],
)
def test_a_server_is_read_from_its_uri(uri, transport, tls):
    (server,) = turn_servers(config(uri))
    assert server == TurnServer("turn.example.net", 3478, transport, tls, "1900000000:mesh", "secret")


def test_an_address_of_ipv6_loses_its_brackets_and_gets_them_back():
    (server,) = turn_servers(config("turn:[2001:db8::1]:3478?transport=udp"))
    assert server.host == "2001:db8::1"
    assert server.uri == "turn:[2001:db8::1]:3478?transport=udp"


@pytest.mark.parametrize(
    "uri", ["", "stun:host:3478", "turn:host", "turn::3478", "turn:host:port", "turn:h:1?transport=x"]
)
def test_what_cannot_be_used_is_left_out(uri):
    refusals = Refusals()
    assert turn_servers(config(uri), refusals) == []
    assert "TURN" in refusals.told[0]


def test_a_password_is_not_shown():
    (server,) = turn_servers(config("turn:host:3478"))
    assert "secret" not in repr(server)
