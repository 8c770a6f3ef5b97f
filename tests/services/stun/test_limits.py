"""What a stranger can make the STUN service send, to whom, and what he can make it do."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from meshloom.protocol import stun
from meshloom.protocol.nat_discovery import behaviour_request
from meshloom_stun.limits import AnswerLimit, RateLimit
from meshloom_stun.service import BEHAVIOUR_PER_SECOND, StunPorts, StunService

REQUEST = b"\x00\x01\x00\x00" + stun.MAGIC_COOKIE + b"transaction!"
HOME = (False, False)


class Sent:
    """A socket that keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, data, address, _local):
        self.sent.append((data, address))

    def destination(self, *address):
        return address

    def packed(self, host):
        return host.encode()


class Bench:
    """The service, with a clock that stands unless it is moved."""

    def __init__(self):
        self.now, self.lookups, self.socket = 1000.0, [], Sent()
        self.registry = CollectorRegistry()
        self.service = StunService(self.registry, StunPorts(3478), lambda: self.now, self.looked_up)
        self.service.sockets.update({HOME: self.socket, (False, True): self.socket})

    def looked_up(self, destination):
        self.lookups.append(destination)
        return "2001:db8:ffff::1" if ":" in destination[0] else "203.0.113.1"

    def ask(self, host, data=REQUEST):
        before = len(self.socket.sent)
        self.service.receive(data, (host, 5000), HOME)
        return len(self.socket.sent) - before

    def count(self, result):
        return self.registry.get_sample_value("meshloom_stun_datagrams_total", {"result": result})


@pytest.fixture
def bench():
    return Bench()


def test_a_source_gets_its_share_and_others_theirs(bench):
    assert sum(bench.ask("192.0.2.1") for _ in range(1000)) == 200
    assert bench.ask("::ffff:192.0.2.1") == 0, "the same by a socket of both families"
    assert bench.ask("192.0.2.2") == 1
    bench.now += 1
    assert sum(bench.ask("192.0.2.1") for _ in range(1000)) == 50
    assert bench.count("limited") == 1000 - 200 + 1 + 950


def test_the_addresses_of_one_host_are_one_source(bench):
    answered = sum(bench.ask(f"2001:db8:1:2::{number:x}") for number in range(1, 5000))
    assert answered == 200, "somebody's /64 is not flooded by naming its addresses one after the other"
    assert bench.ask("2001:db8:1:3::1") == 1


@pytest.mark.parametrize("form", ["198.51.100.{}", "2001:db8:7:{:x}::1"])
def test_a_network_gets_its_share_too(bench, form):
    answered = sum(bench.ask(form.format(number)) for number in range(1, 255) for _ in range(200))
    assert answered == 2000


def test_all_together_are_bounded(bench):
    answered = sum(
        bench.ask(f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.9") for number in range(30_000)
    )
    assert answered == 10_000
    bench.now += 1
    assert bench.ask("192.0.2.1") == 1, "it goes on"


def test_forged_sources_that_fill_the_table_give_nobody_a_second_burst():
    limit = RateLimit(per_second=10, burst=100, keys=50)
    answered = 0
    for _ in range(20):
        answered += sum(limit.allows(b"victim", 0.0) for _ in range(200))
        for other in range(50):
            limit.allows(other.to_bytes(4), 0.0)
        assert len(limit) == 50
    assert answered <= 100 + 19


def test_what_is_refused_is_not_worked_on(bench):
    for _ in range(5000):
        bench.ask("192.0.2.1", behaviour_request(b"transaction!"))
    assert len(bench.lookups) == 200, "each looks up a route"
    for number in range(3 * BEHAVIOUR_PER_SECOND):
        bench.ask(f"10.0.{number // 250}.{number % 250}", behaviour_request(b"transaction!"))
    assert len(bench.lookups) == BEHAVIOUR_PER_SECOND, "forged sources do not make more of them"
    assert bench.ask("203.0.113.77") == 1, "plain requests are answered all the same"


@given(
    st.binary(max_size=120)
    | st.binary(max_size=60).map(lambda rest: REQUEST[:2] + len(rest).to_bytes(2) + REQUEST[4:] + rest)
)
def test_an_answer_is_no_longer_than_the_request_or_the_shortest_there_is(data):
    bench = Bench()
    for host, shortest in (("192.0.2.1", 40), ("2001:db8::1", 52)):
        bench.ask(host, data)
        assert all(len(sent) <= max(shortest, len(data)) for sent, address in bench.socket.sent if address[0] == host)


def test_rubbish_is_counted_and_not_logged(bench, caplog):
    with caplog.at_level(logging.DEBUG):
        for data in (b"", b"x", b"x" * 1400, REQUEST[:19], b"\x01\x01" + REQUEST[2:], REQUEST + b"x" * 4):
            assert bench.ask("192.0.2.1", data) == 0
    assert bench.count("ignored") == 6
    assert caplog.records == []


def test_honest_hosts_of_a_large_mesh_are_all_answered():
    """Ten thousand machines in a thousand networks that all start within ten seconds, and ask three times each."""
    limit = AnswerLimit()
    hosts = [f"10.{number // 2500}.{number // 10 % 250}.{number % 10}" for number in range(10_000)]
    asked = sorted((again + number / 1000, host) for again in range(3) for number, host in enumerate(hosts))
    assert all(limit.allows(host, at) for at, host in asked)
