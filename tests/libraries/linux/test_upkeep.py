"""What is different between a device as it is and as it was made, in words and as what it must be told."""

from datetime import timedelta
from ipaddress import ip_interface, ip_network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey
from meshloom.tunnel import TunnelPeer
from meshloom_linux.difference import FoundDevice, FoundPeer, device_upkeep
from meshloom_linux.link_upkeep import LinkState, link_differences, wanted_state
from meshloom_linux.upkeep import in_turn

ADDRESSES = (ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64"), ip_interface("10.9.0.1/32"))
WANTED = wanted_state(ADDRESSES, 1280, {ip_network("10.77.0.9/32"): 1200})
KEY = PrivateKey.of(b"k" * 32)
ONE, TWO = (PrivateKey.of(bytes([number]) * 32).public for number in (1, 2))
PEERS = {
    ONE: TunnelPeer(frozenset({ip_network("10.77.0.2/32")}), ("192.0.2.1", 5), timedelta(seconds=25), session=3),
    TWO: TunnelPeer(frozenset(), preshared_key=PresharedKey(b"p" * 32), mtu=1200),
}
FOUND = FoundDevice(
    5,
    KEY,
    0,
    {
        ONE: FoundPeer(frozenset({ip_network("10.77.0.2/32")}), 25),
        TWO: FoundPeer(frozenset(), preshared_key=PresharedKey(b"p" * 32)),
    },
)


def test_the_kernel_makes_a_route_to_each_network_and_to_each_address():
    networks = ("10.77.0.0/24", "fd77::/64")
    hosts = ("10.77.0.1/32", "fd77::1/128", "10.9.0.1/32")
    assert WANTED.routes == {(254, ip_network(each)) for each in networks} | {(255, ip_network(each)) for each in hosts}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (WANTED, []),
        (attrs.evolve(WANTED, is_up=False, addresses=frozenset(), routes=frozenset(), mtus={}), ["it was down"]),
        (attrs.evolve(WANTED, mtu=1400), ["its MTU was 1400 instead of 1280"]),
        (
            attrs.evolve(WANTED, addresses=WANTED.addresses - {ADDRESSES[1]}, routes=frozenset()),
            ["its address fd77::1/64 was gone"],
        ),
        (
            attrs.evolve(WANTED, routes=WANTED.routes - {(254, ip_network("10.77.0.0/24"))}),
            ["its route to 10.77.0.0/24 was gone"],
        ),
        (attrs.evolve(WANTED, mtus={}), ["1 of its routes to single peers were gone"]),
        (
            attrs.evolve(
                WANTED,
                addresses=WANTED.addresses | {ip_interface("10.5.0.1/24")},
                routes=WANTED.routes | {(254, ip_network("10.6.0.0/16"))},
            ),
            [],
        ),
    ],
)
def test_the_difference_of_a_link_is_said_in_words(found: LinkState, said: list[str]):
    assert link_differences(WANTED, found) == said


def upkeep(found: FoundDevice):
    return device_upkeep(found, KEY, 5, 0, PEERS)


def test_a_device_that_is_as_it_was_made_is_told_nothing():
    made = upkeep(FOUND)
    assert (made.said, made.peers, made.new_key or made.new_port or made.new_mark) == ((), [], False)


def test_a_preshared_key_of_zeros_is_none():
    peers = {ONE: TunnelPeer(frozenset(), preshared_key=PresharedKey(bytes(32)))}
    assert device_upkeep(FoundDevice(5, KEY, 0, {ONE: FoundPeer()}), KEY, 5, 0, peers).said == ()


def test_all_that_is_different_is_said_without_a_secret():
    found = FoundDevice(6, PrivateKey.of(b"x" * 32), 7, {ONE: FoundPeer(keepalive=5), KEY.public: FoundPeer()})
    assert upkeep(found).said == (
        "WireGuard's port was 6 instead of 5",
        "WireGuard's private key was another",
        "WireGuard's mark was another",
        "1 peer was gone",
        "1 peer was changed",
        "1 peer was there that is not ours",
    )


@given(
    st.dictionaries(
        st.sampled_from([ONE, TWO, KEY.public]),
        st.builds(
            FoundPeer,
            st.frozensets(st.sampled_from([ip_network("10.77.0.2/32"), ip_network("10.77.0.3/32")])),
            st.sampled_from([0, 25, 30]),
            st.sampled_from([None, PresharedKey(b"p" * 32), PresharedKey(b"q" * 32)]),
        ),
    )
)
def test_what_a_device_is_told_makes_it_what_it_was(found):
    made = upkeep(attrs.evolve(FOUND, peers=found))
    device = dict(found)
    for change in made.peers:
        if change.new is None:
            del device[change.key]
            continue
        before, wanted = device.get(change.key, FoundPeer()), change.new
        assert not change.endpoint or change.key not in found, "endpoints are WireGuard's own"
        keepalive = int(wanted.persistent_keepalive.total_seconds()) if wanted.persistent_keepalive else 0
        device[change.key] = FoundPeer(
            wanted.allowed_ips if change.allowed_ips else before.allowed_ips,
            keepalive if change.rest else before.keepalive,
            wanted.preshared_key if change.rest else before.preshared_key,
        )
    assert device == FOUND.peers
    assert bool(made.said) == bool(made.peers)


@pytest.mark.anyio
async def test_every_part_is_put_back_whether_or_not_the_others_can_be():
    async def good():
        return ["one"]

    async def bad():
        raise TunnelError("it is taken")

    assert await in_turn(good, good) == ("one", "one")
    done = []

    async def last():
        done.append(True)
        return []

    with pytest.raises(TunnelError, match="^it is taken$"):
        await in_turn(bad, bad, last)
    assert done
