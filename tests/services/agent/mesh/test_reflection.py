"""A peer that lies about where it is cannot make an agent send to others than peers, nor much."""

from collections import Counter
from ipaddress import ip_network
from random import Random

import pytest

from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import Candidate, CandidateKind
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage
from meshloom.protocol.stun import Attribute, Kind, encode
from meshloom_agent.mesh import Mesh, RemotePeer

OWN, OTHER = PublicKey.of(b"\2" * 32), PublicKey.of(b"\1" * 32)
LOCAL, PORT = "192.0.2.10", 51820
CHECKS_A_SECOND = 50
"""One each 20 ms (RFC 8445 section 14.2)."""
LIES = [
    "100.64.0.1",
    "100.64.0.2",
    "fd00:1234::1",
    "127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:100.64.0.1",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "169.254.7.7",
    "fe80::1",
]


class Victim:
    """An agent, and a clock by hand; what it sends is counted by address."""

    def __init__(self):
        self.mesh, self.now = Mesh(OWN, Random(1).randbytes), 0.0
        self.sent = Counter()
        self.signals = []
        self.mesh.set_overlay([ip_network("100.64.0.0/10"), ip_network("fd00:1234::/48")])
        self.mesh.set_local([LOCAL], PORT, 0.0)
        self.mesh.signal_ready(True, 0.0)
        self.mesh.set_peers({OTHER: RemotePeer((ip_network("100.64.0.2/32"),))}, 0.0)
        self.drain()

    def drain(self):
        self.sent.update(destination for _, destination, _ in self.mesh.datagrams())
        self.signals += self.mesh.signals()

    def tell(self, kind, **more):
        self.mesh.receive_signal(SignalMessage(kind, OTHER, **more), self.now)
        self.drain()

    def offer(self, number=0):
        self.tell(
            SignalKind.OFFER,
            credentials=Credentials(f"ufrag{number:011d}", f"pwd{number:029d}"),
            session_id=number.to_bytes(5),
        )

    def candidate(self, address, **more):
        line = Candidate(more.pop("kind", CandidateKind.HOST), address, 2_000_000_000, "1", **more).line()
        self.tell(SignalKind.CANDIDATE, candidate=line)

    def run(self, seconds):
        end = self.now + seconds
        while (due := self.mesh.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.mesh.handle_timer(self.now)
            self.drain()
        self.now = end

    @property
    def credentials(self):
        return next(each.credentials for each in self.signals if each.credentials is not None)

    def check(self, source):
        """A request of the peer's, with all that makes it authentic, which seems to come from *source*."""
        username = f"{self.credentials.ufrag}:ufrag{0:011d}".encode()
        attributes = [
            (Attribute.USERNAME, username),
            (Attribute.ICE_CONTROLLED, bytes(8)),
            (Attribute.PRIORITY, (2_000_000_000).to_bytes(4)),
        ]
        request = encode(Kind.REQUEST, bytes(12), attributes, self.credentials.pwd.encode())
        self.mesh.receive_datagram(request, source, self.now)
        self.drain()


@pytest.fixture
def victim():
    return Victim()


@pytest.mark.parametrize("address", LIES)
@pytest.mark.parametrize("first", ["offer", "candidate"])
def test_no_check_goes_to_an_address_that_cannot_be_a_peers(victim, address, first):
    if first == "candidate":
        victim.candidate((address, 53))
    victim.offer()
    victim.candidate((address, 53))
    victim.candidate((address, 53), kind=CandidateKind.SERVER_REFLEXIVE, related=("10.0.0.1", 5353), id="x")
    victim.candidate(("198.51.100.1", 1000))
    victim.run(30)
    assert set(victim.sent) == {("198.51.100.1", 1000)}


def test_no_check_goes_to_our_own_port(victim):
    victim.offer()
    victim.candidate((LOCAL, PORT))
    victim.candidate((LOCAL, 1000), kind=CandidateKind.SERVER_REFLEXIVE, related=("10.0.0.1", PORT), id="x")
    victim.run(30)
    assert set(victim.sent) == {(LOCAL, 1000)}, "another agent on this machine is at another port"


@pytest.mark.parametrize(
    ("address", "is_checked"), [("169.254.7.7", True), ("169.254.169.254", False), ("fe80::1", False)]
)
def test_addresses_of_the_link_are_a_peers_only_where_this_machine_has_one(victim, address, is_checked):
    victim.mesh.set_local(["169.254.9.9"], PORT, 0.0)
    victim.offer()
    victim.candidate((address, 1000))
    victim.run(30)
    assert ((address, 1000) in victim.sent) is is_checked


@pytest.mark.parametrize("address", [*LIES[:8], *LIES[13:], LOCAL])
def test_a_request_that_seems_to_come_from_such_an_address_is_not_answered(victim, address):
    victim.offer()
    victim.check((address, PORT))
    victim.run(30)
    assert not victim.sent


def test_a_request_from_elsewhere_is_answered_and_checked(victim):
    victim.offer()
    victim.check(("198.51.100.1", 1000))
    assert victim.sent[("198.51.100.1", 1000)] == 2


def test_many_candidates_do_not_make_many_checks(victim):
    victim.offer()
    for number in range(500):
        victim.candidate((f"198.51.{number >> 8}.{number & 255}", 53))
    victim.run(1)
    assert victim.sent.total() <= CHECKS_A_SECOND + 1
    victim.run(60)
    assert len(victim.sent) <= 64
    assert max(victim.sent.values()) <= 7


def test_offers_of_ever_new_sessions_do_not_make_more_checks(victim):
    for number in range(1000):
        victim.offer(number)
        for candidate in range(5):
            victim.candidate((f"198.51.{number >> 2}.{candidate}", 53))
        victim.run(0.001)
    assert 10 <= victim.sent.total() <= CHECKS_A_SECOND + 1


def test_requests_from_ever_new_addresses_do_not_make_more_checks(victim):
    victim.offer()
    for number in range(1000):
        victim.check((f"198.51.{number >> 8}.{number & 255}", 53))
        victim.run(0.001)
    assert victim.sent.total() <= 1000 + CHECKS_A_SECOND + 1, "one answer each, and the checks"
    assert max(victim.sent.values()) <= 1 + 7
