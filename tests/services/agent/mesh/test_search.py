"""What people are told of a direct path that is not there: what is true, and when it is tried again."""

import pytest

from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import Candidate, CandidateKind
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage
from meshloom.testing.lab import Conditions, Nat
from meshloom_agent.mesh import HomeRelay, Mesh, OwnRelays, RelayPlan, RemotePeer
from meshloom_agent.mesh.relay import RelayUse
from meshloom_agent.mesh.relays import PathNews
from meshloom_agent.mesh.search import (
    LONGEST,
    LOOKING,
    LOST,
    NO_ADDRESS,
    NO_DIRECT_PATH,
    NOT_OFFERED,
    SWITCHED_OFF,
    WAITING,
    Search,
    Try,
    span,
)
from meshloom_agent.mesh.status import LEFT, connecting_status
from meshloom_agent.testing import SimulatedMesh

OWN, OTHER = PublicKey.of(b"\2" * 32), PublicKey.of(b"\1" * 32)
RELAY = "rel://relay:80"


@pytest.mark.parametrize(
    ("reason", "next_try", "how", "told"),
    [
        (WAITING, 5.0, {}, "waiting for its offer"),
        (LOOKING, 5.0, {"is_under_way": True}, "looking for a direct path"),
        (NO_DIRECT_PATH, 20.0, {}, "relayed: no direct path was found; next try in 20 s"),
        (NO_DIRECT_PATH, 200.5, {}, "relayed: no direct path was found; next try in 4 min"),
        (NO_DIRECT_PATH, -3.0, {}, "relayed: no direct path was found; next try in 1 s"),
        (NO_DIRECT_PATH, None, {}, "relayed: no direct path was found"),
        (NO_DIRECT_PATH, 20.0, {"is_under_way": True}, "relayed: no direct path was found; the next try is under way"),
        (
            NO_DIRECT_PATH,
            20.0,
            {"has_signal": False},
            "relayed: no direct path was found; the next try waits for signal, which is away",
        ),
        (LOST, 0.5, {}, "relayed: the direct path was lost; next try in 1 s"),
        (NO_ADDRESS, 60.0, {}, "relayed: it told no address; next try in 60 s"),
        (NOT_OFFERED, None, {}, "it offers no direct path"),
        (SWITCHED_OFF, None, {}, "direct paths are switched off"),
    ],
)
def test_a_relayed_pair_says_what_is_true(reason, next_try, how, told):
    assert Search(reason).told_relayed(0.0, Try(next_try, **how)) == told


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1, "1 s"), (0.2, "1 s"), (89, "89 s"), (90, "2 min"), (120, "2 min"), (121, "3 min")]
)
def test_a_duration_is_rounded_up(seconds, said):
    assert span(seconds) == said


def test_a_search_that_begins_again_and_again_is_over_at_some_time():
    search = Search()
    for moment in range(0, 60, 3):
        search.begin(float(moment))
        assert search.told(float(moment)) == (LOOKING if moment <= LONGEST else NO_DIRECT_PATH)
    search.found()
    search.begin(100.0)
    assert search.told(101.0) == LOOKING


def test_a_peer_that_offers_ever_new_sessions_is_not_looked_for_for_ever():
    """As NetBird's clients do while they are relayed."""
    mesh = Mesh(OWN, bytes)
    mesh.set_local(["192.0.2.10"], 51820, 0.0)
    mesh.set_relays(OwnRelays(HomeRelay(RELAY), frozenset({RELAY})), 0.0)
    mesh.signal_ready(True, 0.0)
    mesh.set_peers({OTHER: RemotePeer(())}, 0.0)
    line = Candidate(CandidateKind.HOST, ("198.51.100.1", 1000), 2_000_000_000, "1").line()
    for moment in range(0, 120, 3):
        now = float(moment)
        credentials = Credentials(f"ufrag{moment:011d}", f"pwd{moment:029d}")
        offer = {"credentials": credentials, "session_id": moment.to_bytes(5), "relay_address": RELAY}
        mesh.receive_signal(SignalMessage(SignalKind.OFFER, OTHER, **offer), now)
        mesh.receive_signal(SignalMessage(SignalKind.CANDIDATE, OTHER, candidate=line), now)
        mesh.relay_opened(OTHER, now)
        while (due := mesh.deadline()) is not None and due < moment + 3:
            now = max(now, due)
            mesh.handle_timer(now)
    told = mesh.status(OTHER, 119.0)
    assert told.is_relayed
    assert told.reason.startswith("relayed: no direct path was found; ")


def test_a_pair_whose_udp_is_blocked_says_so_and_when_the_next_try_is():
    mesh = SimulatedMesh(1, Conditions(delay=0.01), relays=1)
    site = mesh.lab.behind(Nat())
    one, other = mesh.agent(site.host()), mesh.agent(mesh.lab.behind(Nat()).host())
    mesh.clock.run_for(10)
    site.router.nat = Nat(blocks_udp=True)
    mesh.clock.run_for(60)
    for each, peer in ((one, other), (other, one)):
        told = each.path_to(peer)
        assert told.is_relayed
        assert told.reason.startswith("relayed: no direct path was found; next try in ")


def test_a_peer_that_no_path_reaches_and_that_left_its_relay_is_offline():
    found = connecting_status(100.0, LOST, RELAY, LEFT, 112.5)
    assert (found.state, found.reason) == ("Connecting", "offline; last seen 13 s ago")
    assert "offline" not in connecting_status(100.0, LOST, RELAY, "it does not answer", 112.5).reason


def test_the_plan_says_that_a_peer_left_its_relay():
    plan = RelayPlan()
    plan.set_servers([RELAY], 0.0)
    plan.link_up(RELAY, HomeRelay(RELAY), 0.0)
    plan.set_wanted({OTHER: RelayUse(RELAY)}, 0.0)
    plan.peer_online(RELAY, OTHER, 0.0)
    assert plan.news() == [PathNews(OTHER)]
    plan.peer_offline(RELAY, OTHER, 1.0)
    assert plan.news() == [PathNews(OTHER, LEFT)]
