"""What management may make this machine do, and where it ends."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.model.keys import PrivateKey
from meshloom.model.overlay import NEVER
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.network import is_refused, relays, remote_peers, signal_address, stun_servers, turn_servers, usable
from meshloom_agent.trust import (
    MOST_PEERS,
    MOST_SERVERS,
    MOST_TOLD,
    AllowedAddresses,
    MapRefused,
    Refusals,
    Surroundings,
    check_overlay,
    host_and_port,
)

OWN = PrivateKey.of(b"o" * 32).public
KEYS = [PrivateKey.of(bytes([number]) * 32).public for number in range(1, 5)]
ADDRESSES = (ip_interface("100.64.0.1/16"), ip_interface("fd12::1/64"))
SERVER = Surroundings(frozenset({ip_address("203.0.113.5"), ip_address("2001:db8::5")}), ip_address("100.64.0.254"))


@pytest.mark.parametrize(
    "text",
    ["100.64.0.1/16", "100.64.0.1/10", "10.0.0.1/8", "192.168.7.1/24", "25.1.2.3/16", "fd12::1/64", "2001:db9::1/48"],
)
def test_overlays_of_private_and_other_ranges_are_taken(text):
    assert check_overlay([ip_interface(text)], SERVER) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("100.64.0.1/1", "larger than a /8"),
        ("128.0.0.1/1", "larger than a /8"),
        ("1.2.3.4/0", "larger than a /8"),
        ("10.0.0.1/7", "larger than a /8"),
        ("fd00::1/8", "larger than a /16"),
        ("::1/0", "larger than a /16"),
        ("127.0.0.53/8", "loopback"),
        ("127.0.0.1/32", "loopback"),
        ("169.254.169.254/32", "metadata"),
        ("169.254.1.1/16", "link-local"),
        ("0.1.2.3/8", "this host's own"),
        ("224.0.0.1/8", "multicast"),
        ("255.255.255.255/32", "reserved"),
        ("::1/128", "loopback"),
        ("::ffff:10.0.0.1/120", "IPv4's"),
        ("fe80::1/64", "link-local"),
        ("ff02::1/64", "multicast"),
        ("fd00:ec2::254/128", "metadata"),
        ("203.0.113.9/24", "cut off management at 203.0.113.5"),
        ("203.0.113.5/32", "cut off management at 203.0.113.5"),
        ("2001:db8::9/64", "cut off management at 2001:db8::5"),
    ],
)
def test_other_overlays_are_refused_in_words(text, why):
    with pytest.raises(MapRefused, match="overlay .* is refused") as caught:
        check_overlay([ip_interface("100.64.0.1/16"), ip_interface(text)], SERVER)
    assert why in str(caught.value)


@pytest.mark.parametrize("forbidden", NEVER, ids=str)
@given(data=st.data())
def test_no_network_that_touches_a_forbidden_one_is_an_overlay(forbidden, data):
    inside = data.draw(st.ip_addresses(network=forbidden))
    length = data.draw(st.integers(0, forbidden.max_prefixlen))
    with pytest.raises(MapRefused):
        check_overlay([ip_interface((inside, length))], Surroundings())


@pytest.mark.parametrize(
    ("texts", "left", "why"),
    [
        (["100.64.0.2/32", "fd12::2/128"], ["100.64.0.2/32", "fd12::2/128"], ""),
        (["100.64.0.2/32", "10.9.0.0/24"], ["100.64.0.2/32"], "not a single address"),
        (["0.0.0.0/0", "::/0"], [], "not a single address"),
        (["0.0.0.0/1", "128.0.0.0/1"], [], "not a single address"),
        (["100.64.0.0/24"], [], "not a single address"),
        (["8.8.8.8/32"], [], "outside the overlay"),
        (["127.0.0.1/32"], [], "outside the overlay"),
        (["169.254.169.254/32"], [], "outside the overlay"),
        (["203.0.113.5/32"], [], "outside the overlay"),
        (["fd13::2/128"], [], "outside the overlay"),
        (["100.64.0.1/32"], [], "belongs to this machine"),
        (["fd12::1/128"], [], "belongs to this machine"),
        (["100.64.0.9/32"], [], "belongs to first.mesh"),
        (["100.64.0.254/32"], [], "belongs to this host's router"),
    ],
)
def test_a_peer_has_its_own_addresses_alone(texts, left, why):
    refusals, allowed = Refusals(), AllowedAddresses(ADDRESSES, SERVER)
    allowed.of("first.mesh", [ip_network("100.64.0.9/32")], refusals)
    found = allowed.of("desk.mesh", [ip_network(text) for text in texts], refusals)
    assert list(map(str, found)) == left
    assert why in " ".join(refusals.told)
    assert bool(refusals.told) is bool(why)


def peer(number, *allowed, name="", version=""):
    return pb.RemotePeerConfig(
        wgPubKey=KEYS[number].text, allowedIps=allowed, fqdn=name or f"peer{number}", agentVersion=version
    )


def test_of_two_peers_with_one_address_only_the_first_has_it():
    refusals = Refusals()
    entries = [peer(0, "100.64.0.2/32"), peer(1, "100.64.0.2/32"), peer(2, "100.64.0.2/32", "100.64.0.3/32")]
    found = remote_peers(pb.NetworkMap(remotePeers=entries), OWN, ADDRESSES, refusals)
    assert {key: list(map(str, each.allowed_ips)) for key, each in found.items()} == {
        KEYS[0]: ["100.64.0.2/32"],
        KEYS[2]: ["100.64.0.3/32"],
    }
    assert refusals.told == (
        "100.64.0.2/32 of peer1 is not used: it belongs to peer0",
        "100.64.0.2/32 of peer2 is not used: it belongs to peer0",
    )


def test_names_and_versions_are_made_fit_to_be_shown():
    refusals = Refusals()
    entries = [peer(0, "100.64.0.2/32", name="desk\x1b[2J\nroot@box", version="1.0\r\n\x1b" + "9" * 500)]
    (found,) = remote_peers(pb.NetworkMap(remotePeers=entries), OWN, ADDRESSES, refusals).values()
    assert found.fqdn == r"desk\x1b[2J\nroot@box"
    assert found.version.isprintable()
    assert len(found.version) <= 64
    assert "holds what cannot be shown" in refusals.told[0]
    assert all(text.isprintable() for text in refusals.told)


@pytest.mark.parametrize(
    ("overlay", "refused"),
    [
        ("192.168.1.7/24", True),
        ("192.168.1.7/30", False),
        ("192.168.1.2/30", True),
        ("192.168.1.7/32", False),
        ("192.168.0.7/16", False),
        ("100.64.0.1/16", False),
    ],
)
def test_an_overlay_does_not_cut_the_router_off(overlay, refused):
    """One that is wider than the router's own network leaves that alone."""
    around = Surroundings(gateway=ip_address("192.168.1.1"), link=ip_network("192.168.1.0/24"))
    if refused:
        with pytest.raises(MapRefused, match="cut off this host's router at 192.168.1.1"):
            check_overlay([ip_interface(overlay)], around)
    else:
        assert check_overlay([ip_interface(overlay)], around) is None


def test_an_overlay_cuts_no_server_off():
    around = Surroundings(servers={ip_address("198.51.100.7"): "relay"})
    with pytest.raises(MapRefused, match="cut off the relay server at 198.51.100.7"):
        check_overlay([ip_interface("198.51.100.1/24")], around)
    assert check_overlay([ip_interface("198.51.101.1/24")], around) is None


def test_what_is_told_of_refusals_is_bounded():
    refusals = Refusals()
    for number in range(1000):
        refusals.add(f"{number}\n" * 10_000)
    assert len(refusals.told) == MOST_TOLD + 1
    assert refusals.told[-1] == f"and {1000 - MOST_TOLD} more"
    assert sum(map(len, refusals.told)) < 64 << 10


@pytest.mark.parametrize(("count", "refused"), [(MOST_PEERS, False), (MOST_PEERS + 1, True), (20_000, True)])
def test_a_map_of_too_many_peers_is_not_applied(count, refused):
    new = pb.NetworkMap(Serial=2, remotePeers=[pb.RemotePeerConfig()] * count)
    why = is_refused(pb.NetworkMap(), new, 1)
    assert bool(why) is refused
    assert not refused or f"{count} peers; at most {MOST_PEERS}" in why


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("signal.example.net:443", ("signal.example.net", 443)),
        ("192.0.2.1:10000", ("192.0.2.1", 10000)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("a_b-c.example.:1", ("a_b-c.example.", 1)),
        ("bücher.example:3478", ("bücher.example", 3478)),
        *(
            (text, None)
            for text in (
                "",
                "signal",
                ":443",
                "signal:",
                "signal:0",
                "signal:65536",
                "signal:٤٤٣",
                "signal:4 4",
                "unix:/run/docker.sock",
                "unix:443/x:1",
                "unix-abstract:secret:1",
                "vsock:3:22",
                "dns:///signal:443",
                "dns://192.0.2.1/signal:443",
                "ipv4:127.0.0.1:22",
                "xds:///signal:443",
                "https://signal.example.net:443",
                "user@signal:443",
                "signal\n.example:443",
                "signal\x1b[2J:443",
                "sig nal:443",
                "[::1:443",
                "[nonsense]:443",
                "2001:db8::1:443",
                "a" * 254 + ":443",
                "..:443",
                "%2e:443",
            )
        ),
    ],
)
def test_a_server_is_a_host_and_a_port_and_nothing_else(text, found):
    assert host_and_port(text) == found


@pytest.mark.parametrize("uri", ["unix:/run/docker.sock", "vsock:3:22", "dns://192.0.2.1/x:1", "a\x1b[2J:1"])
def test_a_signal_server_that_is_another_kind_of_target_is_not_used(uri):
    refusals = Refusals()
    config = pb.NetbirdConfig()
    config.signal.uri = uri
    assert signal_address(config, refusals) is None
    (told,) = refusals.told
    assert "is not used: it is not host:port" in told
    assert told.isprintable()


def test_of_many_servers_only_the_first_are_used():
    config = pb.NetbirdConfig()
    config.relay.urls.extend(f"rels://relay{number}.example.net:443" for number in range(200))
    config.relay.tokenPayload, config.relay.tokenSignature = "1700000000", "A" * 43 + "="
    for number in range(200):
        config.stuns.add(uri=f"stun:stun{number}.example.net:3478")
        config.turns.add().hostConfig.uri = f"turn:turn{number}.example.net:3478"
    refusals = Refusals()
    assert len(relays(config, refusals).urls) == MOST_SERVERS
    assert len(stun_servers(config, refusals)) == MOST_SERVERS
    assert len(turn_servers(config, refusals)) == MOST_SERVERS
    assert refusals.told == tuple(
        f"of 200 {kind} only the first {MOST_SERVERS} are used" for kind in ("relays", "STUN servers", "TURN servers")
    )


def test_servers_that_are_none_are_left_out_and_said():
    config = pb.NetbirdConfig()
    config.relay.urls.extend(["unix:/run/x", "rels://good.example.net:443", "rels://a\x1b[2J:443", "http://h:1"])
    config.relay.tokenPayload, config.relay.tokenSignature = "1700000000", "A" * 43 + "="
    config.stuns.add(uri="stun:unix:/x")
    config.turns.add().hostConfig.uri = "turn:/etc/passwd:1"
    refusals = Refusals()
    assert relays(config, refusals).urls == ("rels://good.example.net:443",)
    assert stun_servers(config, refusals) == []
    assert turn_servers(config, refusals) == []
    assert len(refusals.told) == 5
    assert all(text.isprintable() for text in refusals.told)


def test_a_kept_map_that_cuts_management_off_is_not_used():
    kept = pb.SyncResponse()
    kept.NetworkMap.peerConfig.address = "203.0.113.9/24"
    assert usable(kept, Surroundings()) is kept
    assert usable(kept, SERVER) is None
    kept.NetworkMap.peerConfig.address = "nonsense"
    assert usable(kept, Surroundings()) is None
