"""The simulated device has the timers and the roaming of the real one (the protocol's paper, section 6)."""

from itertools import pairwise
from random import Random

import pytest

from meshloom.model.keys import PublicKey
from meshloom.testing.lab import Conditions, Lab, SimulatedWireGuard
from meshloom.testing.lab.wireguard import DATA, INITIATION, RESPONSE, WireGuardPeer

PORT = 51820
KINDS = {INITIATION: "initiation", RESPONSE: "response", DATA: "data"}


class Device:
    """A device on a host of the internet, which notes what it sends and gets."""

    def __init__(self, lab, number):
        self.host, self.key = lab.internet.host(), PublicKey.of(bytes([number]) * 32)
        self.sent, self.got, self.lab, self.deaf = [], [], lab, False
        self.wireguard = SimulatedWireGuard(
            lab.clock, Random(number), self.key, self._send, lambda _, payload: self.got.append(payload)
        )
        self.port = self.host.bind(PORT, lambda *datagram: self.deaf or self.wireguard.receive(*datagram))

    def _send(self, data, destination):
        self.sent.append((self.lab.clock.now, KINDS[data[:4]]))
        self.port.send(data, destination)

    def knows(self, other, endpoint=True, keepalive=None):
        address = (other.host.ipv4, PORT) if endpoint else None
        self.wireguard.apply({other.key: WireGuardPeer(address, keepalive)})

    def count(self, kind):
        return sum(each == kind for _, each in self.sent)


@pytest.fixture
def devices():
    lab = Lab(1, Conditions(delay=0.01))
    one, other = Device(lab, 1), Device(lab, 2)
    one.knows(other)
    other.knows(one, endpoint=False)
    return lab, one, other


def test_the_first_packet_waits_for_the_handshake_and_the_endpoint_is_learned(devices):
    lab, one, other = devices
    one.wireguard.send(other.key, b"hello")
    lab.clock.run_for(1)
    assert other.got == [b"hello"]
    assert other.wireguard.endpoint(one.key) == (one.host.ipv4, PORT)
    other.wireguard.send(one.key, b"back")
    lab.clock.run_for(1)
    assert one.got == [b"back"]
    assert (one.count("initiation"), other.count("initiation")) == (1, 0)


def test_a_peer_that_is_not_configured_gets_and_causes_nothing(devices):
    lab, one, other = devices
    other.wireguard.apply({})
    one.wireguard.send(other.key, b"hello")
    lab.clock.run_for(1)
    assert (other.got, other.sent) == ([], [])
    other.wireguard.send(one.key, b"x")
    lab.clock.run_for(1)
    assert other.sent == []


def test_an_initiation_without_answer_is_repeated_for_90_seconds(devices):
    lab, one, other = devices
    other.deaf = True
    one.wireguard.send(other.key, b"hello")
    lab.clock.run_for(200)
    times = [time for time, _ in one.sent]
    assert 15 <= len(times) <= 19
    assert all(5 <= later - earlier < 5.4 for earlier, later in pairwise(times))
    assert times[-1] < 91


def test_the_initiator_shakes_hands_again_after_two_minutes_of_traffic(devices):
    lab, one, other = devices
    for _ in range(130):
        one.wireguard.send(other.key, b"x")
        lab.clock.run_for(1)
    assert one.count("initiation") == 2
    assert other.count("initiation") == 0
    assert len(other.got) == 130


def test_a_session_is_not_used_after_three_minutes(devices):
    lab, one, other = devices
    one.wireguard.send(other.key, b"x")
    lab.clock.run_for(181)
    one.wireguard.send(other.key, b"y")
    lab.clock.run_for(1)
    assert one.count("initiation") == 2
    assert other.got == [b"x", b"y"]


def test_who_only_receives_says_so_after_ten_seconds(devices):
    lab, one, other = devices
    one.wireguard.send(other.key, b"x")
    lab.clock.run_for(9)
    assert other.count("data") == 0
    lab.clock.run_for(2)
    assert other.count("data") == 1


def test_who_hears_nothing_after_sending_shakes_hands_anew_after_fifteen_seconds(devices):
    lab, one, other = devices
    one.wireguard.send(other.key, b"x")
    lab.clock.run_for(30)
    other.deaf = True
    began = lab.clock.now
    one.wireguard.send(other.key, b"y")
    lab.clock.run_for(14.9)
    assert one.count("initiation") == 1
    lab.clock.run_for(0.2)
    assert one.count("initiation") == 2
    assert lab.clock.now - began == pytest.approx(15.1)


def test_the_persistent_keepalive_is_sent_at_once_and_each_interval(devices):
    lab, one, other = devices
    one.knows(other, keepalive=25)
    lab.clock.run_for(1)
    assert one.count("initiation") == 1
    before = one.count("data")
    lab.clock.run_for(75)
    assert one.count("data") - before == 3


def test_it_roams_to_where_the_other_is_heard_from(devices):
    lab, one, other = devices
    one.wireguard.send(other.key, b"x")
    lab.clock.run_for(1)
    one.host.leave().join(lab.internet.network)
    one.wireguard.send(other.key, b"y")
    lab.clock.run_for(1)
    assert other.wireguard.endpoint(one.key) == (one.host.ipv4, PORT)
    assert one.count("initiation") == 1


def test_an_endpoint_that_is_set_anew_keeps_the_session_and_a_new_peer_has_none(devices):
    lab, one, other = devices
    one.wireguard.send(other.key, b"x")
    lab.clock.run_for(1)
    other.host.leave().join(lab.internet.network)
    one.knows(other)
    one.wireguard.send(other.key, b"y")
    lab.clock.run_for(1)
    assert (other.got, one.count("initiation")) == ([b"x", b"y"], 1)
    one.wireguard.apply({})
    one.knows(other)
    one.wireguard.send(other.key, b"z")
    lab.clock.run_for(1)
    assert (other.got, one.count("initiation")) == ([b"x", b"y", b"z"], 2)


def test_a_closed_device_sends_nothing_more(devices):
    lab, one, other = devices
    one.knows(other, keepalive=25)
    lab.clock.run_for(1)
    one.wireguard.close()
    sent = len(one.sent)
    lab.clock.run_for(300)
    assert len(one.sent) == sent
