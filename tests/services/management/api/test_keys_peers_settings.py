"""What administrators may do with setup keys, peers, and the account's settings."""

import re
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network

import attrs
import pytest

from meshloom.model.ids import PeerID
from meshloom.model.peer import PeerMeta
from meshloom.testing import samples

pytestmark = pytest.mark.anyio

NEVER = "0001-01-01T00:00:00Z"
KEY = {"name": "k", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}


@pytest.fixture
async def furnished(server):
    """Two peers that know IPv6, and a group of both."""
    more = {"account_id": server.account, "meta": PeerMeta(hostname="h", capabilities=frozenset({2}))}
    peers = [
        samples.peer(id, ip=IPv4Address(f"100.72.0.{n}"), ipv6=IPv6Address(f"fdff:fe2b:8f11:b34d::{n}"), **more)
        for n, id in ((5, "peer"), (6, "other"))
    ]
    await server.put(*peers, samples.group(account_id=server.account))
    everybody = server.state.all_group
    await server.put(attrs.evolve(everybody, peers=frozenset({PeerID("peer"), PeerID("other")})))
    return server


async def refused(server, method, path, body=None):
    answer = await server.ask("owner", method, path, json=body)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["message"]


async def test_a_setup_key_is_shown_once_and_kept_as_a_hash(server):
    answer = await server.ask("owner", "POST", "/api/setup-keys", json=KEY)
    made = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}", made["key"])
    assert (made["valid"], made["state"], made["used_times"], made["last_used"]) == (True, "valid", 0, NEVER)
    assert made["expires"] == "2026-11-25T12:00:00.000000Z"
    again = (await server.ask("owner", "GET", f"/api/setup-keys/{made['id']}")).json()
    assert again["key"] == f"{made['key'][:5]}****"
    assert made["key"] not in repr(server.state)
    found = server.accounts.find_setup_key(made["key"].lower())
    assert found is not None
    assert found[1].id == made["id"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"expires_in": 0}, {"expires": NEVER}),
        ({"type": "one-off"}, {"usage_limit": 1}),
        ({"type": "one-off", "usage_limit": 1}, {"usage_limit": 1}),
        ({"usage_limit": 3, "ephemeral": True, "allow_extra_dns_labels": True}, {"usage_limit": 3, "ephemeral": True}),
        ({"auto_groups": ["group", "group"]}, {"auto_groups": ["group", "group"]}),
        ({"auto_groups": None}, {"auto_groups": []}),
    ],
)
async def test_a_setup_key_is_as_wished(furnished, change, expected):
    made = await furnished.ask("owner", "POST", "/api/setup-keys", json={**KEY, **change})
    assert expected.items() <= made.json().items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "setup key name shouldn't be empty"),
        ({"type": "bogus"}, "unknown setup key type bogus"),
        ({"type": ""}, "unknown setup key type "),
        ({"expires_in": -5}, "expiresin can not be in the past"),
        ({"expires_in": 2**62}, "expires_in is too large"),
        ({"expires_in": 10**12}, "expires_in is too large"),
        ({"usage_limit": -1}, "usage_limit -1 is below 0; use 0 for a key without a limit"),
        ({"type": "one-off", "usage_limit": -1}, "usage_limit -1 is below 0; use 0 for a key without a limit"),
        ({"auto_groups": ["nope"]}, "invalid auto groups: group not found: nope"),
        (
            {"type": "one-off", "usage_limit": 5},
            (
                "usage_limit 5 is not valid for a one-off setup key, which can be used once; "
                "use type reusable for a key that can be used more than once"
            ),
        ),
    ],
)
async def test_a_bad_setup_key_is_refused(furnished, change, message):
    assert await refused(furnished, "POST", "/api/setup-keys", {**KEY, **change}) == (422, message)


async def test_a_setup_key_is_revoked_for_good(furnished):
    id = (await furnished.ask("owner", "POST", "/api/setup-keys", json=KEY)).json()["id"]
    path = f"/api/setup-keys/{id}"
    assert await refused(furnished, "PUT", path, {}) == (422, "setup key autogroups field is invalid")
    everybody = {"auto_groups": [furnished.state.all_group.id]}
    assert await refused(furnished, "PUT", path, everybody) == (
        422,
        "invalid auto groups: can't add 'all' group to the setup key",
    )
    wish = {"auto_groups": ["group"], "revoked": True}
    revoked = (await furnished.ask("owner", "PUT", path, json=wish)).json()
    assert (revoked["state"], revoked["valid"], revoked["auto_groups"]) == ("revoked", False, ["group"])
    back = {"auto_groups": [], "revoked": False}
    assert await refused(furnished, "PUT", path, back) == (422, "can't un-revoke a revoked setup key")
    assert (await furnished.ask("owner", "DELETE", path)).json() == {}
    assert await refused(furnished, "DELETE", path) == (404, f"setup key: {id} not found")


async def test_a_setup_key_expires(server):
    id = (await server.ask("owner", "POST", "/api/setup-keys", json=KEY)).json()["id"]
    server.clock.now += timedelta(days=1)
    assert (await server.ask("owner", "GET", f"/api/setup-keys/{id}")).json()["state"] == "expired"


LOWEST = "fdff:fe2b:8f11:b34d::"
PEER = {"name": "peer", "ssh_enabled": False, "login_expiration_enabled": False}


async def test_a_peer_is_renamed_with_its_dns_label(furnished):
    for name, label in (
        ("Renamed", "renamed"),
        ("other", "other-0-5"),
        ("Ünï code!", "xn--n-code--bva6o"),
        ("a.b.c", "a"),
        ("x" * 255, "x" * 59),
        ("-web-", "web"),
        (f"{'y' * 58}-{'y' * 9}", "y" * 58),
        ("!x!", "x"),
    ):
        changed = (await furnished.ask("owner", "PUT", "/api/peers/peer", json={**PEER, "name": name})).json()
        assert (changed["name"], changed["dns_label"]) == (name, f"{label}.netbird.selfhosted")


async def test_a_peer_that_is_given_its_name_once_more_loses_an_ending_that_nothing_asks_for(furnished):
    async def named(id, name):
        answer = await furnished.ask("owner", "PUT", f"/api/peers/{id}", json={**PEER, "name": name})
        return answer.json()["dns_label"].partition(".")[0]

    assert await named("peer", "other") == "other-0-5"
    assert await named("peer", "other") == "other-0-5"  # which the other has
    assert await named("other", "elsewhere") == "elsewhere"
    assert await named("peer", "other") == "other"
    assert await named("peer", "other") == "other"
    bad = attrs.evolve(furnished.state.peers["peer"], dns_label=f"-{'x' * 66}")  # as an older version gave it
    await furnished.put(bad)
    assert await named("peer", "other") == "other"


async def test_an_ephemeral_peer_keeps_the_ending_that_marks_it(furnished):
    peer = attrs.evolve(furnished.state.peers["peer"], ephemeral=True, dns_label="peer-0-5")
    await furnished.put(peer)
    answer = await furnished.ask("owner", "PUT", "/api/peers/peer", json=PEER)
    assert answer.json()["dns_label"].startswith("peer-0-5.")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"name": ""}, (422, "peer name shouldn't be empty")),
        ({"name": "!!"}, (422, "peer name '!!' has no character that a dns name may have")),
        ({"ip": "100.72.0.6"}, (422, "ip 100.72.0.6 is already assigned to peer other")),
        ({"ip": "10.0.0.1"}, (422, "ip 10.0.0.1 is not within the account network range 100.72.0.0/16")),
        *(
            ({"ip": ip}, (422, f"ip {ip} is reserved in the account network range 100.72.0.0/16: choose another"))
            for ip in ("100.72.0.0", "100.72.255.255", "100.72.255.254")
        ),
        ({"ipv6": LOWEST}, (422, f"ip {LOWEST} is reserved in the account ipv6 range {LOWEST}/64: choose another")),
        ({"ip": "nonsense"}, (422, "invalid ip address nonsense: unable to parse ip")),
        ({"ip": ""}, (422, "invalid ip address : unable to parse ip")),
        ({"ipv6": "fe80::1"}, (422, "ip fe80::1 is not within the account ipv6 range fdff:fe2b:8f11:b34d::/64")),
        ({"ipv6": "fe80::1%eth0"}, (422, "invalid ipv6 address fe80::1%eth0: unable to parse ip")),
        (
            {"login_expiration_enabled": True},
            (412, "this peer hasn't been added with the sso login, therefore the login expiration can't be updated"),
        ),
    ],
)
async def test_a_bad_change_of_a_peer_is_refused(furnished, change, answer):
    assert await refused(furnished, "PUT", "/api/peers/peer", {**PEER, **change}) == answer


@pytest.mark.parametrize("change", [{"name": "!" * 900_000}, {"ip": "1\x1b]0;owned\x07\n\u202e" * 30_000}])
async def test_a_refusal_quotes_so_much_of_a_value_and_nothing_unseen(furnished, change):
    _, message = await refused(furnished, "PUT", "/api/peers/peer", {**PEER, **change})
    assert len(message) <= 1024
    assert message.isprintable()


async def test_a_peer_gets_the_address_that_it_is_given(furnished):
    wish = {**PEER, "ip": "100.72.7.7", "ipv6": "fdff:fe2b:8f11:b34d::abcd"}
    changed = (await furnished.ask("owner", "PUT", "/api/peers/peer", json=wish)).json()
    assert (changed["ip"], changed["ipv6"]) == ("100.72.7.7", "fdff:fe2b:8f11:b34d::abcd")


async def test_a_removed_peer_leaves_its_groups_and_policies(furnished):
    wish = {"name": "p", "enabled": True, "rules": [{"action": "accept", "protocol": "all", "destinations": ["group"]}]}
    wish["rules"][0]["sourceResource"] = {"id": "peer", "type": "peer"}
    policy = (await furnished.ask("owner", "POST", "/api/policies", json=wish)).json()
    assert (await furnished.ask("owner", "DELETE", "/api/peers/peer")).json() == {}
    assert furnished.state.groups["group"].peers == {"other"}
    assert furnished.state.all_group.peers == {"other"}
    assert policy["id"] not in furnished.state.policies
    assert await refused(furnished, "DELETE", "/api/peers/peer") == (404, "peer peer account not found")
    assert await refused(furnished, "GET", "/api/peers/peer") == (404, "peer not found: peer")


async def test_peers_are_found_by_parts_of_name_and_address(furnished):
    async def found(**query):
        return [peer["id"] for peer in (await furnished.ask("owner", "GET", "/api/peers", params=query)).json()]

    assert await found() == ["other", "peer"]
    assert await found(name="pee") == ["peer"]
    assert await found(ip="100.72.0.6") == ["other"]
    assert await found(ip="nonsense") == []


async def test_a_peers_connections_are_listed(furnished):
    reached = await furnished.ask("owner", "GET", "/api/peers/peer/accessible-peers")
    assert [peer["id"] for peer in reached.json()] == ["other"]
    assert (await furnished.ask("owner", "GET", "/api/peers/nope/accessible-peers")).json() == []


async def put_settings(server, **change):
    (account,) = (await server.ask("owner", "GET", "/api/accounts")).json()
    body = {"settings": {**account["settings"], **change}}
    return await server.ask("owner", "PUT", f"/api/accounts/{account['id']}", json=body)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, {}),
        ({"peer_login_expiration": 3600}, {}),
        ({"peer_inactivity_expiration_enabled": True, "peer_inactivity_expiration": 299}, {}),
        ({"dns_domain": "Corp.Internal"}, {}),
        ({"dns_domain": "corp"}, {}),
        ({"network_range": "100.97.1.2/16"}, {"network_range": "100.97.0.0/16"}),
        ({"network_range_v6": "fd12:3456:789a::/48"}, {}),
        ({"ipv6_enabled_groups": []}, {}),
        ({"auto_update_version": "0.77.1", "auto_update_always": True}, {}),
        ({"lazy_connection_enabled": False, "metrics_push_enabled": True}, {}),
    ],
)
async def test_settings_are_changed(furnished, change, shown):
    answer = await put_settings(furnished, **change)
    assert answer.status_code == 200, answer.text
    settings = answer.json()["settings"]
    assert {**change, **shown}.items() <= settings.items()
    assert (await furnished.ask("owner", "GET", "/api/accounts")).json()[0]["settings"] == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peer_login_expiration": 3599}, "peer login expiration can't be smaller than one hour"),
        ({"peer_login_expiration": 15638400}, "peer login expiration can't be larger than 180 days"),
        ({"peer_inactivity_expiration": -1}, "peer inactivity expiration must be between 0 seconds and 180 days"),
        ({"dns_domain": "not a domain"}, 'invalid domain "not a domain" provided for dns domain'),
        ({"network_range": "nonsense"}, "invalid cidr format: nonsense: no '/'"),
        ({"network_range": "1.2.3.4/99"}, "invalid cidr format: 1.2.3.4/99"),
        ({"network_range": "100.99.0.0/30"}, "network range too small: minimum size is /28 for ipv4"),
        ({"network_range": "fd00::/64"}, "network range must be an ipv4 address"),
        ({"network_range_v6": "fd12::1/128"}, "network range too small: minimum size is /120 for ipv6"),
        ({"network_range_v6": "10.0.0.0/16"}, "network range must be an ipv6 address"),
        ({"ipv6_enabled_groups": ["nope"]}, "ipv6 enabled group nope does not exist"),
        (
            {"auto_update_version": "bogus"},
            "auto_update_version bogus is none of: disabled, latest, a version such as 1.2.3",
        ),
        ({"jwt_groups_enabled": True}, "jwt_groups_enabled is not offered by this server"),
        ({"jwt_allow_groups": ["nope"]}, "jwt_allow_groups is not offered by this server"),
        ({"peer_expose_groups": ["nope"]}, "peer_expose_groups is not offered by this server"),
        (
            {"extra": {"network_traffic_logs_groups": ["nope"]}},
            "extra.network_traffic_logs_groups is not offered by this server",
        ),
        ({"extra": {"peer_approval_enabled": True}}, "extra.peer_approval_enabled is not offered by this server"),
    ],
)
async def test_bad_settings_are_refused(furnished, change, message):
    before = furnished.state.account
    answer = await put_settings(furnished, **change)
    assert (answer.status_code, answer.json()["message"]) == (422, message)
    assert furnished.state.account == before


@pytest.mark.parametrize(
    ("key", "network", "why"),
    [
        ("network_range", "203.0.113.0/24", "it would cut off this server at 203.0.113.9"),
        ("network_range", "0.0.0.0/0", "it is larger than a /8"),
        ("network_range", "0.0.0.0/8", "0.0.0.0/8 is this host's own (rfc 1122)"),
        ("network_range", "127.5.0.0/16", "127.0.0.0/8 is the loopback's (rfc 1122)"),
        (
            "network_range",
            "169.254.169.0/24",
            "169.254.0.0/16 is link-local (rfc 3927), where clouds have their metadata",
        ),
        ("network_range", "224.0.1.0/24", "224.0.0.0/4 is multicast (rfc 5771)"),
        ("network_range", "255.255.255.0/28", "240.0.0.0/4 is reserved (rfc 1112)"),
        ("network_range_v6", "::/0", "it is larger than a /16"),
        ("network_range_v6", "::/64", "::/8 is the loopback's or ipv4's (rfc 4291)"),
        ("network_range_v6", "fe80::/64", "fe80::/10 is link-local (rfc 4291)"),
        ("network_range_v6", "ff02::/64", "ff00::/8 is multicast (rfc 4291)"),
    ],
)
async def test_a_range_that_machines_would_refuse_is_refused_and_no_machine_moves(furnished, key, network, why):
    before = furnished.state
    answer = await put_settings(furnished, **{key: network})
    like = "fd12:3456:789a:1::/64" if key.endswith("v6") else "100.64.0.0/16"
    said = f"network range {network} cannot be used: {why}: choose another, like {like}"
    assert (answer.status_code, answer.json()["message"]) == (422, said)
    assert (furnished.state.account, furnished.state.peers) == (before.account, before.peers)


async def test_a_range_of_before_that_is_bad_hinders_no_other_change(furnished):
    account = furnished.state.account
    bad = attrs.evolve(account.settings, network_range=ip_network("203.0.113.0/24"))
    await furnished.put(attrs.evolve(account, settings=bad))
    assert (await put_settings(furnished, dns_domain="corp")).status_code == 200
    assert (await put_settings(furnished, network_range="100.70.0.0/16")).status_code == 200


async def test_peers_move_into_a_new_range(furnished):
    await put_settings(furnished, network_range="10.1.0.0/16", network_range_v6="fd12::/64")
    peers = furnished.state.peers.values()
    assert all(peer.ip in ip_network("10.1.0.0/16") and peer.ipv6 in ip_network("fd12::/64") for peer in peers)
    assert len({peer.ip for peer in peers}) == 2
    await put_settings(furnished, ipv6_enabled_groups=[])
    assert [peer.ipv6 for peer in furnished.state.peers.values()] == [None, None]


async def test_another_account_is_not_the_callers(furnished):
    answer = await refused(furnished, "PUT", "/api/accounts/nope", {"settings": {}})
    assert answer == (403, "failed to validate user permissions: user is not part of this account")
