"""Networks that a mesh may not have: what servers are at is known, and no account gets it."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ConfigError
from meshloom.model.overlay import LARGEST, NEVER, objection
from meshloom_front.config import ServerConfig
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.addresses import RelayCredentials, ServiceAddresses, TurnCredentials
from meshloom_management.configured import check_ranges
from meshloom_management.nearby import resolved

pytestmark = pytest.mark.anyio
SERVERS = {ip_address("203.0.113.9"): "this server", ip_address("2001:db8::9"): "this server"}


@given(st.data())
def test_what_is_free_of_objections_touches_nothing_that_must_stay_reachable(data):
    version = data.draw(st.sampled_from((4, 6)))
    address = data.draw(st.ip_addresses(v=version))
    network = ip_network((address, data.draw(st.integers(0, address.max_prefixlen))), strict=False)
    servers = {data.draw(st.ip_addresses(v=version)): "this server"}
    touches = any(each.version == version and each.overlaps(network) for each in NEVER)
    is_bad = touches or network.prefixlen < LARGEST[version] or any(server in network for server in servers)
    assert bool(objection(network, servers)) == is_bad


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("203.0.113.0/24", "it would cut off this server at 203.0.113.9"),
        ("0.0.0.0/0", "it is larger than a /8"),
        ("127.1.0.0/16", "127.0.0.0/8 is the loopback's"),
        ("100.64.0.0/30", "it is smaller than a /28"),
    ],
)
def test_a_server_does_not_start_with_a_range_that_machines_refuse(network, why):
    with pytest.raises(ConfigError, match=f"network_range = '{network}': no mesh can have it: {why}"):
        check_ranges(ServerConfig(network_range=IPv4Network(network)), SERVERS)


def test_nor_with_one_of_ipv6():
    with pytest.raises(ConfigError, match="network_range_v6 = '2001:db8::/64': .* cut off this server"):
        check_ranges(ServerConfig(network_range_v6=IPv6Network("2001:db8::/64")), SERVERS)
    check_ranges(ServerConfig(network_range_v6=IPv6Network("fd12::/64")), SERVERS)


async def test_a_random_range_of_a_new_account_does_not_contain_the_server(store, clock):
    second = 64 + bytes(1)[0]
    new = NewAccounts(avoided={ip_address(f"100.{second}.3.4")})
    async with Accounts.open(store, clock=clock, entropy=bytes, new=new) as accounts:
        owner = await accounts.create(email="o@example.test", name="o", password_hash="")
        assert accounts.state(owner.account_id).account.settings.network_range == ip_network("100.65.0.0/16")


def test_all_that_machines_are_told_of_counts():
    addresses = ServiceAddresses(
        signal="signal.example.net:443",
        stun=("stun:192.0.2.1:3478", "stun:[2001:db8::1]:3478"),
        relay=RelayCredentials(("rels://Relay.example.net:443", "rel://192.0.2.2:80"), "secret"),
        turn=TurnCredentials(("turn:turn.example.net:3478?transport=udp", "turns:192.0.2.3:5349?transport=tcp")),
    )
    assert addresses.hosts == {
        "signal.example.net": "signal",
        "relay.example.net": "relays",
        "192.0.2.2": "relays",
        "192.0.2.1": "STUN",
        "2001:db8::1": "STUN",
        "turn.example.net": "TURN",
        "192.0.2.3": "TURN",
    }
    assert attrs.evolve(addresses, signal="[2001:db8::7]:443").hosts["2001:db8::7"] == "signal"


async def test_a_name_that_leads_nowhere_is_left_out_and_others_are_found(monkeypatch):
    async def answer(host, *_args, **_more):
        if host == "slow.example.net":
            await anyio.sleep_forever()
        if host == "none.example.net":
            raise OSError
        return [(0, 0, 0, "", ("192.0.2.5", 0)), (0, 0, 0, "", ("fe80::1%eth0", 0, 0, 0))]

    monkeypatch.setattr(anyio, "getaddrinfo", answer)
    hosts = {"192.0.2.1": "this server", "slow.example.net": "a", "none.example.net": "b", "good.example.net": "relays"}
    found = await resolved(hosts, within=0.05)
    assert found == {
        ip_address("192.0.2.1"): "this server",
        **dict.fromkeys(map(ip_address, ("192.0.2.5", "fe80::1")), "relays"),
    }
