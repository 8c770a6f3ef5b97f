"""What an unmodified NetBird server answered, asked of ours: status, message and shape must be the same.

The recordings are kept beside the checkout; where they are not, the cases that matter are in the other tests here.
"""

import json
import re
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import attrs
import pytest

from meshloom.model.peer import PeerMeta
from meshloom.model.user import Role
from meshloom.testing import samples
from meshloom.testing.likeness import differences, unlike
from meshloom_management.api.endpoints import ENDPOINTS

pytestmark = pytest.mark.anyio

EXCHANGES = Path(__file__).parents[5] / "shared" / "api" / "exchanges"

ACCOUNTS = ("dc205sdqmd2oq21ebhc0", "dc201udqmd2v6tvqsrr0")
ALLS = ("dc205sdqmd2oq21ebhd0", "dc201udqmd2v6tvqsrs0")
POLICY = "dc205sdqmd2oq21ebhdg"
OWNERS = (
    "CiRhMGU5OThiMS04OWExLTQ2MzgtYWJlYS1jMGM5ZWI4NjRmMjYSBWxvY2Fs",
    "CiRhZjZjYjU5NC0zOWRlLTRlZmItOWU5Mi1hYzA0ODQ4YmQxN2USBWxvY2Fs",
)
UG, G2 = "dc206nlqmd2oq21ebjj0", "dc209ttqmd2oq21ebst0"
USERS = {
    "admin": "CiQ5NGIyMmY4NS05YjRjLTQ5MDgtOGZjYy1kNGI5YjM1ZmRhY2USBWxvY2Fs",
    "user": "CiQ1YTdmOGM0My0zZjQ3LTRhOTctODJiMS04MTQ1OWMxNjhkZjgSBWxvY2Fs",
    "auditor": "CiQ5MGI4YmIzOC1iMjZjLTRhNGUtYTgzNy01MDQ5ZTQyYjY2MmISBWxvY2Fs",
    "billing_admin": "CiRlOTdlZDhkOS1iNjNkLTQwNzItYWEzZi04YTU3NGI3N2Y0NzMSBWxvY2Fs",
    "network_admin": "CiRkNTQzODk0Yy1kYWY5LTRmZWUtYmI1OC03YTI3N2VjYzhiZjISBWxvY2Fs",
    "svc-admin": "4fcc3288-2437-4d0f-8567-b448f5591237",
    "svc-user": "41306a16-d763-4dcf-87ff-2379520d7f10",
    "svc-auditor": "5f292a2a-52cd-4b82-8615-e7fcdb9fe344",
    "svc-billing_admin": "83361adc-1033-480a-9a6f-8d0162516111",
    "svc-network_admin": "ea40512d-b0ea-4fa1-b974-05b68834d7fb",
}
PEERS = {
    "dc209adqmd2oq21ebsdg": ("node0", "100.72.99.46", None),
    "dc209adqmd2oq21ebsf0": ("node1", "100.72.104.23", None),
    "dc209adqmd2oq21ebsgg": ("node2", "100.72.254.97", None),
    "dc209bdqmd2oq21ebskg": ("eph0", "100.72.191.200", None),
    "dc20e85qmd2oq21ed1og": ("user-pc", "100.72.153.31", "user"),
    "dc20e75qmd2oq21ed19g": ("owner-laptop", "100.72.253.116", "owner"),
}

LATER = "a feature of a later version"
NO_FAULT = "not being allowed is no fault of the server"
DELIBERATE_NOTES = {
    "a deleted token is answered 401, and its hash not told": ("use of a deleted PAT",),
    "names have an end": ("300 character name", "name too long"),
    "a body that large is refused": ("1 MiB name", "1 MiB unknown field", "12 MiB unknown field"),
    "rubbish after the JSON is refused": ("trailing garbage after JSON",),
    "there would be two groups of one name": ("rename to All", "name of another group"),
    "it would be without a limit": ("negative usage_limit",),
    "no port is in it": ("range end below start",),
    "no machine can have it": ("network address", "broadcast address"),
    "the address before it was refused": ("new ipv6",),
    "an empty name is the client's fault, not the server's": ("empty name", "only ssh_enabled", "{}"),
    NO_FAULT: (
        "get as user",
        "another's peer, reachable by policy, regular_users_view_blocked false",
        "unknown account",
        "another account",
        "update as billing_admin",
    ),
    "a bad value is the client's fault, not the server's": ("auto update bad",),
    "the message says nothing of transactions": ("ip of another peer", "ip outside the range"),
    "the message does not name functions of a library": (
        "bad ip",
        "empty ip",
        "bad ipv6",
        "network range bad",
        "v6 range bad",
    ),
    "the second rule has an id of its own, and keeps its sources": ("two rules",),
    LATER: (
        "unknown resource",
        "bad resource type",
        "destinationResource unknown",
        "destinationResource bad type",
        "full, unknown field",
    ),
}
DELIBERATE = {note: reason for reason, notes in DELIBERATE_NOTES.items() for note in notes}
ACCOUNT_LATER = {
    *(
        "agent network only",
        "dashboard features",
        "expose on",
        "expose on without groups",
        "expose unknown group",
        "jwt groups on",
        "jwt groups on without a claim",
        "local mfa on",
        "onboarding",
        "onboarding back",
        "peer approval on",
        "traffic logs on",
        "user approval off",
    ),
}
UNSEEN = "how it came about is not in the recording"
OF_ONE_FILE = {
    ("setup-keys", "after three peers enrolled with it"): UNSEEN,
    ("setup-keys", "one-off key after use"): UNSEEN,
    ("peers", "delete a peer that routes a network"): LATER,
    ("groups", "get All"): UNSEEN,
    ("groups", "group used by policies"): UNSEEN,
    **{
        ("groups", f"group {what}"): LATER
        for what in (
            "used by a route as peer_groups",
            "used by routes and policies",
            "holding a resource",
            "used by nameservers",
            "used by DNS settings",
            "used by a DNS zone",
        )
    },
    ("groups", "set resources through the group"): LATER,
    ("accounts", "PAT of a deleted account"): LATER,
    ("users", "permissions, regular_users_view_blocked false"): UNSEEN,
    ("users", "JWT of a deleted user"): LATER,
    ("users", "again"): LATER,
    ("users", "after the transfer"): LATER,
    ("policies", "get"): LATER,
    ("policies", "policy after its destinationResource was deleted"): LATER,
    ("accounts", "only the required settings: what the rest falls back to"): "the ranges stay, and are shown",
    ("accounts", "list"): LATER,
    ("users", "PAT of a blocked service user"): LATER,
    ("users", "JWT of a blocked user"): LATER,
    ("users", "PAT of a deleted service user"): LATER,
    ("users", "peer of the deleted user"): LATER,
}
MASKED = {
    *("id", "key", "plain_token", "personal_access_token", "user_id", "created_by", "idp_id"),  # each server's own
    *("peers_count", "connection_ip", "kernel_version", "connected", "ipv6"),  # of the peers that were there
    *("embedded_idp_enabled", "onboarding_flow_pending", "signup_form_pending"),  # of a dashboard
}


@attrs.define
class Replay:
    """One recording on one server."""

    server: object
    ours: dict[str, str]
    misfit: object
    outcome: Counter = attrs.field(factory=Counter)
    different: list[str] = attrs.field(factory=list)

    def translated(self, text):
        for recorded, own in self.ours.items():
            text = text.replace(recorded, own)
        return text

    async def run(self, name, record):
        method, path = record["method"], self.translated(record["path"])
        answer = await self.server.client.request(
            method, path, params=record.get("params"), headers=self.headers(record), content=self.body(record)
        )
        problem = self.compare(record, answer)
        if answer.headers.get("content-type", "").startswith("application/json"):
            assert self.misfit(method, path, answer) == "", record
        if problem is None:
            self.outcome["same"] += 1
            self.learn(record, answer)
        elif (reason := reason_to_differ(name, record)) is not None:
            self.outcome["deliberately different"] += 1
            assert answer.status_code < 500, (record, answer.text)
            assert reason
            self.learn(record, answer)
        else:
            self.outcome["different"] += 1
            self.different.append(f"{record['as']} {method} {path} ({record.get('note')}): {problem}")

    def headers(self, record):
        headers = dict(record.get("request_headers") or {})
        if "Authorization" in headers:
            if record["as"] in self.server.tokens:
                scheme = headers["Authorization"].split(" ")[0]
                headers["Authorization"] = f"{scheme} {self.server.tokens[record['as']]}"
        elif record["as"] == "expired":
            headers["Authorization"] = f"Token {self.server.tokens['expired']}"
        elif record["as"] in self.server.tokens:
            headers["Authorization"] = f"Token {self.server.tokens[record['as']]}"
        if record["method"] == "POST" and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"  # as the recorder's client said
        return {key: value.encode("latin-1", "replace") for key, value in headers.items()}

    def body(self, record):
        if "raw_body" in record:
            text = record["raw_body"]
        elif record.get("body") is not None:
            text = json.dumps(record["body"])
        else:
            return None
        text = re.sub(r"<(\d+) MiB of x>", lambda found: "x" * (int(found[1]) << 20), text)
        text = re.sub(r"<(\d+) x>", lambda found: "x" * int(found[1]), text)
        return self.translated(text).encode()

    def compare(self, record, answer):
        if answer.status_code != record["status"]:
            return f"{answer.status_code} {answer.text[:200]} in place of {record['status']}"
        if "response" not in record:
            expected = record.get("response_text", "")
            return None if answer.text == expected else f"{answer.text!r} in place of {expected!r}"
        for key, value in (record.get("headers") or {}).items():
            if plain(answer.headers.get(key)) != plain(value):
                return f"{key}: {answer.headers.get(key)} in place of {value}"
        expected = json.loads(self.translated(json.dumps(record["response"])))
        if isinstance(expected, dict) and set(expected) == {"message", "code"}:
            expected["message"] = self.translated(record["response"]["message"])
            return None if answer.json() == expected else f"{answer.text} in place of {expected}"
        if isinstance(expected, list):  # what there is depends on what was made before: the first item tells the shape
            return unlike(expected, without_warnings(answer.json()), MASKED)
        return "; ".join(differences(expected, without_warnings(answer.json()), MASKED)) or None

    def learn(self, record, answer):
        """The id of what was made: later requests speak of it."""
        if answer.status_code == 200 and isinstance(record.get("response"), dict) and record["method"] == "POST":
            recorded, made = record["response"], answer.json()
            recorded, made = recorded.get("personal_access_token", recorded), made.get("personal_access_token", made)
            if isinstance(recorded, dict) and isinstance(made, dict) and "id" in recorded and "id" in made:
                self.ours[recorded["id"]] = made["id"]


def without_warnings(answer):
    """An answer as clients see it who look at what they know only."""
    for each in answer if isinstance(answer, list) else [answer]:
        if isinstance(each, dict):
            each.pop("warnings", None)
    return answer


def reason_to_differ(name, record):
    note = record.get("note") or ""
    if (name, note) in OF_ONE_FILE:
        return OF_ONE_FILE[name, note]
    if name == "accounts" and note in ACCOUNT_LATER:
        return LATER
    if note in DELIBERATE and not (name == "groups" and note == "empty name"):
        return DELIBERATE[note]
    return None


def plain(header):
    """Some of the recorded server's answers name the character set, some do not."""
    return header and header.removesuffix("; charset=UTF-8")


def offered(method, path):
    return any(
        re.fullmatch(re.sub(r"{\w+}", "[^/]+", endpoint.path), path) and endpoint.method == method
        for endpoint in ENDPOINTS
    )


def within_scope(record, server):
    """Whether the record speaks of what is offered, by somebody who is there, with credentials that there are."""
    if "method" not in record or record["as"] not in {*server.tokens, "none", "bad-token", "expired"}:
        return False
    if (record.get("request_headers") or {}).get("Authorization", "").lower().startswith("bearer eyj"):
        return record["status"] == 401
    if not record["path"].startswith("/api/") or "response" not in record:
        return record["status"] in (204, 404) and "/.." not in record["path"]
    return offered(record["method"], record["path"]) or record["method"] == "OPTIONS"


async def seed(server, *, with_groups):
    """The users, groups and peers that were there before most recordings."""
    owner, state = server.state.account.created_by, server.state
    for name, id in USERS.items():
        role = Role(name.removeprefix("svc-"))
        shown = {"admin": "Ada Admin"}.get(name, name if name.startswith("svc-") else f"Reg {name}")
        await server.add_user(name, role, machine=name.startswith("svc-"), id=id, shown=shown)
    account = state.account.id
    keys = {"account_id": account, "created_at": server.clock()}
    prefix = state.account.settings.network_range_v6
    await server.put(
        *(
            samples.peer(
                id,
                name=name,
                dns_label=name,
                ip=IPv4Address(ip),
                ipv6=IPv6Address(int(prefix[0]) + number + 1),
                meta=PeerMeta(
                    hostname=name,
                    os="Debian GNU/Linux",
                    os_version="12",
                    agent_version="0.77.1",
                    capabilities=frozenset({2}),
                ),
                user_id={"owner": owner, None: None}.get(user, USERS.get(user)),
                login_expiration_enabled=user is not None,
                inactivity_expiration_enabled=user == "user",
                **keys,
            )
            for number, (id, (name, ip, user)) in enumerate(PEERS.items())
        ),
    )
    if with_groups:
        await server.put(
            samples.group(UG, name="ug", peers=frozenset(), account_id=account),
            samples.group(G2, name="g2", peers=frozenset(list(PEERS)[:2]), account_id=account),
        )
    everyone = state.all_group
    await server.put(attrs.evolve(everyone, peers=frozenset(PEERS)))
    return {
        **dict.fromkeys(ACCOUNTS, account),
        **dict.fromkeys(ALLS, everyone.id),
        **dict.fromkeys(OWNERS, owner),
        POLICY: next(iter(state.policies)),
    }


def records(name):
    return [json.loads(line) for line in (EXCHANGES / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.skipif(not EXCHANGES.is_dir(), reason="the recordings are not beside the checkout")
@pytest.mark.parametrize("name", ["tokens", "setup-keys", "peers", "groups", "policies", "accounts", "users", "http"])
async def test_answers_are_those_of_the_recordings(empty_server, misfit, name, record_property):
    server = empty_server
    await server.set_up()
    replay = Replay(server, await seed(server, with_groups=name not in {"groups", "http"}), misfit)
    await server.add_expired()
    for record in records(name):
        if within_scope(record, server):
            await replay.run(name, record)
        else:
            replay.outcome["not offered"] += 1
    record_property("outcome", dict(replay.outcome))
    print(name, dict(replay.outcome))
    assert "\n".join(replay.different) == ""


@pytest.mark.skipif(not EXCHANGES.is_dir(), reason="the recordings are not beside the checkout")
async def test_the_first_set_up_is_that_of_the_recording(empty_server, misfit):
    replay = Replay(empty_server, {}, misfit)
    for record in records("instance"):
        if (
            record["as"] == "none"
            and offered(record["method"], record["path"])
            and record.get("note") != "after the restart"
        ):
            await replay.run("instance", record)
        if "second setup, malformed" in (record.get("note") or ""):
            break
    print("instance", dict(replay.outcome))
    assert "\n".join(replay.different) == ""


@pytest.mark.skipif(not EXCHANGES.is_dir(), reason="the recordings are not beside the checkout")
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OWNER])
async def test_everybody_is_told_the_recorded_permissions(server, role):
    (record,) = (record for record in records("current-user") if record["as"] == role and record["status"] == 200)
    answer = await server.ask(role, "GET", "/api/users/current")
    assert answer.json()["permissions"] == record["response"]["permissions"]
