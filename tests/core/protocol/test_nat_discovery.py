"""What a NAT does is found out, through every NAT of the simulated network and with servers of every ability."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.protocol import stun
from meshloom.protocol.nat_discovery import (
    CHANGE_IP,
    CHANGE_PORT,
    Behaviour,
    NatDiscovery,
    NatReport,
    Origin,
    across_servers,
    behaviour_answer,
    behaviour_request,
    wanted_change,
)
from meshloom.protocol.stun import Attribute, Kind
from meshloom.testing.lab import Conditions, Filtering, Lab, Mapping, Nat

PORT, OTHER_PORT = 3478, 3479
TRANSACTION = b"transaction!"


class Server:
    """Answers on two ports of one or two hosts; *knows* nothing of CHANGE-REQUEST: ignores or refuses it."""

    def __init__(self, lab, *, addresses=2, knows="all"):
        hosts = [lab.internet.host() for _ in range(addresses)]
        self.addresses = [host.ipv4 for host in hosts]
        self.knows, self.ports = knows, {}
        for host, number in itertools.product(hosts, (PORT, OTHER_PORT)):
            here = (host.ipv4, number)
            self.ports[here] = host.bind(number, lambda data, source, here=here: self.receive(data, source, here))

    @property
    def address(self):
        return self.addresses[0], PORT

    def receive(self, data, source, here):
        flags = wanted_change(data)
        if flags is None or self.knows == "nothing":
            self.ports[here].send(stun.answer(data, source), source)
        elif self.knows == "refuses":
            error = [(Attribute.ERROR_CODE, stun.error_value(420, "unknown"))]
            self.ports[here].send(stun.encode(Kind.ERROR, data[8:20], error), source)
        else:
            other = next((each for each in self.addresses if each != here[0]), here[0])
            origin = Origin(here, other, OTHER_PORT if here[1] == PORT else PORT)
            if answered := behaviour_answer(data, source, origin, flags):
                self.ports[answered[1]].send(answered[0], source)


def discover(lab, host, server):
    inbox = []
    port = host.bind(40000, lambda data, source: inbox.append((data, source)))
    local = frozenset((address, 40000) for address in host.addresses)
    discovery = NatDiscovery(server, local, random.Random(3).randbytes, lab.clock.now)
    while not discovery.is_done:
        for datagram in discovery.datagrams():
            port.send(*datagram)
        due = discovery.deadline()
        lab.clock.run_for(min(0.01, max(0.0, due - lab.clock.now)) if due is not None else 0.01)
        while inbox:
            discovery.receive(*inbox.pop(0), lab.clock.now)
        discovery.handle_timer(lab.clock.now)
    port.close()
    return discovery.report


@pytest.mark.parametrize("mapping", Mapping)
@pytest.mark.parametrize("filtering", Filtering)
def test_every_nat_is_recognised(mapping, filtering):
    lab = Lab(seed=1)
    server = Server(lab)
    report = discover(lab, lab.behind(Nat(mapping, filtering)).host(), server.address)
    assert (report.mapping, report.filtering) == (Behaviour(mapping.value), Behaviour(filtering.value))
    assert report.mapped is not None
    assert report.changes_address
    assert report.latency > 0


@pytest.mark.parametrize("filtering", Filtering)
def test_a_server_with_one_address_tells_what_it_can(filtering):
    lab = Lab(seed=1)
    report = discover(
        lab,
        lab.behind(Nat(Mapping.ENDPOINT_INDEPENDENT, filtering)).host(),
        Server(lab, addresses=1).address,
    )
    strict = filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
    assert report.filtering is (Behaviour.ADDRESS_AND_PORT_DEPENDENT if strict else Behaviour.NOT_PORT_DEPENDENT)
    assert report.mapping is Behaviour.NOT_PORT_DEPENDENT
    assert not report.changes_address


def test_without_a_nat_only_filters_are_looked_for():
    lab = Lab(seed=1)
    report = discover(lab, lab.internet.host(), Server(lab).address)
    assert (report.mapping, report.filtering) == (Behaviour.NONE, Behaviour.ENDPOINT_INDEPENDENT)


@pytest.mark.parametrize("knows", ["nothing", "refuses"])
def test_a_server_that_knows_no_such_requests_still_tells_the_address(knows):
    lab = Lab(seed=1)
    nat = Nat(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT)
    report = discover(lab, lab.behind(nat).host(), Server(lab, knows=knows).address)
    assert report.mapped is not None
    assert (report.mapping, report.filtering) == (Behaviour.UNKNOWN, Behaviour.UNKNOWN)


def test_a_server_that_is_not_there_ends_the_search():
    lab = Lab(seed=1)
    began = lab.clock.now
    report = discover(lab, lab.internet.host(), (lab.internet.host().ipv4, PORT))
    assert report == NatReport(report.server)
    assert lab.clock.now - began < 4.0


def test_lost_datagrams_are_sent_again():
    for seed in range(20):
        lab = Lab(seed=seed, conditions=Conditions(loss=0.1))
        nat = Nat(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT)
        report = discover(lab, lab.behind(nat).host(), Server(lab).address)
        assert report.mapped is not None
        assert report.mapping in (Behaviour.ENDPOINT_INDEPENDENT, Behaviour.NOT_PORT_DEPENDENT)


def test_several_servers_tell_together_what_none_knows_alone():
    def seen(server, port, mapping=Behaviour.UNKNOWN):
        return NatReport((server, PORT), ("192.0.2.1", port), mapping=mapping)

    assert across_servers([seen("a", 1), seen("b", 1)]) is Behaviour.ENDPOINT_INDEPENDENT
    assert across_servers([seen("a", 1), seen("b", 2)]) is Behaviour.UNKNOWN
    one_address = [seen("a", 1, Behaviour.NOT_PORT_DEPENDENT), seen("b", 2, Behaviour.NOT_PORT_DEPENDENT)]
    assert across_servers(one_address) is Behaviour.ADDRESS_DEPENDENT
    assert across_servers([seen("a", 1), seen("b", 1, Behaviour.NONE)]) is Behaviour.NONE
    assert across_servers([seen("a", 1, Behaviour.NOT_PORT_DEPENDENT)]) is Behaviour.NOT_PORT_DEPENDENT
    assert across_servers([]) is Behaviour.UNKNOWN


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("flags", [0, CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT])
def test_no_answer_is_longer_than_its_request(host, flags):
    other = "2001:db8::9" if ":" in host else "192.0.2.9"
    origin = Origin((host, PORT), other, OTHER_PORT)
    for size in range(120):
        request = behaviour_request(TRANSACTION, flags, size)
        assert wanted_change(request) == flags
        answered = behaviour_answer(request, (host, 5), origin, flags)
        assert answered is None or len(answered[0]) <= len(request)
    answer, leaves = behaviour_answer(behaviour_request(TRANSACTION, flags), (host, 5), origin, flags)
    assert leaves == (other if flags & CHANGE_IP else host, OTHER_PORT if flags & CHANGE_PORT else PORT)
    message = stun.parse(answer)
    assert message.mapped_address == (host, 5)
    assert message.plain_address(Attribute.RESPONSE_ORIGIN) == leaves
    assert message.plain_address(Attribute.OTHER_ADDRESS) == (other, OTHER_PORT)
    assert stun.answer(behaviour_request(TRANSACTION, flags), (host, 5)) is not None, "it is a binding request, too"


def test_an_address_that_is_not_there_answers_nothing():
    origin = Origin(("192.0.2.7", PORT), "192.0.2.7", OTHER_PORT)
    assert behaviour_answer(behaviour_request(TRANSACTION, CHANGE_IP), ("192.0.2.1", 5), origin, CHANGE_IP) is None


@given(st.binary(max_size=200))
def test_any_bytes_have_a_change_or_none(data):
    assert wanted_change(data) in (None, 0, CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Kind)),
            st.lists(st.tuples(st.sampled_from(list(Attribute)), st.binary(max_size=24)), max_size=5),
            st.sampled_from([("192.0.2.1", PORT), ("192.0.2.2", OTHER_PORT)]),
        ),
        max_size=30,
    )
)
def test_a_hostile_server_can_do_no_more_than_lie(messages):
    discovery = NatDiscovery(("192.0.2.1", PORT), frozenset(), random.Random(1).randbytes, 0.0)
    now = 0.0
    for kind, attributes, source in messages:
        asked = [stun.parse(data).transaction for data, _ in discovery.datagrams()] or [TRANSACTION]
        discovery.receive(stun.encode(kind, asked[0], attributes), source, now)
        now += 0.05
        discovery.handle_timer(now)
    for step in range(1, 200):
        discovery.handle_timer(now + step / 10)
    assert discovery.is_done
    assert discovery.deadline() is None
