"""What administrators may do with groups and policies."""

import attrs
import pytest

from meshloom.model.ids import GroupID, PeerID
from meshloom.testing import samples

pytestmark = pytest.mark.anyio


@pytest.fixture
async def furnished(server):
    """Two peers, and a group of both."""
    account = {"account_id": server.account}
    peers = samples.peer(**account), samples.peer("other", **account)
    await server.put(*peers, samples.group(**account), samples.group("empty", peers=frozenset(), **account))
    everybody = server.state.all_group
    await server.put(attrs.evolve(everybody, peers=frozenset({PeerID("peer"), PeerID("other")})))
    return server


async def refused(server, method, path, body=None):
    answer = await server.ask("owner", method, path, json=body)
    assert answer.status_code >= 400, answer.text
    assert answer.json()["code"] == answer.status_code
    return answer.status_code, answer.json()["message"]


async def test_a_group_is_made_changed_and_removed(furnished):
    made = (await furnished.ask("owner", "POST", "/api/groups", json={"name": "g", "peers": ["peer", "nobody"]})).json()
    assert made["peers"] == [{"id": "peer", "name": "peer"}]
    assert (made["issued"], made["peers_count"], made["resources"], made["resources_count"]) == ("api", 1, [], 0)
    path = f"/api/groups/{made['id']}"
    changed = (await furnished.ask("owner", "PUT", path, json={"name": "h", "peers": ["other", "other"]})).json()
    assert (changed["name"], [peer["id"] for peer in changed["peers"]]) == ("h", ["other"])
    assert (await furnished.ask("owner", "GET", path)).json() == changed
    assert (await furnished.ask("owner", "DELETE", path)).json() == {}
    assert await refused(furnished, "GET", path) == (404, f"group: {made['id']} not found")
    assert await refused(furnished, "DELETE", path) == (400, f"group: {made['id']} not found")


async def test_groups_are_found_by_their_exact_name(furnished):
    found = await furnished.ask("owner", "GET", "/api/groups", params={"name": "All"})
    assert [group["peers_count"] for group in found.json()] == [2]
    assert await refused(furnished, "GET", "/api/groups?name=all") == (404, "group: all not found")


async def test_the_group_of_all_is_nobodys_to_change(furnished):
    path = f"/api/groups/{furnished.state.all_group.id}"
    assert await refused(furnished, "PUT", path, {"name": "All"}) == (422, "updating group all is not allowed")
    assert await refused(furnished, "DELETE", path) == (400, "deleting group ALL is not allowed")
    second = (409, "group with name all already exists")
    assert await refused(furnished, "POST", "/api/groups", {"name": "All"}) == second
    assert await refused(furnished, "PUT", "/api/groups/group", {"name": "All"}) == second


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, (422, "group name shouldn't be empty")),
        ({"name": ""}, (422, "group name shouldn't be empty")),
        ({"name": "group"}, (409, "group with name group already exists")),
        (
            {"name": "x", "resources": [{"id": "r", "type": "host"}]},
            (422, "resources of groups are not offered by this server"),
        ),
    ],
)
async def test_a_bad_group_is_refused(furnished, body, answer):
    assert await refused(furnished, "POST", "/api/groups", body) == answer


async def test_a_group_is_not_given_the_name_of_another(furnished):
    taken = 409, "group with name empty already exists"
    assert await refused(furnished, "PUT", "/api/groups/group", {"name": "empty", "peers": []}) == taken
    assert furnished.state.groups["group"].peers
    twin = attrs.evolve(furnished.state.groups["group"], name="empty")  # as an older version let it be
    await furnished.put(twin)
    assert (await furnished.ask("owner", "PUT", "/api/groups/group", json={"name": "empty"})).status_code == 200


async def test_a_group_in_use_stays(furnished):
    account = {"account_id": furnished.account}
    group = frozenset({GroupID("empty")})
    path = "/api/groups/empty"
    policy = samples.policy(**account, name="p")
    for field in ("sources", "destinations"):
        rule = attrs.evolve(policy.rules[0], sources=frozenset(), destinations=frozenset())
        await furnished.put(attrs.evolve(policy, rules=(attrs.evolve(rule, **{field: group}),)))
        assert await refused(furnished, "DELETE", path) == (400, "group has been linked to policy: p")
    await furnished.ask("owner", "DELETE", "/api/policies/policy")
    await furnished.put(samples.setup_key(**account, name="k", auto_groups=("empty",)))
    assert await refused(furnished, "DELETE", path) == (400, "group has been linked to setup key: k")
    await furnished.ask("owner", "DELETE", "/api/setup-keys/key")
    owner = furnished.state.users[furnished.state.account.created_by]
    await furnished.put(attrs.evolve(owner, auto_groups=group))
    assert await refused(furnished, "DELETE", path) == (400, f"group has been linked to user: {owner.id}")
    await furnished.put(owner)
    assert (await furnished.ask("owner", "DELETE", path)).json() == {}


async def test_a_removed_group_is_no_group_of_ipv6_any_more(furnished):
    account = furnished.state.account
    enabled = account.settings.ipv6_enabled_groups | {GroupID("empty")}
    await furnished.put(attrs.evolve(account, settings=attrs.evolve(account.settings, ipv6_enabled_groups=enabled)))
    assert (await furnished.ask("owner", "DELETE", "/api/groups/empty")).json() == {}
    assert "empty" not in furnished.state.account.settings.ipv6_enabled_groups


RULE = {
    "name": "r",
    "enabled": True,
    "action": "accept",
    "bidirectional": True,
    "protocol": "all",
    "sources": ["group"],
    "destinations": ["empty"],
}


def policy(**rule):
    return {"name": "p", "enabled": True, "rules": [{**RULE, **rule}]}


async def test_a_policy_is_made_changed_and_removed(furnished):
    made = (await furnished.ask("owner", "POST", "/api/policies", json=policy())).json()
    (rule,) = made["rules"]
    assert rule["id"] == made["id"]
    assert rule["sources"] == [{"id": "group", "name": "group", "peers_count": 2, "resources_count": 0}]
    assert not {"ports", "port_ranges", "sourceResource", "authorized_groups"} & rule.keys()
    path = f"/api/policies/{made['id']}"
    wish = {**policy(protocol="tcp", ports=["22"], id=rule["id"]), "enabled": False}
    changed = (await furnished.ask("owner", "PUT", path, json=wish)).json()
    assert (changed["enabled"], changed["rules"][0]["ports"]) == (False, ["22"])
    assert (await furnished.ask("owner", "GET", path)).json() == changed
    assert (await furnished.ask("owner", "DELETE", path)).json() == {}
    assert await refused(furnished, "DELETE", path) == (404, f"policy: {made['id']} not found")


async def test_each_rule_has_an_id_and_keeps_its_sides(furnished):
    wish = {"name": "p", "enabled": True, "rules": [RULE, {**RULE, "name": "second"}]}
    made = (await furnished.ask("owner", "POST", "/api/policies", json=wish)).json()
    first, second = made["rules"]
    assert first["id"] == made["id"] != second["id"]
    assert first["sources"] == second["sources"]
    kept = {**wish, "rules": [{**RULE, "id": second["id"]}]}
    changed = (await furnished.ask("owner", "PUT", f"/api/policies/{made['id']}", json=kept)).json()
    assert [rule["id"] for rule in changed["rules"]] == [second["id"]]
    foreign = await refused(furnished, "PUT", f"/api/policies/{made['id']}", policy(id="bogus"))
    assert foreign == (422, "invalid rule id: bogus")


async def test_all_rules_of_a_policy_count(furnished):
    account = {"account_id": furnished.account}
    third = samples.peer("third", **account)
    sides = {name: frozenset({PeerID(name)}) for name in ("peer", "other", "third")}
    await furnished.put(
        third, *(samples.group(f"only-{name}", peers=peers, **account) for name, peers in sides.items())
    )
    (default,) = (await furnished.ask("owner", "GET", "/api/policies")).json()
    await furnished.ask("owner", "DELETE", f"/api/policies/{default['id']}")
    first = {**RULE, "sources": ["only-peer"], "destinations": ["only-other"]}
    second = {**RULE, "name": "second", "sources": ["only-peer"], "destinations": ["only-third"]}

    async def reached():
        answer = await furnished.ask("owner", "GET", "/api/peers/peer/accessible-peers")
        return [peer["id"] for peer in answer.json()]

    wish = {"name": "p", "enabled": True, "rules": [first, second]}
    made = (await furnished.ask("owner", "POST", "/api/policies", json=wish)).json()
    assert await reached() == ["other", "third"]
    off = {**wish, "rules": [{**first, "enabled": False}, second]}
    await furnished.ask("owner", "PUT", f"/api/policies/{made['id']}", json=off)
    assert await reached() == ["third"]


PORT = "valid port value is in 1..65535 range"
BOTH = "specify either sources or source resources and destinations or destination resources"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"name": "p"}, "policy rules shouldn't be empty"),
        ({"name": "p", "rules": []}, "policy rules shouldn't be empty"),
        ({**policy(), "name": ""}, "policy name shouldn't be empty"),
        (policy(action="bogus"), "unknown action type"),
        (policy(action=""), "unknown action type"),
        (policy(protocol="TCP"), "unknown protocol type: tcp"),
        (policy(protocol=""), "unknown protocol type: "),
        (policy(sources=None), BOTH),
        (policy(destinations=None), BOTH),
        (policy(ports=["80"]), "for all or icmp protocol ports is not allowed"),
        (
            policy(protocol="icmp", port_ranges=[{"start": 1, "end": 2}]),
            "for all or icmp protocol ports is not allowed",
        ),
        *(
            (policy(protocol="tcp", ports=[port]), PORT)
            for port in ("0", "65536", "http", "80-90", "-1", "", "²", " 80")
        ),
        (policy(protocol="udp", port_ranges=[{"start": 0, "end": 80}]), PORT),
        (policy(protocol="udp", port_ranges=[{"start": 80, "end": 70000}]), PORT),
        (
            policy(protocol="tcp", port_ranges=[{"start": 1, "end": 1}, {"start": 9000, "end": 80}]),
            "port range 9000-80 ends before it begins: write 80-9000",
        ),
        (
            policy(protocol="tcp", ports=["80"], port_ranges=[{"start": 1, "end": 2}]),
            "specify either individual ports or port ranges, not both",
        ),
        (
            policy(sourceResource={"id": "peer", "type": "peer"}),
            "specify either sources or  source resources, not both",
        ),
        (
            policy(sources=None, sourceResource={"id": "n", "type": "host"}),
            "sourceresource type host is not offered by this server: use peer",
        ),
        (
            policy(protocol="netbird-ssh", authorized_groups={"nope": ["root"]}),
            "authorized group for netbird-ssh protocol should be specified for each source group",
        ),
    ],
)
async def test_a_bad_policy_is_refused(furnished, wish, message):
    assert await refused(furnished, "POST", "/api/policies", wish) == (422, message)


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ({"sources": [], "destinations": []}, {"sources": [], "destinations": []}),
        ({"sources": ["nobody"]}, {"sources": []}),
        (
            {"sources": None, "sourceResource": {"id": "peer", "type": "peer"}},
            {"sourceResource": {"id": "peer", "type": "peer"}},
        ),
        ({"protocol": "tcp", "port_ranges": [{"start": 5, "end": 9}]}, {"port_ranges": [{"start": 5, "end": 9}]}),
        (
            {"protocol": "netbird-ssh", "authorized_groups": {"group": ["root"]}},
            {"authorized_groups": {"group": ["root"]}},
        ),
        ({"action": "drop", "bidirectional": False}, {"action": "drop", "bidirectional": False}),
    ],
)
async def test_a_rule_is_shown_as_it_was_written(furnished, rule, shown):
    made = await furnished.ask("owner", "POST", "/api/policies", json=policy(**rule))
    assert made.status_code == 200, made.text
    assert shown.items() <= made.json()["rules"][0].items()


async def test_users_of_ssh_belong_to_ssh_only(furnished):
    wish = policy(protocol="tcp", ports=["22"], authorized_groups={"group": ["root"]})
    made = await furnished.ask("owner", "POST", "/api/policies", json=wish)
    assert "authorized_groups" not in made.json()["rules"][0]


async def warned(server, method, path, body):
    answer = await server.ask("owner", method, path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json().get("warnings")


async def test_peers_of_a_group_that_do_not_exist_are_named_in_the_answer_and_in_the_log(furnished, caplog):
    body = {"name": "g", "peers": ["peer", "nobody", "nobody", "x" * 500]}
    said = f"peers that do not exist are left out: 'nobody', '{'x' * 64}'"
    assert await warned(furnished, "POST", "/api/groups", body) == [said]
    assert await warned(furnished, "PUT", "/api/groups/empty", {**body, "name": "empty"}) == [said]
    assert f"group 'g', written by owner@example.test: {said}" in caplog.text
    assert await warned(furnished, "PUT", "/api/groups/empty", {"name": "empty", "peers": ["peer"]}) is None
    assert "warnings" not in (await furnished.ask("owner", "GET", "/api/groups/empty")).json()


async def test_of_very_many_ten_are_named(furnished):
    (said,) = await warned(furnished, "POST", "/api/groups", {"name": "g", "peers": [f"p{n}" for n in range(5000)]})
    assert said.endswith("'p9' and 4990 more")


async def test_what_a_policy_names_that_does_not_exist_is_said(furnished, caplog):
    wish = policy(sources=["group", "gone"], destinations=["gone", "other-gone"])
    groups = "groups that do not exist are left out: 'gone', 'other-gone'"
    assert await warned(furnished, "POST", "/api/policies", wish) == [groups]
    assert f"policy 'p', written by owner@example.test: {groups}" in caplog.text
    ends = policy(sources=None, sourceResource={"id": "no-peer", "type": "peer"})
    peers = "peers that do not exist are left out: 'no-peer'"
    checks = "posture checks that do not exist are left out: 'c'"
    assert await warned(furnished, "POST", "/api/policies", {**ends, "source_posture_checks": ["c"]}) == [peers, checks]
    ssh = policy(protocol="netbird-ssh", authorized_groups={"group": ["root"], "gone": []})
    assert (await warned(furnished, "POST", "/api/policies", ssh))[0] == "groups that do not exist are left out: 'gone'"


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({}, None),
        ({"protocol": "tcp", "ports": ["22"]}, "ports and protocols"),
        ({"protocol": "udp", "port_ranges": [{"start": 1, "end": 9}]}, "ports and protocols"),
        ({"protocol": "icmp"}, "protocols"),
        ({"bidirectional": False}, "directions"),
        ({"action": "drop"}, "denials"),
        ({"protocol": "tcp", "ports": ["22"], "enabled": False}, None),
    ],
)
async def test_an_answer_does_not_pretend_that_agents_enforce_more_than_they_do(furnished, rule, named):
    made = (await furnished.ask("owner", "POST", "/api/policies", json=policy(**rule))).json()
    ours = f"Meshloom's agents do not enforce {named} yet, unlike NetBird's clients"
    expected = named and [f"{ours}: on them the peers of both sides reach each other in everything"]
    assert made.get("warnings") == expected
    assert (await furnished.ask("owner", "GET", f"/api/policies/{made['id']}")).json() == made
    assert made in (await furnished.ask("owner", "GET", "/api/policies")).json()
