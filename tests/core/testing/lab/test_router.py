"""Routers of the laboratory behave as RFC 4787 says of their kind."""

import attrs
import pytest

from meshloom.testing.lab import BEHAVIOURS, OPEN, Filtering, Lab, Mapping, Nat, can_be_direct

PORT = 51820


class Scene:
    """A host behind a router, and two on the internet, with two ports each, that note what arrives."""

    def __init__(self, nat, **more):
        self.lab = Lab(1, **more)
        self.site = self.lab.behind(nat, ipv6=more.get("ipv6", False))
        self.arrived = []
        self.inner, self.second = self.site.host("inner"), self.site.host("second")
        self.one, self.other = self.lab.internet.host("one"), self.lab.internet.host("other")
        self.ports = {}
        for host in (self.inner, self.second, self.one, self.other):
            for number in (PORT, PORT + 1):
                self.ports[host, number] = host.bind(number, self._note(host, number))

    def _note(self, host, number):
        return lambda data, source: self.arrived.append((host, number, data, source))

    def send(self, host, destination, data=b"x", port=PORT):
        """Send; what arrived of it and whence."""
        self.arrived.clear()
        self.ports[host, port].send(data, destination)
        self.lab.clock.run_for(1)
        return [(each[0].name, each[1], each[3]) for each in self.arrived]

    def mapped(self, destination, host=None):
        """The outer address that a destination sees."""
        return self.send(host or self.inner, destination)[0][2]


@pytest.mark.parametrize("nat", BEHAVIOURS)
def test_a_mapping_depends_on_what_its_kind_says(nat):
    scene = Scene(nat)
    targets = [(scene.one.ipv4, PORT), (scene.one.ipv4, PORT + 1), (scene.other.ipv4, PORT)]
    first, same_address, other = [scene.mapped(target) for target in targets]
    assert first[0] == other[0] == scene.site.router.ipv4
    assert (first == same_address) is (nat.mapping is not Mapping.ADDRESS_AND_PORT_DEPENDENT)
    assert (first == other) is (nat.mapping is Mapping.ENDPOINT_INDEPENDENT)
    assert scene.mapped(targets[0]) == first


@pytest.mark.parametrize("nat", BEHAVIOURS)
def test_a_filter_lets_in_what_its_kind_says(nat):
    scene = Scene(nat)
    outer = scene.mapped((scene.one.ipv4, PORT))
    let_in = [
        bool(scene.send(host, outer, port=port)) for host in (scene.one, scene.other) for port in (PORT, PORT + 1)
    ]
    by_address = nat.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT
    by_none = nat.filtering is Filtering.ENDPOINT_INDEPENDENT
    assert let_in == [True, by_address, by_none, by_none]


def test_two_hosts_behind_one_router_have_addresses_of_their_own():
    scene = Scene(BEHAVIOURS[0])
    target = scene.one.ipv4, PORT
    outer = {host: scene.mapped(target, host) for host in (scene.inner, scene.second)}
    assert outer[scene.inner] != outer[scene.second]
    for host, address in outer.items():
        assert [name for name, *_ in scene.send(scene.one, address)] == [host.name]


@pytest.mark.parametrize("hairpin", [True, False])
def test_inner_hosts_reach_each_other_by_outer_addresses_where_the_router_hairpins(hairpin):
    scene = Scene(Nat(hairpin=hairpin, filtering=Filtering.ENDPOINT_INDEPENDENT))
    outer, source = scene.mapped((scene.one.ipv4, PORT), scene.second), scene.mapped((scene.one.ipv4, PORT))
    assert scene.send(scene.inner, outer) == ([("second", PORT, source)] if hairpin else [])


@pytest.mark.parametrize("preserves", [True, False])
def test_the_inner_port_is_kept_where_the_router_does_so_and_it_is_free(preserves):
    scene = Scene(Nat(preserves_port=preserves))
    target = scene.one.ipv4, PORT
    assert (scene.mapped(target)[1] == PORT) is preserves
    assert scene.mapped(target, scene.second)[1] != PORT


def test_a_mapping_is_kept_open_by_what_goes_out_and_forgotten_in_time():
    scene = Scene(Nat(timeout=30, filtering=Filtering.ENDPOINT_INDEPENDENT))
    target = scene.one.ipv4, PORT
    outer = scene.mapped(target)
    for _ in range(3):
        scene.lab.clock.run_for(25)
        assert scene.mapped(target) == outer
    for _ in range(2):  # what comes in does not keep it open
        scene.lab.clock.run_for(14)
        scene.send(scene.one, outer)
    assert scene.send(scene.one, outer) == []
    assert scene.mapped(target) != outer


def test_a_filter_forgets_in_time_what_the_mapping_still_serves():
    scene = Scene(Nat(timeout=30))
    outer = scene.mapped((scene.one.ipv4, PORT))
    scene.lab.clock.run_for(20)
    assert scene.mapped((scene.other.ipv4, PORT)) == outer
    scene.lab.clock.run_for(20)
    assert scene.send(scene.other, outer)
    assert not scene.send(scene.one, outer)


def test_a_restarted_router_knows_no_mapping():
    scene = Scene(Nat(filtering=Filtering.ENDPOINT_INDEPENDENT))
    outer = scene.mapped((scene.one.ipv4, PORT))
    assert scene.lab.owner(outer) is scene.inner
    scene.site.router.restart()
    assert scene.lab.owner(outer) is None
    assert scene.send(scene.one, outer) == []


def test_a_firewall_keeps_addresses_and_filters():
    scene = Scene(Nat(translates=False))
    inner = scene.inner.ipv4, PORT
    assert scene.send(scene.one, inner) == []
    assert scene.mapped((scene.one.ipv4, PORT)) == inner
    assert scene.send(scene.one, inner)
    assert scene.send(scene.other, inner) == []


def test_ipv6_is_filtered_and_never_translated():
    scene = Scene(Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT), ipv6=True)
    inner = scene.inner.ipv6, PORT
    assert scene.send(scene.one, inner) == []
    assert scene.mapped((scene.one.ipv6, PORT)) == inner
    assert scene.send(scene.one, inner)


def test_a_router_that_blocks_lets_nothing_through():
    scene = Scene(Nat(blocks_udp=True))
    assert scene.send(scene.inner, (scene.one.ipv4, PORT)) == []
    assert scene.send(scene.inner, (scene.second.ipv4, PORT))


def test_two_routers_translate_one_after_the_other():
    lab = Lab(1)
    outer = lab.behind(Nat())
    inner = outer.behind(Nat())
    host, server = inner.host(), lab.internet.host()
    seen = []
    server.bind(1, lambda _, source: seen.append(source))
    host.bind(2, print).send(b"x", (server.ipv4, 1))
    lab.clock.run_for(1)
    assert seen[0][0] == outer.router.ipv4
    assert lab.owner(seen[0]) is host


def test_what_can_be_direct_is_the_same_from_both_sides():
    for one in (*BEHAVIOURS, OPEN):
        for other in (*BEHAVIOURS, OPEN):
            assert can_be_direct(one, other) is can_be_direct(other, one)
            assert not can_be_direct(attrs.evolve(one, blocks_udp=True), other)
    assert all(can_be_direct(nat, OPEN) for nat in BEHAVIOURS)
