"""Where no server and no peer may be, whoever says so."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent.trust import Surroundings
from meshloom_agent.unfit import METADATA, innermost, unfit_peer, unfit_server

OVERLAY = [ip_network("100.64.0.0/16"), ip_network("fd12::/64")]
FAR = Surroundings(frozenset({ip_address("203.0.113.5")}))
HERE = Surroundings(frozenset({ip_address("127.0.0.1"), ip_address("::1")}))
CABLE = Surroundings(frozenset({ip_address("169.254.3.3")}))
BOTH = Surroundings(frozenset({ip_address("127.0.0.1"), ip_address("203.0.113.5")}))
NOWHERE = Surroundings()


@pytest.mark.parametrize(
    ("address", "around", "why"),
    [
        ("203.0.113.9", FAR, ""),
        ("192.168.1.9", FAR, ""),
        ("10.0.0.1", FAR, ""),
        ("2001:db8::1", FAR, ""),
        ("fd99::1", FAR, ""),
        ("64:ff9b::203.0.113.9", FAR, ""),
        ("64:ff9b:1::1", FAR, ""),
        ("127.0.0.1", FAR, "loopback"),
        ("127.9.9.9", FAR, "loopback"),
        ("::1", FAR, "loopback"),
        ("::ffff:127.0.0.1", FAR, "loopback"),
        ("64:ff9b::127.0.0.1", FAR, "loopback"),
        ("2002:7f00:1::1", FAR, "loopback"),
        ("127.0.0.1", NOWHERE, "loopback"),
        ("127.0.0.1", BOTH, "loopback"),
        ("127.0.0.1", HERE, ""),
        ("::1", HERE, ""),
        ("169.254.1.1", HERE, "link-local"),
        ("169.254.1.1", FAR, "link-local"),
        ("169.254.1.1", CABLE, ""),
        ("127.0.0.1", CABLE, "loopback"),
        ("fe80::1", FAR, "link-local"),
        ("fe80::1%eth0", FAR, "link-local"),
        ("0.0.0.0", HERE, "this host's own"),
        ("::", HERE, "loopback"),
        ("224.0.0.1", HERE, "multicast"),
        ("ff02::1", HERE, "multicast"),
        ("255.255.255.255", HERE, "reserved"),
        ("100.64.3.3", FAR, "overlay"),
        ("::ffff:100.64.3.3", FAR, "overlay"),
        ("fd12::7", FAR, "overlay"),
        *((str(each), around, "metadata") for each in sorted(METADATA, key=str) for around in (FAR, HERE, CABLE)),
        ("::ffff:169.254.169.254", CABLE, "metadata"),
        ("64:ff9b::169.254.169.254", CABLE, "metadata"),
    ],
)
def test_where_servers_may_be(address, around, why):
    said = unfit_server(ip_address(address), around, OVERLAY)
    assert why in said
    assert bool(said) is bool(why)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_fit_however_it_is_written(address):
    for text in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert innermost(ip_address(text)) == address
        assert unfit_server(ip_address(text), FAR, OVERLAY) == unfit_server(address, FAR, OVERLAY)
        assert unfit_peer(ip_address(text), OVERLAY, has_link_local=False) == unfit_peer(
            address, OVERLAY, has_link_local=False
        )


@given(st.ip_addresses(network="169.254.0.0/16"))
def test_no_peer_is_on_the_link_of_a_machine_that_has_no_address_there(address):
    assert unfit_peer(address, OVERLAY, has_link_local=False)
    assert unfit_peer(address, OVERLAY, has_link_local=True) is (address in METADATA)
