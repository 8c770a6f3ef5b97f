"""What is replaced, consistently, and what a reader still sees."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent.diagnostics.anonymize import Anonymizer


@pytest.fixture
def anonymizer():
    return Anonymizer(b"a key of a test!")


def test_the_same_is_replaced_by_the_same(anonymizer):
    anonymizer.learn(["laptop.mesh.corp.net", "Desk"])
    text = "laptop.mesh.corp.net at 93.184.216.34:51820, LAPTOP again, desk, mesh.corp.net, 93.184.216.34"
    made = anonymizer.text(text)
    assert made == "host-1.domain-1.example at 198.18.0.1:51820, host-1 again, host-2, domain-1.example, 198.18.0.1"
    assert anonymizer.text(text) == made
    assert Anonymizer(b"another key").address(IPv4Address("10.1.2.3")) != anonymizer.address(IPv4Address("10.1.2.3"))


def test_hosts_of_urls_are_found_and_their_passwords_left_out(anonymizer):
    made = anonymizer.text("by http://bob:secret@proxy.corp.net:3128, https://[2a00:1::5]:443/x, at /home/bob/file")
    assert made.startswith("by http://host-1.domain-1.example:3128, https://[2001:db8:")
    assert made.endswith("at /home/user-1/file")
    for word in ("bob", "secret", "corp", "2a00"):
        assert word not in made
    assert anonymizer.text("stun:relay.corp.net:3478 away") == "stun:host-2.domain-1.example:3478 away"


def test_what_says_nothing_of_anybody_stays(anonymizer):
    for text in ("127.0.0.1", "::1", "0.0.0.0/0", "::/0", "255.255.255.0", "224.0.0.251", "at 12:34:56", "0.77.1"):
        assert anonymizer.text(text) == text
    assert anonymizer.text("1.2.3.4.5") == "1.2.3.4.5"
    assert anonymizer.text("link/ether 5a:94:ef:e4:0c:ee brd ff:ff:ff:ff:ff:ff") == (
        "link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff"
    )


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fe80::/10", "fc00::/7"]
)
def test_the_kind_of_an_address_stays(anonymizer, network):
    parsed = ip_network(network)
    assert anonymizer.address(parsed[12345]) in parsed
    assert anonymizer.address(parsed[12345]) != parsed[12345]


@given(st.integers(0, 2**22 - 1), st.integers(0, 2**22 - 1))
def test_two_addresses_share_as_much_as_before_and_no_more(one, other):
    anonymizer, network = Anonymizer(b"a key of a test!"), IPv4Network("100.64.0.0/10")
    before, after = (network[one], network[other]), [anonymizer.address(network[n]) for n in (one, other)]
    assert (int(before[0]) ^ int(before[1])).bit_length() == (int(after[0]) ^ int(after[1])).bit_length()


def test_a_network_stays_one_and_has_its_hosts(anonymizer):
    text = anonymizer.text("100.70.3.4 via 100.70.0.0/16, fd12:3456::9 via fd12:3456::/64")
    host, _, network, host6, _, network6 = text.replace(",", "").split()
    assert ip_address(host) in ip_network(network)
    assert ip_address(host6) in ip_network(network6)
    assert "100.70" not in text


def test_values_keep_their_keys_and_numbers(anonymizer):
    anonymizer.learn(["fqdn.corp.net"])
    made = anonymizer.value({"fqdn": "fqdn.corp.net", "n": 3, "list": [None, True, "10.0.0.1"]})
    assert made["fqdn"] == "host-1.domain-1.example"
    assert (made["n"], made["list"][:2]) == (3, [None, True])
    assert made["list"][2].startswith("10.")


@given(st.text())
def test_any_text_can_be_replaced(text):
    Anonymizer(b"a key of a test!").text(text)


@given(st.ip_addresses(v=6))
def test_no_public_address_is_left(address):
    made = Anonymizer(b"a key of a test!").text(f"to {address}.")
    if address.is_global and not address.is_multicast:
        assert str(address) not in made
        assert IPv6Address(made.removeprefix("to ").removesuffix(".")) in ip_network("2001:db8::/32")
