"""Which TURN servers peers are told of, and with which credentials."""

import base64
import hashlib
import hmac
import math
from datetime import UTC, datetime, timedelta

import pytest

from meshloom.config import Secret
from meshloom.errors import ConfigError
from meshloom.rpc import management_pb2 as pb
from meshloom.testing import samples
from meshloom_front.config import ServerConfig, TurnTable
from meshloom_management.addresses import RelayCredentials, ServiceAddresses, TurnCredentials
from meshloom_management.configured import service_addresses
from meshloom_management.maps.builder import netbird_config
from meshloom_management.updates import Updates

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UDP, TCP, TLS = (
    "turn:a.example:3478?transport=udp",
    "turn:a.example:3478?transport=tcp",
    "turns:a.example:5349?transport=tcp",
)


def turn(**table):
    return service_addresses(ServerConfig(public_url="https://mesh.example", turn=TurnTable(**table))).turn


def told(credentials, peer="peer7"):
    made = samples.peer(id=peer)
    config = netbird_config(ServiceAddresses("signal:443", turn=credentials), made, metrics=False, now=NOW)
    return pb.NetbirdConfig.FromString(config).turns


def test_without_urls_there_is_none():
    assert turn() is None
    assert not told(None)


def test_each_peer_is_given_a_user_and_a_password_that_expire():
    servers = told(turn(urls=(UDP, TLS), secret=Secret("shared\n"), lifetime=timedelta(hours=2)))
    assert [server.hostConfig.uri for server in servers] == [UDP, TLS]
    assert [server.hostConfig.protocol for server in servers] == [pb.HostConfig.UDP, pb.HostConfig.TCP]
    user = f"{int((NOW + timedelta(hours=2)).timestamp())}:peer7"
    password = base64.b64encode(hmac.new(b"shared", user.encode(), hashlib.sha1).digest()).decode()
    assert {(server.user, server.password) for server in servers} == {(user, password)}


def test_a_static_user_is_the_same_for_all():
    given = turn(urls=(UDP,), user="mesh", password=Secret("word"))
    assert [(server.user, server.password) for server in told(given)] == [("mesh", "word")]
    assert "word" not in repr(given)


def test_an_url_is_completed_so_that_every_client_reads_it_alike():
    urls = ("turn:a.example", "turn:a.example:3478?transport=tcp", "turns:a.example", "turn:[2001:db8::1]:99")
    assert turn(urls=urls, user="mesh", password=Secret("word")).urls == (
        UDP,
        TCP,
        TLS,
        "turn:[2001:db8::1]:99?transport=udp",
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"urls": (UDP,)}, "turn.secret"),
        ({"urls": (UDP,), "user": "mesh"}, "turn.password"),
        ({"urls": (UDP,), "secret": Secret("x"), "user": "mesh"}, "exclude"),
        ({"urls": (UDP,), "secret": Secret(" \n")}, "turn.secret"),
        ({"urls": (UDP,), "secret": Secret("x"), "lifetime": timedelta(seconds=5)}, "turn.lifetime"),
        ({"urls": ("stun:a.example:3478",), "secret": Secret("x")}, "turn.urls"),
        ({"urls": ("turn:a.example:70000",), "secret": Secret("x")}, "turn.urls"),
        ({"urls": ("turns:a.example:5349?transport=udp",), "secret": Secret("x")}, "turn.urls"),
        ({"urls": ("turn:a b:3478",), "secret": Secret("x")}, "turn.urls"),
    ],
)
def test_what_cannot_be_is_told_by_its_key(table, problem):
    with pytest.raises(ConfigError, match=problem):
        turn(**table)


def test_connected_peers_are_given_new_ones_at_half_of_the_shortest_life():
    relay = RelayCredentials(("rels://a.example:443",), "secret", timedelta(hours=24))
    made = TurnCredentials((UDP,), "shared", timedelta(hours=2))
    static = TurnCredentials((UDP,), user="mesh", password="word")
    assert ServiceAddresses("s:1", relay=relay, turn=made).renew_every == 3600
    assert ServiceAddresses("s:1", turn=made).renew_every == 3600
    assert ServiceAddresses("s:1", relay=relay, turn=static).renew_every == 12 * 3600
    assert ServiceAddresses("s:1", turn=static).renew_every == math.inf


@pytest.mark.anyio
async def test_a_renewal_brings_a_new_password_without_a_map(account, accounts):
    addresses = ServiceAddresses("signal:443", turn=TurnCredentials((UDP,), "shared"))
    updates = Updates(accounts, addresses, "x", monotonic=lambda: 0.0)
    peer = await account.enrol("a")
    async with updates.connected(account.id, peer.id) as stream:
        first = pb.SyncResponse.FromString(stream.take())
        assert first.netbirdConfig.turns[0].user.endswith(f":{peer.id}")
        updates.renew_config()
        second = pb.SyncResponse.FromString(stream.take())
        assert second.netbirdConfig.turns
        assert not second.HasField("NetworkMap")
