"""Which relays an agent is connected to, and which relayed paths are open."""

import pytest

from meshloom.model.keys import PublicKey
from meshloom_agent.mesh import HomeRelay, RelayPlan, RelayUse
from meshloom_agent.mesh.relays import RelayTimers

A, B, C = "rel://a", "rel://b", "rel://c"
PEER, OTHER = (PublicKey.of(bytes([number]) * 32) for number in (1, 2))
TIMERS = RelayTimers(stagger=0.3, keep=60.0)


@pytest.fixture
def plan():
    return RelayPlan(TIMERS)


def at_home(plan, url=A, now=0.0):
    plan.set_servers([A, B], now, [C])
    plan.link_up(url, HomeRelay(url), now)
    return plan


def opened(plan):
    return {each.peer for each in plan.news() if each.lost is None}


def lost(plan):
    return {each.peer: each.lost for each in plan.news() if each.lost is not None}


def test_without_relays_there_is_nothing_to_do(plan):
    plan.set_servers([], 0.0)
    assert plan.links == ()
    assert plan.home is None
    assert plan.deadline() is None


def test_the_best_relay_is_tried_first_and_the_others_soon_after(plan):
    plan.set_servers([A, B, C], 0.0)
    tried = [set(plan.links)]
    while (due := plan.deadline()) is not None:
        plan.handle_timer(due)
        tried.append(set(plan.links))
    assert tried == [{A}, {A, B}, {A, B, C}]
    assert due is None


def test_the_first_that_answers_is_home_and_the_others_are_left(plan):
    plan.set_servers([A, B], 0.0)
    plan.handle_timer(0.3)
    plan.link_up(B, HomeRelay("rel://b.own.name"), 0.4)
    assert plan.home == HomeRelay("rel://b.own.name")
    assert set(plan.links) == {B}
    assert plan.home_url == B


def test_a_home_that_dies_is_tried_again_and_the_others_beside_it(plan):
    at_home(plan)
    plan.link_down(A, "killed", 10.0)
    assert plan.home is None
    assert set(plan.links) == {A}
    plan.handle_timer(plan.deadline())
    assert set(plan.links) == {A, B}
    plan.link_up(B, HomeRelay(B), 10.5)
    assert plan.home == HomeRelay(B)
    assert set(plan.links) == {B}


def test_a_home_that_is_not_listed_any_more_is_left_when_another_is_there(plan):
    at_home(plan)
    plan.set_servers([C], 5.0)
    assert plan.home == HomeRelay(A)
    assert set(plan.links) == {A, C}
    plan.link_up(C, HomeRelay(C), 5.1)
    assert plan.home == HomeRelay(C)
    plan.handle_timer(5.1 + TIMERS.keep)
    assert set(plan.links) == {C}


def test_a_path_through_our_home_is_open_when_the_peer_is_there(plan):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(A)}, 1.0)
    assert plan.subscriptions() == {A: {PEER}}
    assert plan.link_of(PEER) is None
    plan.peer_online(A, PEER, 1.1)
    assert opened(plan) == {PEER}
    assert plan.link_of(PEER) == A


def test_a_home_that_calls_itself_otherwise_is_recognised(plan):
    plan.set_servers([A], 0.0)
    plan.link_up(A, HomeRelay("rels://public.name:443"), 0.1)
    assert plan.own.home == HomeRelay("rels://public.name:443")
    plan.set_wanted({PEER: RelayUse("rels://public.name:443")}, 1.0)
    assert set(plan.links) == {A}
    assert plan.subscriptions() == {A: {PEER}}


def test_a_foreign_relay_is_opened_on_demand_and_left_when_idle(plan):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(C)}, 1.0)
    assert set(plan.links) == {A, C}
    plan.link_up(C, HomeRelay(C), 1.1)
    plan.peer_online(C, PEER, 1.2)
    assert opened(plan) == {PEER}
    plan.set_wanted({}, 2.0)
    assert C in plan.links
    assert plan.deadline() == 2.0 + TIMERS.keep
    plan.handle_timer(2.0 + TIMERS.keep)
    assert set(plan.links) == {A}


def test_a_path_is_lost_with_its_link_or_its_peer_and_comes_back_by_itself(plan):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(A), OTHER: RelayUse(A)}, 1.0)
    plan.peer_online(A, PEER, 1.1)
    plan.peer_online(A, OTHER, 1.1)
    plan.news()
    plan.peer_offline(A, OTHER, 2.0)
    assert lost(plan) == {OTHER: "it has left its relay"}
    plan.link_down(A, "killed", 3.0)
    assert lost(plan) == {PEER: "killed"}
    plan.link_up(A, HomeRelay(A), 4.0)
    plan.peer_online(A, PEER, 4.1)
    assert opened(plan) == {PEER}


def test_another_attempt_opens_the_path_anew(plan):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(A)}, 1.0)
    plan.peer_online(A, PEER, 1.1)
    assert opened(plan) == {PEER}
    plan.set_wanted({PEER: RelayUse(A, attempt=1)}, 2.0)
    assert opened(plan) == {PEER}


def test_what_a_link_that_is_not_wanted_tells_is_ignored(plan):
    at_home(plan)
    plan.link_up("rel://nobody", HomeRelay("rel://nobody"), 1.0)
    plan.link_down("rel://nobody", "why", 1.0)
    plan.peer_online("rel://nobody", PEER, 1.0)
    plan.peer_offline("rel://nobody", PEER, 1.0)
    assert set(plan.links) == {A}
    assert plan.news() == []


@pytest.mark.parametrize(
    "url", ["rel://evil", "rel://a:81", "rels://a", "rel://127.0.0.1", "rel://169.254.169.254", "rel://192.168.1.1"]
)
def test_a_relay_that_nobody_but_a_peer_names_is_not_connected_to(plan, url):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(url)}, 1.0)
    assert set(plan.links) == {A}
    assert plan.subscriptions() == {A: set()}
    plan.peer_online(A, PEER, 1.1)
    assert plan.link_of(PEER) is None


@pytest.mark.parametrize("url", ["rel://c:80", "rel://C", "rel://c/relay"])
def test_a_named_relay_is_recognised_however_its_url_is_written(plan, url):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(url)}, 1.0)
    assert set(plan.links) == {A, C}


def test_a_relay_that_is_named_no_longer_is_left(plan):
    at_home(plan)
    plan.set_wanted({PEER: RelayUse(C)}, 1.0)
    plan.set_servers([A, B], 2.0)
    plan.handle_timer(2.0 + TIMERS.keep)
    assert set(plan.links) == {A}
    plan.set_servers([A, B], 100.0, [C])
    assert set(plan.links) == {A, C}


def test_peers_that_name_now_one_relay_and_now_another_make_us_connect_to_each_once(plan):
    at_home(plan)
    begun, before = [], set()
    for number in range(600):
        plan.set_wanted({PEER: RelayUse((B, C)[number % 2], attempt=number), OTHER: RelayUse(f"rel://{number}")}, 1.0)
        plan.handle_timer(1.0 + number / 100)
        begun += sorted(set(plan.links) - before)
        before = set(plan.links)
    assert begun == [A, B, C]
    plan.set_wanted({}, 7.0)
    plan.handle_timer(7.0 + TIMERS.keep)
    assert set(plan.links) == {A}
