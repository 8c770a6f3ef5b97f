"""Two ICE sessions meet over a wire that delays, loses and translates."""

import heapq
import itertools
import random

import pytest

from meshloom.protocol import stun
from meshloom.protocol.ice import AgentState, Candidate, CandidateKind, IceAgent
from meshloom.protocol.ice.candidate import local_candidate
from meshloom.protocol.ice.checklist import Checklist
from meshloom.protocol.signal import Credentials
from meshloom.protocol.stun import Attribute, Kind


class Wire:
    """Two agents, each behind a port-restricted NAT of its own."""

    def __init__(self, agents, delay=0.01, loss=0.0, seed=1):
        self.agents, self.delay, self.loss = agents, delay, loss
        self.now, self.random = 0.0, random.Random(seed)
        self.queue, self.order = [], itertools.count()
        self.inside = {"a": ("192.0.2.1", 1000), "b": ("198.51.100.1", 2000)}
        self.opened = set()
        self.cut = False
        self.sent = 0

    def flush(self):
        for name, agent in self.agents.items():
            for data, destination, _ in agent.datagrams():
                self.sent += 1
                self.opened.add((name, destination))
                if self.cut or self.random.random() < self.loss:
                    continue
                jitter = self.random.random() * self.delay
                heapq.heappush(self.queue, (self.now + self.delay + jitter, next(self.order), name, data, destination))

    def run(self, until, within):
        end = self.now + within
        self.flush()
        while not until():
            deadlines = [agent.deadline() for agent in self.agents.values()]
            times = [time for time in deadlines if time is not None] + ([self.queue[0][0]] if self.queue else [])
            if not times or min(times) > end:
                return False
            self.now = max(self.now, min(times))
            while self.queue and self.queue[0][0] <= self.now:
                _, _, sender, data, destination = heapq.heappop(self.queue)
                for name, address in self.inside.items():
                    source = self.inside[sender]
                    if destination == address and (name, source) in self.opened:
                        self.agents[name].receive(data, source, self.now)
            for agent in self.agents.values():
                agent.handle_timer(self.now)
            self.flush()
        return True


def make(controlling, name, entropy, tie=None):
    return IceAgent(
        controlling=controlling,
        local=Credentials(f"ufrag{name}", f"password{name}"),
        token=name.encode() * 4,
        tie_breaker=tie if tie is not None else ord(name),
        entropy=entropy,
        now=0.0,
    )


def pair(roles=(True, False), **more):
    entropy = random.Random(7).randbytes
    agents = {name: make(role, name, entropy) for name, role in zip("ab", roles, strict=True)}
    return Wire(agents, **more)


def introduce(wire, candidates=True):
    for mine, other in (("a", "b"), ("b", "a")):
        agent = wire.agents[mine]
        agent.set_local([local_candidate(CandidateKind.SERVER_REFLEXIVE, wire.inside[mine], 1, ("10.0.0.1", 1))], 0.0)
        agent.set_remote(wire.agents[other].local, wire.now)
        if candidates:
            there = wire.inside[other]
            agent.add_remote(local_candidate(CandidateKind.SERVER_REFLEXIVE, there, 1, ("10.0.0.1", 1)), wire.now)


def connected(wire):
    return lambda: all(agent.state is AgentState.CONNECTED for agent in wire.agents.values())


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("roles", [(True, False), (False, True), (True, True), (False, False)])
def test_two_agents_meet(loss, roles):
    wire = pair(roles, loss=loss)
    introduce(wire)
    assert wire.run(connected(wire), 6)
    a, b = wire.agents.values()
    assert a.controlling is not b.controlling
    assert a.selected.remote.address == wire.inside["b"]
    assert b.selected.remote.address == wire.inside["a"]
    assert a.selected.local.kind is CandidateKind.SERVER_REFLEXIVE


def test_the_first_path_takes_few_round_trips():
    wire = pair(delay=0.01)
    introduce(wire)
    assert wire.run(connected(wire), 5)
    assert wire.now < 0.3
    assert wire.sent < 30


def test_a_side_without_candidates_is_learned_from_its_checks():
    wire = pair()
    introduce(wire, candidates=False)
    wire.agents["a"].add_remote(Candidate(CandidateKind.SERVER_REFLEXIVE, wire.inside["b"], 100, "1"), wire.now)
    wire.opened.add(("b", wire.inside["a"]))
    assert wire.run(connected(wire), 5)
    assert wire.agents["b"].selected.remote.kind is CandidateKind.PEER_REFLEXIVE


def test_a_cut_path_is_noticed_and_a_short_cut_forgiven():
    wire = pair()
    introduce(wire)
    assert wire.run(connected(wire), 5)
    wire.cut = True
    assert wire.run(lambda: wire.agents["a"].state is AgentState.DISCONNECTED, 12)
    wire.cut = False
    assert wire.run(connected(wire), 6)
    wire.cut = True
    assert wire.run(lambda: all(agent.state is AgentState.FAILED for agent in wire.agents.values()), 30)


def test_unreachable_candidates_fail_in_seconds():
    wire = pair()
    wire.cut = True
    introduce(wire)
    assert wire.run(lambda: all(agent.state is AgentState.FAILED for agent in wire.agents.values()), 12.5)


def test_a_forged_request_is_not_answered():
    wire = pair()
    introduce(wire)
    victim, forger = wire.agents["a"], make(True, "b", random.Random(3).randbytes)
    victim.datagrams()
    forger.set_remote(Credentials(victim.local.ufrag, "guess"), 0.0)
    forger.add_remote(Candidate(CandidateKind.HOST, wire.inside["a"], 100, "1"), 0.0)
    for data, _, _ in forger.datagrams():
        victim.receive(data, ("203.0.113.9", 9), 0.0)
    assert victim.datagrams() == []
    assert victim.remote_candidates == 1


def test_the_number_of_remote_candidates_is_bounded():
    agent = make(True, "a", random.Random(1).randbytes)
    for number in range(1, 1000):
        agent.add_remote(Candidate(CandidateKind.HOST, ("192.0.2.7", number), 1, "1"), 0.0)
    assert agent.remote_candidates == 64


@pytest.mark.parametrize(
    ("relay", "remote", "leads"),
    [
        ("203.0.113.9", "198.51.100.7", True),
        ("203.0.113.9", "192.168.1.10", False),
        ("203.0.113.9", "100.64.3.4", False),
        ("203.0.113.9", "2001:db8::7", False),
        ("192.168.7.1", "192.168.1.10", True),
        ("192.168.7.1", "198.51.100.7", True),
        ("2001:db8::9", "2001:db8::7", True),
        ("2001:db8::9", "fd00::7", False),
    ],
)
def test_a_relay_is_tried_only_where_it_may_lead(relay, remote, leads):
    way = local_candidate(CandidateKind.RELAY, (relay, 50000), 65535, ("198.51.100.1", 1024))
    pairs = Checklist()
    pairs.set_ways({way.address: way}, 0.0)
    pairs.add(local_candidate(CandidateKind.HOST, (remote, 51820), 65535), 0.0)
    assert (pairs.get(way.address, (remote, 51820)) is not None) is leads
    assert pairs.get(None, (remote, 51820)) is not None


def test_a_relay_that_is_lost_takes_the_chosen_pair_with_it_at_once():
    way = local_candidate(CandidateKind.RELAY, ("203.0.113.9", 50000), 65535, ("198.51.100.1", 1024))
    other = local_candidate(CandidateKind.SERVER_REFLEXIVE, ("198.51.100.7", 51820), 65535, ("192.168.1.10", 51820))
    remote = Credentials("theirufragtheirs", "p" * 32)
    agent = IceAgent(
        controlling=True,
        local=Credentials("ourufragourufrag", "q" * 32),
        token=b"\0\0\0\1",
        tie_breaker=1,
        entropy=bytes,
        now=0.0,
    )
    agent.set_local([way], 0.0)
    agent.set_remote(remote, 0.0)
    agent.add_remote(other, 0.0)
    now = 0.0
    while agent.selected is None:
        for data, to, via in agent.datagrams():
            if via == way.address:
                request = stun.parse(data)
                mapped = stun.pack_address(way.address, request.transaction)
                answer = stun.encode(
                    Kind.SUCCESS, request.transaction, [(Attribute.XOR_MAPPED_ADDRESS, mapped)], remote.pwd.encode()
                )
                agent.receive(answer, to, now, via)
        now += 0.02
        agent.handle_timer(now)
        assert now < 5
    assert agent.selected.via == way
    assert agent.state is AgentState.CONNECTED
    agent.set_local([], now)
    assert agent.state is AgentState.FAILED
