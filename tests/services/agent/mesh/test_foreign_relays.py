"""A peer tells of its relay what it likes: it cannot send us anywhere, and what is shown of it is harmless."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.model.keys import PublicKey
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage, decode
from meshloom_agent.mesh import HomeRelay, Mesh, OwnRelays, RelayUse, RemotePeer
from meshloom_agent.mesh.relay import RelayChoice, place_of

LOW, HIGH = sorted((PublicKey.of(bytes([number]) * 32) for number in (1, 2)), key=lambda key: key.text)
HOME = HomeRelay("rels://home.example:443")
NAMED = frozenset({"rels://home.example:443", "rels://other.example:443"})


def offered(own, other, relay, ip=None):
    """A mesh with a home, to which a peer offers; it says how to reach its relay."""
    mesh = Mesh(own, Random(1).randbytes)
    mesh.set_relays(OwnRelays(HOME, NAMED), 0.0)
    mesh.signal_ready(True, 0.0)
    mesh.set_peers({other: RemotePeer(())}, 0.0)
    message = SignalMessage(
        SignalKind.OFFER, other, Credentials("u" * 16, "p" * 32), b"12345", relay_address=relay, relay_ip=ip
    )
    mesh.receive_signal(decode(message.encode(), other), 1.0)
    return mesh


@pytest.mark.parametrize(
    "relay",
    [
        "rel://127.0.0.1:80",
        "rels://localhost:8080",
        "rel://169.254.169.254",
        "rel://192.168.1.1:80",
        "rels://evil.example:443",
        "rel://other.example:443",
        "rels://other.example:22",
        "rel://[::1]:80",
    ],
)
def test_a_relay_that_only_a_peer_names_is_not_used_and_its_status_says_why(relay):
    mesh = offered(LOW, HIGH, relay)
    assert mesh.relays == {}
    assert f"its relay {relay} is not one that management names" in mesh.status(HIGH, 0.0).reason
    assert mesh.needs_turn


@pytest.mark.parametrize(
    "relay", ["rels://other.example:443", "rels://other.example", "rels://OTHER.example:443/relay"]
)
def test_a_relay_that_management_names_is_used_wherever_the_peer_says_that_it_is(relay):
    assert offered(LOW, HIGH, relay, ip=bytes((127, 0, 0, 1))).relays == {HIGH: RelayUse(relay)}


def test_the_side_that_begins_uses_its_own_home_whatever_the_other_says():
    assert offered(HIGH, LOW, "rels://evil.example:443").relays == {LOW: RelayUse(HOME.url)}


def test_a_home_that_calls_itself_otherwise_is_used_under_that_name():
    assert offered(LOW, HIGH, HOME.url).relays == {HIGH: RelayUse(HOME.url)}


def test_a_relay_is_used_as_soon_as_management_names_it():
    mesh = offered(LOW, HIGH, "rels://third.example:443")
    mesh.set_relays(OwnRelays(HOME, NAMED | {"rels://third.example:443"}), 2.0)
    assert mesh.relays == {HIGH: RelayUse("rels://third.example:443")}
    mesh.set_relays(OwnRelays(HOME, NAMED), 3.0)
    assert mesh.relays == {}


@pytest.mark.parametrize("garbage", ["rel://x\n2026-01-01 ERROR forged", "rel://x/\x1b[2J", "\u202e", "", "a" * 600])
@pytest.mark.parametrize(("own", "other"), [(LOW, HIGH), (HIGH, LOW)])
def test_what_is_no_address_is_never_shown(garbage, own, other):
    mesh = offered(own, other, garbage)
    assert mesh.relays == {}
    assert "what it tells of its relay is not the address of one" in mesh.status(other, 0.0).reason


@given(st.text(max_size=40).map("rel://{}".format) | st.sampled_from(sorted(NAMED)), st.booleans())
def test_no_text_leads_anywhere_but_to_a_relay_that_is_named(text, controlling):
    choice = RelayChoice(controlling, True, OwnRelays(HOME, NAMED), text)
    choice.settle()
    assert choice.use is None or choice.use.url == HOME.url or place_of(choice.use.url) in NAMED
    assert bool(choice.use) != bool(choice.problem)
