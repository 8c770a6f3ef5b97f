"""Who gives way to a newcomer, by age and by network."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_front.callers import address_of
from meshloom_front.crowd import NEARLY_FULL, SHARE, Crowd, network_of


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
    ],
)
def test_a_network_is_what_one_caller_has(one, other, same):
    assert (network_of(one) == network_of(other)) is same


def filled(members):
    crowd = Crowd()
    for name, network in members:
        crowd.add(name, network)
    return crowd


@pytest.mark.parametrize(
    ("members", "taken", "newcomer", "leaves"),
    [
        ([(n, "a") for n in range(11)], 11, "a", None),
        ([(n, "a") for n in range(12)], 12, "a", 0),
        ([(n, "a") for n in range(12)], 12, "b", None),
        ([(0, "b"), *((n, "a") for n in range(1, 12))], 12, "a", 1),
        ([(0, "a"), (1, "b")], 15, "b", None),
        ([(0, "a"), (1, "b")], 16, "b", 0),
        ([(0, "a"), (1, "b"), (2, "c"), (3, "b")], 16, "d", 1),
        ([(0, "a"), (1, "b"), (2, "c"), (3, "b"), (4, "a")], 16, "d", 1),
        ([], 16, "b", None),
    ],
    ids=[
        "there is room",
        "nearly full: its own network's oldest",
        "nearly full: another network has room",
        "nearly full: the oldest of its own network, not of all",
        "nearly full: a small network takes from nobody",
        "full: the oldest",
        "full: the oldest of the network with the most, not of all",
        "full: of several networks with as many the one that has had them for longest",
        "full of known callers",
    ],
)
def test_who_gives_way(members, taken, newcomer, leaves):
    assert filled(members).giving_way(newcomer, taken, room=16) == leaves


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abcd")), max_size=200), st.integers(8, 64))
def test_a_crowd_that_makes_room_never_outgrows_it(arrivals, room):
    crowd = Crowd()
    for name, (leaving, network) in enumerate(arrivals):
        if (way := crowd.giving_way(network, len(crowd), room)) is not None:
            crowd.discard(way)
        crowd.add(name, network)
        if leaving == 0:
            crowd.discard(crowd.oldest())
        assert len(crowd) <= room
        counts = {each: crowd.count(each) for each in "abcd"}
        assert sum(counts.values()) == len(crowd)
        most = crowd.oldest_of_most()
        assert most is None or max(counts.values()) in [counts[each] for each in "abcd" if crowd.oldest(each) == most]
    if len(crowd) > room * NEARLY_FULL:
        assert crowd.count("a") <= max(room * NEARLY_FULL, room // SHARE) + 1


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("::ffff:1", 5, 0, 0), "::ffff:1"),
        ("", ""),
    ],
)
def test_an_address_is_told_as_its_family_writes_it(peer, address):
    transport = asyncio.Transport({"peername": peer})
    assert address_of(transport) == address
