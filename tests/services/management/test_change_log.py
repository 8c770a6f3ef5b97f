"""What the operator finds in the log: who joined and left, who was refused and why, and who changed what."""

import logging
import re

import attrs
import pytest

from meshloom.errors import MeshError
from meshloom.model.user import Role, User
from meshloom.testing import samples
from meshloom_management.change_log import ChangeLog
from meshloom_management.errors import SetupKeyRefused
from meshloom_management.operations import enrolment, groups, peers, setup_keys
from meshloom_management.rpc.refusals import MOST_TOLD, Refusals

pytestmark = pytest.mark.anyio


@pytest.fixture
def counted():
    return {"joined": 0, "removed": 0}


@pytest.fixture
async def said(account, accounts, caplog, counted):
    """Returns the lines since it was last asked."""

    def count(what):
        counted[what] += 1

    accounts.witness(ChangeLog(lambda: count("joined"), lambda: count("removed")).written)
    caplog.set_level(logging.INFO)

    def lines():
        found = [record.getMessage() for record in caplog.records if record.name.endswith("change_log")]
        caplog.clear()
        return found

    return lines


async def test_a_machine_that_joins_and_leaves_is_told_with_its_key(account, accounts, said, counted):
    peer = await account.enrol("laptop")
    assert said() == [f"machine 'laptop' ({peer.ip}) joined with setup key 'key' ({account.key[:5]}****)"]
    await enrolment.log_out(accounts, samples.public_key("laptop"))
    assert said() == [f"machine 'laptop' ({peer.ip}) was removed by its own logout"]
    assert counted == {"joined": 1, "removed": 1}


async def test_what_is_written_with_every_use_is_not_told(account, accounts, said, clock):
    await account.enrol("laptop")
    said()
    clock.pass_time(minutes=5)
    await account.enrol("laptop")
    peer = next(iter(account.state.peers.values()))
    await account.put(attrs.evolve(peer, connected=True, last_seen=clock.now, connection_ip="192.0.2.1"))
    assert said() == []


def by(author, mutate):
    def write(draft):
        with draft.by(author):
            return mutate(draft)

    return write


async def test_changes_are_told_with_who_made_them(account, said):
    peer = await account.enrol("laptop")
    said()
    await account.change(by("ann", lambda draft: groups.create(draft, "g", [peer.id])))
    group = next(group for group in account.state.groups.values() if group.name == "g")
    await account.change(by("ann", lambda draft: groups.update(draft, group.id, "h", [])))
    await account.change(by("bob", lambda draft: groups.delete(draft, group.id)))
    assert said() == [
        "group 'g' was made by ann",
        "group 'h' was changed by ann: name 'g' -> 'h', peers +0 -1",
        "group 'h' was removed by bob",
    ]
    wish = peers.PeerWish(
        name="desk", ssh_enabled=True, login_expiration_enabled=False, inactivity_expiration_enabled=False
    )
    await account.change(by("ann", lambda draft: peers.update(draft, peer.id, wish)))
    told = "name 'laptop' -> 'desk', dns_label 'laptop' -> 'desk', ssh_enabled False -> True"
    assert said() == [f"machine 'desk' ({peer.ip}) was changed by ann: {told}"]
    settings = attrs.evolve(account.state.account.settings, dns_domain="corp")
    changed = attrs.evolve(account.state.account, settings=settings)
    await account.change(by("ann", lambda draft: draft.put(changed)))
    assert said() == [f"settings of account {account.id} were changed by ann: dns_domain '' -> 'corp'"]


async def test_no_secret_and_no_hash_of_one_is_told(account, said):
    owner = account.state.users[account.state.account.created_by]
    record = samples.token("t", account_id=account.id, user_id=owner.id, hashed="h" * 64, name="mine")
    await account.put(attrs.evolve(owner, password_hash="$argon2id$x", is_blocked=True), record)
    password, token = said()
    assert password == "user 'owner@example.test' (owner) was changed: password, is_blocked False -> True"
    assert re.fullmatch(r"token 'mine' of 'owner@example.test', good until [\d :-]+ UTC, was made", token)


async def test_of_two_writers_of_one_transaction_each_is_named_for_what_it_wrote(account, said):
    def both(draft):
        with draft.by("ann"):
            groups.create(draft, "a", [])
        groups.create(draft, "b", [])

    await account.change(both)
    assert said() == ["group 'a' was made by ann", "group 'b' was made"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"revoked": True}, "is revoked"),
        ({"used_times": 3, "usage_limit": 3}, "is used up: 3 of 3"),
        ({"expires_at": samples.MOMENT}, "expired at "),
    ],
)
async def test_a_refused_key_is_named_with_the_reason_for_the_operator_alone(account, change, why):
    (key,) = account.state.setup_keys.values()
    await account.put(attrs.evolve(key, **change))
    with pytest.raises(SetupKeyRefused, match="^couldn't add peer: setup key is invalid$") as refused:
        await account.enrol("laptop")
    assert refused.value.why.startswith(f"setup key 'key' ({key.hint}) {why}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3bd5b111-2222-3333-4444-555555555555", "3BD5B****"),
        ("my password", "(a text that is not one)"),
        ("3bd5b", "(a text that is not one)"),
    ],
)
async def test_of_an_unknown_key_so_much_is_said_as_tells_keys_apart(account, text, shown):
    with pytest.raises(MeshError) as refused:
        await account.enrol("laptop", key=text)
    assert refused.value.why == f"setup key {shown} is unknown"
    assert setup_keys.hint_of(text) == shown


def test_single_refusals_are_told_a_few_times_a_minute(caplog):
    caplog.set_level(logging.INFO)
    refusals = Refusals()
    for number in range(1000):
        refusals.add("not_found", f"refusal {number}")
    assert [record.getMessage() for record in caplog.records] == [f"refusal {n}" for n in range(MOST_TOLD)]
    refusals.say()
    refusals.add("not_found", "a later one")
    assert [record.getMessage() for record in caplog.records][-2:] == [
        "messages of agents were refused: not_found: 1000",
        "a later one",
    ]


async def test_a_user_who_is_made_is_told_with_the_role(account, caplog):
    caplog.set_level(logging.INFO)
    user = User(id="u", account_id=account.id, email="u@example.test", role=Role.ADMIN)
    ChangeLog().written(account.state, {(User, "u"): user}, {})
    assert "user 'u@example.test' (admin) was made" in caplog.text
