"""Lies, forgeries, servers and messages that are away: what becomes of the paths, in the simulated network."""

import attrs
import pytest

from meshloom.protocol.ice import Candidate, CandidateKind
from meshloom.protocol.signal import SignalKind, SignalMessage
from meshloom.protocol.stun import Attribute, Kind, encode, pack_address
from meshloom.testing.lab import Conditions, Filtering, Mapping, Nat
from meshloom_agent.testing import SimulatedMesh

CONE = Nat()
SYMMETRIC = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
OPEN_CONE = Nat(filtering=Filtering.ENDPOINT_INDEPENDENT)
FORGED = "203.0.113.66"


def make(nat, *, agents=2, relays=1, **more):
    mesh = SimulatedMesh(1, Conditions(delay=0.01), relays=relays, **more)
    for _ in range(agents):
        mesh.agent(mesh.lab.behind(nat).host())
    mesh.clock.run_for(10)
    return mesh, *mesh.agents


def longest_silence(mesh, one, other, seconds, every=0.2):
    """Seconds between two answers to pings of one to the other, at the most."""
    answers = [mesh.clock.now]
    end = mesh.clock.now + seconds
    while mesh.clock.now < end:
        one.ping(other)
        mesh.clock.run_for(every)
        if one.answered.get(other.key, -1.0) > answers[-1]:
            answers.append(one.answered[other.key])
    return max(later - earlier for earlier, later in zip(answers, [*answers[1:], end], strict=True))


# -- lies --------------------------------------------------------------------------------------------------------


def test_a_peer_that_says_it_is_where_another_is_gets_none_of_its_packets():
    mesh, one, liar, honest = make(OPEN_CONE, agents=3)
    packets = []
    honest.observe_packet = lambda _, data, source: packets.append((data, source))
    for agent in (one, liar):
        agent.host.leave().join(mesh.lab.behind(SYMMETRIC).network)
        agent.moved()
    mesh.clock.run_for(2)
    for address in honest.mesh.public_addresses:
        line = Candidate(CandidateKind.HOST, address, 2_130_706_431, "1").line()
        mesh.exchange.send(one.key, SignalMessage(SignalKind.CANDIDATE, liar.key, candidate=line))
    sent = one.host.sent
    mesh.clock.run_for(30)
    assert one.path_to(liar).is_relayed
    assert one.path_to(honest).remote_address in honest.mesh.public_addresses
    mesh.time_to_ping(one, liar, within=1)
    mesh.time_to_ping(one, honest, within=1)
    assert {data[4:36] for data, _ in packets} <= {one.key.raw, liar.key.raw}
    assert all(data[36:68] == honest.key.raw for data, _ in packets), "what is for the liar goes to the relay"
    assert (one.host.sent - sent) / 30 < 5


# -- forgeries ---------------------------------------------------------------------------------------------------


def forge_answer(mesh, agent, transaction, *, source):
    value = pack_address((FORGED, 6666), transaction)
    data = encode(Kind.SUCCESS, transaction, [(Attribute.XOR_MAPPED_ADDRESS, value)])
    agent.mesh.receive_datagram(data, source, mesh.clock.now)
    agent.settle()


def test_answers_that_stun_did_not_give_are_not_believed():
    mesh, one, other = make(CONE)
    known = one.mesh.public_addresses
    questions = []
    one.host.observe = lambda datagram: (
        questions.append(datagram) if datagram.destination == mesh.stun.address else None
    )
    mesh.stun.is_up = False
    mesh.clock.run_for(26)
    asked = questions[-1].data[8:20]
    for transaction, source in (
        (bytes(12), mesh.stun.address),
        (asked[:4] + bytes(8), mesh.stun.address),
        (asked, (FORGED, 3478)),
    ):
        forge_answer(mesh, one, transaction, source=source)
    assert one.mesh.public_addresses == known
    assert mesh.are_connected(one, other)
    forge_answer(mesh, one, asked, source=mesh.stun.address)
    assert one.mesh.public_addresses == [(FORGED, 6666)], "who reads the question can answer it: it is not secret"
    assert mesh.time_to_ping(one, other, within=1) < 0.1, "and yet no path depends on it"


def test_forged_checks_and_answers_change_no_path():
    mesh, one, other = make(CONE)
    path = one.path_to(other)
    sent = []
    one.host.observe = sent.append
    seen = []
    other.host.observe = seen.append
    mesh.clock.run_for(4)
    check = next(datagram.data for datagram in seen if datagram.data[:2] == b"\0\1")
    ours = next(datagram.data for datagram in sent if datagram.data[:2] == b"\0\1")
    sent.clear()
    forged = encode(Kind.REQUEST, check[8:20], [(Attribute.USERNAME, check[24 : 24 + 4])], b"a guess")
    answer = encode(
        Kind.SUCCESS,
        ours[8:20],
        [(Attribute.XOR_MAPPED_ADDRESS, pack_address((FORGED, 1), ours[8:20]))],
        b"a guess",
    )
    error = encode(Kind.ERROR, ours[8:20], [(Attribute.ERROR_CODE, b"\0\0\4\x57Role Conflict")], b"a guess")
    for data in (forged, answer, error, ours):
        for source in ((FORGED, 1000), path.remote_address):
            one.mesh.receive_datagram(data, source, mesh.clock.now)
            one.settle()
    assert not [datagram for datagram in sent if datagram.destination[0] == FORGED]
    assert one.path_to(other).remote_address == path.remote_address
    assert mesh.time_to_ping(one, other, within=1) < 0.1


# -- ways that fail in part --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [0, 1])
def test_a_path_that_loses_all_in_one_direction_gives_way_to_the_relay(way):
    mesh, one, other = make(CONE)
    ends = [agent.mesh.public_addresses[0][0] for agent in (one, other)]
    assert not one.path_to(other).is_relayed
    mesh.lab.internet.network.lose((ends[way], ends[1 - way]))
    assert longest_silence(mesh, one, other, 60) < 5
    assert one.path_to(other).is_relayed
    assert other.path_to(one).is_relayed


@pytest.mark.parametrize(("loss", "answered"), [(0.01, 0.95), (0.1, 0.75), (0.3, 0.45)])
def test_lost_datagrams_do_not_part_two_that_have_a_relay(loss, answered):
    mesh, one, other = make(CONE)
    mesh.lab.internet.network.conditions = Conditions(delay=0.01, loss=loss)
    count = 0
    for _ in range(1200):
        one.ping(other)
        began = mesh.clock.now
        mesh.clock.run_for(0.5)
        assert mesh.are_connected(one, other)
        count += one.answered.get(other.key, -1.0) >= began
    assert count / 1200 >= answered


def test_a_router_that_forgets_after_twenty_seconds_takes_no_path():
    mesh, one, other = make(attrs.evolve(CONE, timeout=20))
    assert not one.path_to(other).is_relayed
    since = one.path_to(other).since
    mesh.clock.run_for(600)
    assert one.path_to(other).since == since
    assert mesh.time_to_ping(other, one, within=1) < 0.1
    late = mesh.agent(mesh.lab.behind(CONE).host())
    mesh.clock.run_for(2)
    assert not late.path_to(one).is_relayed, "what STUN tells is still good when somebody comes"


# -- relays ------------------------------------------------------------------------------------------------------


def test_relays_that_change_under_traffic_are_changed_without_a_gap():
    mesh, one, other = make(SYMMETRIC, relays=3)
    first, second, third = mesh.relays
    for urls in ([second, third], [third], [first, third], [first]):
        for agent in mesh.agents:
            agent.take_relays(urls)
        assert longest_silence(mesh, one, other, 10) < 1, urls
        assert one.path_to(other).relay in urls
        assert one.path_to(other).is_relayed


def test_a_relay_that_is_killed_costs_seconds_and_the_next_is_taken():
    mesh, one, other = make(SYMMETRIC, relays=2)
    used = one.path_to(other).relay
    mesh.relays[used].set_up(False)
    assert longest_silence(mesh, one, other, 20) < 2
    assert one.path_to(other).relay not in ("", used)


def test_without_any_relay_paths_that_are_direct_go_on():
    mesh, one, other = make(CONE, relays=2)
    for relay in mesh.relays.values():
        relay.set_up(False)
    for agent in mesh.agents:
        agent.take_relays([])
    assert longest_silence(mesh, one, other, 60) < 0.5


def test_a_wireguard_that_was_led_away_from_the_relay_comes_back_to_it():
    mesh, one, other = make(SYMMETRIC)
    for agent, peer in ((one, other), (other, one)):
        agent.wireguard.set_endpoint(peer.key, (FORGED, 51820))
    mesh.clock.run_for(31)
    assert mesh.time_to_ping(one, other, within=1) < 0.1
    assert longest_silence(mesh, one, other, 60) < 0.5


def test_it_does_so_at_once_when_the_relay_is_taken_again():
    mesh, one, other = make(SYMMETRIC)
    relay = next(iter(mesh.relays.values()))
    relay.set_up(False)
    mesh.clock.run_for(1)
    for agent, peer in ((one, other), (other, one)):
        agent.wireguard.set_endpoint(peer.key, (FORGED, 51820))
    relay.set_up(True)
    mesh.clock.run_until(lambda: mesh.are_connected(one, other), within=5)
    mesh.clock.run_for(0.2)
    assert mesh.time_to_ping(one, other, within=1) < 0.1


# -- signal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nat", [CONE, SYMMETRIC])
def test_paths_stay_for_as_long_as_signal_is_away(nat):
    mesh, one, other = make(nat)
    mesh.exchange.set_up(False)
    for _ in range(12):
        mesh.clock.run_for(300)
        assert mesh.are_connected(one, other)
        assert mesh.time_to_ping(one, other, within=1) < 0.1
    assert one.path_to(other).is_relayed is (nat is SYMMETRIC)


def test_a_direct_path_that_is_lost_while_signal_is_away_leaves_the_relay():
    mesh, one, other = make(CONE)
    mesh.exchange.set_up(False)
    ends = [agent.mesh.public_addresses[0][0] for agent in (one, other)]
    mesh.lab.internet.network.lose(tuple(ends), tuple(ends[::-1]))
    assert longest_silence(mesh, one, other, 30) < 5
    assert one.path_to(other).is_relayed
    mesh.lab.internet.network.lose()
    mesh.clock.run_for(300)
    mesh.exchange.set_up(True)
    mesh.clock.run_until(lambda: not (one.path_to(other).is_relayed or other.path_to(one).is_relayed), within=10)


@pytest.mark.parametrize("nat", [CONE, SYMMETRIC])
def test_paths_that_signal_was_needed_for_come_when_it_is_back(nat):
    mesh = SimulatedMesh(1, Conditions(delay=0.01), relays=1)
    mesh.exchange.set_up(False)
    one, other = (mesh.agent(mesh.lab.behind(nat).host()) for _ in range(2))
    mesh.clock.run_for(600)
    assert not mesh.are_connected(one, other)
    mesh.exchange.set_up(True)
    mesh.time_to_connect(one, other, within=1)
    mesh.time_to_ping(one, other, within=1)


# -- sleepers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("nat", [CONE, SYMMETRIC])
def test_a_wake_up_that_is_lost_is_said_again(nat, first):
    mesh, *agents = make(nat, lazy=True)
    one, other = agents if first == 0 else reversed(agents)
    lost = []
    deliver = mesh.exchange._deliver
    mesh.exchange._deliver = lambda receiver, message: lost.append(message)
    one.ping(other)
    mesh.clock.run_for(0.5)
    assert any(message.kind is SignalKind.OFFER for message in lost)
    assert other.path_to(one).state == "Idle"
    mesh.exchange._deliver = deliver
    assert mesh.clock.run_until(lambda: one.answered.get(other.key) is not None, within=6) > 0


@pytest.mark.parametrize("first", [0, 1])
def test_who_is_woken_while_signal_is_away_answers_when_it_is_back(first):
    mesh, *agents = make(CONE, lazy=True)
    one, other = agents if first == 0 else reversed(agents)
    mesh.exchange.set_up(False)
    one.ping(other)
    mesh.clock.run_for(60)
    assert other.path_to(one).state == "Idle"
    mesh.exchange.set_up(True)
    assert mesh.time_to_ping(one, other, within=6) > 0


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("nat", [CONE, SYMMETRIC])
def test_one_whose_sleep_the_other_did_not_hear_of_is_woken_as_any(nat, first):
    mesh, *agents = make(nat, lazy=True)
    one, other = agents if first == 0 else reversed(agents)
    mesh.time_to_ping(one, other, within=1)
    mesh.clock.run_for(20)
    go_idle(mesh, one, other)
    assert one.path_to(other).state == "Idle"
    assert other.path_to(one).state == "Connected"
    mesh.clock.run_for(0.5)
    assert mesh.time_to_ping(one, other, within=6) > 0


@pytest.mark.parametrize("first", [0, 1])
def test_a_word_of_sleep_that_crosses_a_wake_up_loses_no_packet(first):
    mesh, *agents = make(CONE, lazy=True)
    one, other = agents if first == 0 else reversed(agents)
    one.ping(other)
    mesh.clock.run_for(0.01)
    go_idle(mesh, one, other)
    mesh.clock.run_for(0.5)
    assert one.answered[other.key] <= mesh.clock.now
    assert mesh.are_connected(one, other)


def go_idle(mesh, one, other):
    """One hears that the other falls asleep."""
    one.mesh.receive_signal(SignalMessage(SignalKind.GO_IDLE, other.key), mesh.clock.now)
    one.settle()
