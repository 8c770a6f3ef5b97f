"""Machines join with setup keys, come back, and leave."""

import re
from ipaddress import ip_address

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.model.peer import PeerFlags
from meshloom.model.state import AccountState
from meshloom.testing import samples
from meshloom_front.rpc.status import Status
from meshloom_management.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    RuleError,
)
from meshloom_management.operations import enrolment, peers
from meshloom_management.operations.labels import free_label, label_of
from meshloom_management.rpc.statuses import status_of

pytestmark = pytest.mark.anyio


async def test_a_machine_joins_with_a_key_and_is_known_from_then_on(account, accounts, clock):
    made = await account.enrol("laptop")
    assert account.state.all_group.peers == {made.id}
    assert made.ip in account.state.account.settings.network_range
    assert made.dns_label == made.name == "laptop"
    clock.pass_time(hours=1)
    _, again = await enrolment.login(accounts, account.login("laptop"))
    assert (again.id, again.ip, again.last_login) == (made.id, made.ip, clock.now)


@pytest.mark.parametrize(
    ("key", "refusal", "text"),
    [
        ("", PermissionDenied, "no peer auth method provided, please use a setup key or interactive SSO login"),
        (enrolment.NO_KEY, PermissionDenied, "no peer auth method provided"),
        ("00000000-1111-4222-8333-444444444444", NotFound, "setup key is invalid"),
        ("not-a-key", NotFound, "setup key is invalid"),
    ],
)
async def test_an_unknown_machine_without_a_good_key_is_refused(account, accounts, key, refusal, text):
    with pytest.raises(refusal, match=text):
        await enrolment.login(accounts, account.login("stranger", key=key))
    assert not account.state.peers


async def test_the_case_of_a_key_does_not_matter(account):
    await account.enrol("one", key=account.key.lower())
    await account.enrol("two", key=account.key.upper())


@pytest.mark.parametrize("why", ["revoked", "expired", "deleted"])
async def test_a_key_that_is_no_longer_good_enrols_nobody(account, clock, why):
    text = await account.make_key(name="k")
    key = next(key for key in account.state.setup_keys.values() if key.name == "k")
    match why:
        case "revoked":
            await account.put(attrs.evolve(key, revoked=True))
        case "expired":
            clock.pass_time(days=2)
        case "deleted":
            await account.change(lambda draft: draft.delete(type(key), key.id))
    with pytest.raises(NotFound, match="setup key is invalid"):
        await account.enrol("late", key=text)


@pytest.mark.parametrize(("wish", "uses"), [({"type": "one-off", "usage_limit": 1}, 1), ({"usage_limit": 3}, 3)])
async def test_of_many_at_once_a_key_enrols_as_many_as_it_may(account, wish, uses):
    text = await account.make_key(name="k", **wish)
    outcomes = []

    async def try_to(number):
        try:
            outcomes.append(await account.enrol(f"machine-{number}", key=text))
        except NotFound as refusal:
            outcomes.append(refusal)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(try_to, number)
    assert sum(not isinstance(outcome, NotFound) for outcome in outcomes) == uses == len(account.state.peers)
    key = next(key for key in account.state.setup_keys.values() if key.name == "k")
    assert key.used_times == uses


async def test_one_machine_that_asks_twice_at_once_is_one_peer(account):
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(account.enrol, "laptop")
    assert len(account.state.peers) == 1
    assert next(iter(account.state.setup_keys.values())).used_times == 1


async def test_a_keys_groups_are_joined(account):
    await account.put(samples.group("g", account_id=account.id, peers=frozenset()))
    text = await account.make_key(name="k", auto_groups=("g",))
    made = await account.enrol("one", key=text)
    assert account.state.groups["g"].peers == {made.id}


async def test_equal_names_are_told_apart_by_the_address(account):
    first, second = await account.enrol("one", hostname="pi"), await account.enrol("two", hostname="pi")
    *_, third, fourth = second.ip.packed
    assert (first.dns_label, second.dns_label) == ("pi", f"pi-{third}-{fourth}")


async def test_many_machines_of_one_name_have_different_labels_and_addresses(account):
    made = [await account.enrol(f"m{number}", hostname="same") for number in range(60)]
    assert len({peer.dns_label for peer in made}) == len({peer.ip for peer in made}) == 60


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Bob's PC.example.net", "bob-s-pc"),
        ("UPPER_case", "upper-case"),
        ("müller", "xn--mller-kva"),
        ("a" * 80, "a" * 59),
        ("-laptop-", "laptop"),
        (f"{'a' * 58}-b", "a" * 58),
    ],
)
def test_a_label_is_made_of_the_host_name(name, label):
    assert label_of(name) == label


@pytest.mark.parametrize("is_marked", [False, True])
@given(name=st.one_of(st.text(min_size=1, max_size=300), st.from_regex(r"[a-c-]{40,80}", fullmatch=True)))
def test_each_of_many_equal_names_has_a_label_that_dns_takes(is_marked, name):
    try:
        label_of(name)
    except InvalidArgument:
        return
    peers = {}
    address = ip_address("100.111.222.133")
    for number in range(5):  # all of one address, so that every way of telling them apart is needed
        state = AccountState(samples.account(), peers=dict(peers))
        label = free_label(state, name, address, marked=is_marked)
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label), label
        assert label not in {peer.dns_label for peer in peers.values()}
        peers[str(number)] = samples.peer(str(number), dns_label=label, name=name)


async def test_a_machine_whose_name_has_no_letter_is_refused(account):
    with pytest.raises(RuleError, match="no character"):
        await account.enrol("one", hostname="...")


async def test_extra_labels_need_a_key_that_allows_them(account):
    """A client that was denied would forget its login: the refusal is another one."""
    with pytest.raises(PreconditionFailed, match="doesn't allow extra DNS labels"):
        await account.enrol("one", labels=("web",))
    assert status_of(PreconditionFailed())[0] is Status.FAILED_PRECONDITION
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    made = await account.enrol("two", key=text, labels=("Web", "*.Sub", "a.b", "_svc.web", "web"))
    assert made.extra_dns_labels == ("web", "*.sub", "a.b", "_svc.web")


@pytest.mark.parametrize(
    "label",
    [
        "not a label",
        "*",
        "*.",
        "a.*.b",
        "**.a",
        ".a",
        "a.",
        "a..b",
        "-a",
        "a-",
        "ä",
        "a\n",
        "",
        "a" * 64,
        "x." * 95 + "y",
    ],
)
async def test_what_is_not_a_name_is_not_a_label(account, label):
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    with pytest.raises(InvalidArgument, match="invalid DNS label"):
        await account.enrol("one", key=text, labels=(label,))


async def test_an_extra_label_that_is_another_machines_name_is_refused(account):
    await account.enrol("laptop")
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    with pytest.raises(AlreadyExists, match="'laptop' is the name of another machine"):
        await account.enrol("thief", key=text, labels=("web", "LAPTOP"))
    assert len(account.state.peers) == 1


async def test_several_machines_may_have_the_same_extra_label(account):
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    made = [await account.enrol(name, key=text, labels=("web",)) for name in ("one", "two")]
    assert {peer.extra_dns_labels for peer in made} == {("web",)}


@pytest.mark.parametrize("ephemeral", [False, True])
async def test_no_later_machine_is_named_as_an_extra_label(account, ephemeral):
    """Neither by the plain name nor by one with the end of its address."""
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    marked = tuple(f"web-{ip.packed[2]}-{ip.packed[3]}" for ip in account.state.account.settings.network_range)
    await account.change(
        lambda draft: draft.put(samples.peer("thief", account_id=account.id, extra_dns_labels=("web", *marked)))
    )
    late = await account.enrol("web", key=await account.make_key(name="e", ephemeral=ephemeral) if ephemeral else text)
    assert late.dns_label == f"web-{str(late.ip).replace('.', '-')}"


async def test_a_machine_may_be_renamed_to_its_own_extra_label_and_to_nobody_elses(account):
    text = await account.make_key(name="k", allow_extra_dns_labels=True)
    one = await account.enrol("one", key=text, labels=("web",))
    two = await account.enrol("two")
    wish = peers.PeerWish(
        name="web", ssh_enabled=False, login_expiration_enabled=False, inactivity_expiration_enabled=False
    )
    renamed = await account.change(lambda draft: peers.update(draft, one.id, wish))
    other = await account.change(lambda draft: peers.update(draft, two.id, wish))
    assert renamed.dns_label == "web"
    assert other.dns_label != "web"


async def test_a_range_that_is_used_up_says_so_and_keeps_the_key(account):
    settings = account.state.account.settings
    small = attrs.evolve(settings, network_range=next(settings.network_range.subnets(new_prefix=28)))
    await account.put(attrs.evolve(account.state.account, settings=small))
    for number in range(13):  # of 16: not the network's own, the broadcast address and the one before it
        await account.enrol(f"m{number}")
    ends = {peer.ip.packed[-1] for peer in account.state.peers.values()}
    assert ends == set(range(1, 14))
    with pytest.raises(PreconditionFailed, match="no address left"):
        await account.enrol("one-too-many")
    assert next(iter(account.state.setup_keys.values())).used_times == 13


async def test_ipv6_comes_and_goes_with_what_the_machine_can(account, accounts):
    made = await account.enrol("one")
    assert made.ipv6 in account.state.account.settings.network_range_v6
    without = attrs.evolve(made.meta, flags=PeerFlags(disable_ipv6=True))
    await enrolment.tell(accounts, made.key, without)
    assert account.peer(made.id).ipv6 is None
    await enrolment.tell(accounts, made.key, made.meta)
    assert account.peer(made.id).ipv6 is not None


async def test_telling_the_same_again_writes_nothing(account, accounts):
    made = await account.enrol("one")
    before = account.state
    await enrolment.tell(accounts, made.key, made.meta)
    await enrolment.login(accounts, account.login("one"))
    assert account.state is before


async def test_who_logs_out_is_unknown_and_can_join_again(account, accounts):
    made = await account.enrol("one")
    await enrolment.log_out(accounts, made.key)
    assert not account.state.peers
    with pytest.raises(NotFound):
        await enrolment.log_out(accounts, made.key)
    with pytest.raises(PermissionDenied):
        await enrolment.tell(accounts, made.key, made.meta)
    assert (await account.enrol("one")).id != made.id


async def test_keys_do_not_appear_in_texts(account):
    assert account.key not in repr(account.login("one", key=account.key))
    assert account.key not in repr(account.state.setup_keys)
