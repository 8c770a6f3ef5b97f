"""Networks of the laboratory lose, delay and part as they are told, in virtual time."""

import attrs
import pytest

from meshloom.protocol.stun import Kind, encode, parse
from meshloom.testing.lab import Conditions, Exchange, Lab, StunServer, VirtualClock

PORT = 1000
STEADY = Conditions(delay=0.01)


def pair(conditions, seed=1):
    """Two hosts on the internet, the first one's port, and what arrives at the second, with its time."""
    lab = Lab(seed, conditions)
    one, other = lab.internet.host("one"), lab.internet.host("other")
    arrived = []
    other.bind(PORT, lambda data, _: arrived.append((int.from_bytes(data), lab.clock.now)))
    port = one.bind(PORT, lambda *_: None)
    return lab, arrived, lambda number: port.send(number.to_bytes(2), (other.ipv4, PORT)), other


def test_an_hour_passes_at_once_and_each_event_at_its_time():
    clock, seen = VirtualClock(), []
    for number, time in enumerate((3600.0, 5.0, 5.0)):
        clock.call_at(time, lambda number=number: seen.append((clock.now, number)))
    clock.call_in(1, lambda: clock.call_in(1, lambda: seen.append((clock.now, 3))))
    clock.run_for(3600)
    assert seen == [(2, 3), (5, 1), (5, 2), (3600, 0)]
    assert clock.now == 3600


def test_what_is_planned_for_the_past_runs_now():
    clock, seen = VirtualClock(), []
    clock.run_for(10)
    clock.call_at(3, lambda: seen.append(clock.now))
    clock.run_for(0)
    assert seen == [10]


def test_waiting_for_a_condition_tells_how_long_it_took_or_fails():
    clock, seen = VirtualClock(), []
    clock.call_in(2, lambda: seen.append(1))
    assert clock.run_until(lambda: bool(seen), within=5) == 2
    with pytest.raises(AssertionError, match="within 5 s"):
        clock.run_until(lambda: len(seen) == 2, within=5)


def test_a_steady_network_delivers_all_in_order_after_its_delay():
    lab, arrived, send, _ = pair(STEADY)
    for number in range(50):
        send(number)
    lab.clock.run_for(1)
    assert arrived == [(number, pytest.approx(0.01)) for number in range(50)]


@pytest.mark.parametrize("loss", [0.0, 0.3, 1.0])
def test_the_told_share_is_lost(loss):
    lab, arrived, send, _ = pair(attrs.evolve(STEADY, loss=loss))
    for number in range(2000):
        send(number)
    lab.clock.run_for(1)
    assert len(arrived) == pytest.approx(2000 * (1 - loss), abs=80)


def test_jitter_makes_datagrams_overtake_one_another():
    lab, arrived, send, _ = pair(attrs.evolve(STEADY, jitter=0.05))
    for number in range(100):
        send(number)
    lab.clock.run_for(1)
    numbers = [number for number, _ in arrived]
    assert sorted(numbers) == list(range(100))
    assert numbers != list(range(100))
    assert all(0.01 <= time <= 0.06 for _, time in arrived)


def test_the_told_share_arrives_twice():
    lab, arrived, send, _ = pair(attrs.evolve(STEADY, duplication=0.3))
    for number in range(1000):
        send(number)
    lab.clock.run_for(1)
    assert {number for number, _ in arrived} == set(range(1000))
    assert len(arrived) == pytest.approx(1300, abs=60)


def test_nothing_passes_between_parted_sides_until_they_are_healed():
    lab, arrived, send, other = pair(STEADY)
    one = lab.hosts[0]
    lab.internet.network.part([one.ipv4], [other.ipv4])
    send(1)
    lab.clock.run_for(1)
    assert arrived == []
    lab.internet.network.part()
    send(2)
    lab.clock.run_for(1)
    assert [number for number, _ in arrived] == [2]


def test_parted_are_sides_and_not_who_is_on_the_same_one():
    lab, arrived, send, other = pair(STEADY)
    lab.internet.network.part([lab.hosts[0].ipv4, other.ipv4], ["20.0.0.99"])
    send(1)
    lab.clock.run_for(1)
    assert [number for number, _ in arrived] == [1]


def test_a_host_that_moves_gets_nothing_at_its_old_address():
    lab, arrived, send, other = pair(STEADY)
    send(1)
    other.leave().join(lab.internet.network)
    send(2)
    lab.clock.run_for(1)
    assert [number for number, _ in arrived] == [2]
    assert lab.owner((other.ipv4, PORT)) is other


def test_the_same_seed_gives_the_same_run_and_another_another():
    def run(seed):
        lab, arrived, send, _ = pair(Conditions(delay=0.01, jitter=0.1, loss=0.2, duplication=0.2), seed)
        for number in range(100):
            send(number)
        lab.clock.run_for(1)
        return arrived

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_port_is_bound_once():
    *_, other = pair(STEADY)
    with pytest.raises(OSError, match="taken"):
        other.bind(PORT, print)
    other.ports[PORT].close()
    assert other.bind(PORT, print)


def test_the_exchange_delivers_in_order_drops_what_is_for_nobody_and_tells_when_it_goes():
    clock = VirtualClock()
    exchange: Exchange[str, int] = Exchange(clock)
    got, ready = [], []
    exchange.join("a", got.append, ready.append)
    for number in range(3):
        exchange.send("a", number)
        exchange.send("nobody", number)
    clock.run_for(1)
    exchange.send("a", 3)
    exchange.set_up(False)
    clock.run_for(1)
    exchange.set_up(True)
    assert got == [0, 1, 2]
    assert ready == [True, False, True]


def test_the_stun_server_answers_while_it_is_up_and_only_requests():
    lab = Lab(1)
    server, host = StunServer(lab.internet.host()), lab.internet.host()
    got = []
    port = host.bind(PORT, lambda data, _: got.append(parse(data).mapped_address))
    for data in (encode(Kind.REQUEST, bytes(12)), b"rubbish", encode(Kind.SUCCESS, bytes(12))):
        port.send(data, server.address)
    lab.clock.run_for(1)
    server.is_up = False
    port.send(encode(Kind.REQUEST, bytes(12)), server.address)
    lab.clock.run_for(1)
    assert got == [(host.ipv4, PORT)]
