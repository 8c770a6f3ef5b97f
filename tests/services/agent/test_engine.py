"""The engine between management, signal and a tunnel, each led by the test."""

from ipaddress import ip_interface, ip_network

import pytest

from meshloom.errors import TunnelError
from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pair(agents, until):
    """Two agents, connected."""
    one, two = agents(0), agents(1)
    await until(lambda: one.report.state == two.report.state == CONNECTED)
    await until(lambda: one.connected and two.connected)
    return one, two


async def test_two_agents_find_each_other(pair, until):
    one, two = pair
    await until(lambda: one.endpoint(two) and two.endpoint(one))
    assert one.endpoint(two) == ("192.0.2.2", 51820)
    assert two.endpoint(one) == ("192.0.2.1", 51820)
    (peer,) = await one.engine.peers()
    assert (peer.key, peer.path.state, peer.remote.fqdn) == (two.key, "Connected", "peer2.mesh.test")
    assert one.tunnel.state.peers[two.key].allowed_ips == {ip_network("100.64.0.2/32")}
    assert one.tunnel.state.addresses == (ip_interface("100.64.0.1/16"),)
    assert one.report.fqdn == "peer1.mesh.test"


async def test_a_peer_that_left_the_map_leaves_the_tunnel(pair, management, until):
    one, two = pair
    management.tell(one.key.text, management.map_of(one.key.text, [], serial=100))
    await until(lambda: two.key not in one.tunnel.state.peers)
    assert await one.engine.peers() == []


async def test_an_empty_map_that_does_not_say_so_is_not_believed(pair, management, until, caplog):
    one, two = pair
    management.tell(one.key.text, management.map_of(one.key.text, [], empty=False, serial=100))
    await until(lambda: "not applied" in caplog.text)
    assert two.key in one.tunnel.state.peers
    assert one.connected


async def test_an_older_map_never_replaces_a_newer_one(pair, management, until, caplog):
    one, two = pair
    management.tell(one.key.text, management.map_of(one.key.text, [], serial=0))
    await until(lambda: "older" in caplog.text)
    assert two.key in one.tunnel.state.peers
    assert one.connected


async def test_other_allowed_addresses_of_a_connected_peer_are_applied(pair, management, until):
    one, two = pair
    changed = management.map_of(one.key.text, [management.remote(two.key.text, "100.64.9.9/32")], serial=100)
    management.tell(one.key.text, changed)
    await until(lambda: ip_network("100.64.9.9/32") in one.tunnel.state.peers[two.key].allowed_ips)
    assert one.connected, "the path stays"


async def test_a_bad_entry_is_left_out_and_the_others_are_taken(pair, management, until, caplog):
    one, two = pair
    bad = [
        pb.RemotePeerConfig(wgPubKey="no key", allowedIps=["100.64.0.9/32"], fqdn="bad-key"),
        pb.RemotePeerConfig(wgPubKey=PrivateKey.of(bytes(32)).public.text, allowedIps=["nowhere"], fqdn="bad-address"),
        management.remote(one.key.text),
    ]
    new = PrivateKey.of(b"n" * 32).public
    management.peers[new.text] = "100.64.0.77"
    remotes = [*bad, management.remote(two.key.text), management.remote(new.text)]
    management.tell(one.key.text, management.map_of(one.key.text, remotes, serial=100))
    await until(lambda: len(one.engine._mesh.peers) == 2)
    assert set(one.engine._mesh.peers) == {two.key, new}
    assert "bad-key" in caplog.text
    assert "bad-address" in caplog.text


async def test_a_message_that_holds_no_address_changes_nothing(pair, management, until, caplog):
    one, two = pair
    update = management.map_of(one.key.text, [management.remote(two.key.text)], serial=100)
    update.NetworkMap.peerConfig.address = "nonsense"
    management.tell(one.key.text, update)
    await until(lambda: "the old one stays" in caplog.text)
    assert one.tunnel.state.addresses == (ip_interface("100.64.0.1/16"),)


async def test_a_new_address_of_our_own_is_set_without_opening_the_tunnel_anew(pair, management, until, tunnels):
    one, two = pair
    update = management.map_of(one.key.text, [management.remote(two.key.text)], serial=100)
    update.NetworkMap.peerConfig.address = "100.64.9.9/16"
    management.tell(one.key.text, update)
    await until(lambda: one.tunnel.state.addresses == (ip_interface("100.64.9.9/16"),))
    assert tunnels.count["test0"] == 1
    assert two.key in one.tunnel.state.peers
    assert one.connected


async def test_ipv6_of_the_mesh_is_left_out_where_it_is_not_wanted(agents, management, until):
    one = agents(0, ipv6=False)
    await until(lambda: one.report.state == CONNECTED)
    update = management.map_of(one.key.text, [], serial=100)
    update.NetworkMap.peerConfig.address_v6 = bytes(15) + b"\1\x40"
    management.tell(one.key.text, update)
    await until(lambda: one.engine._maps.serial == 100 and one.tunnel.state.addresses)
    assert one.tunnel.state.addresses == (ip_interface("100.64.0.1/16"),)
    assert list(management.metas[-1].capabilities) == [1]


async def test_a_start_without_management_uses_the_last_map(pair, management, signal, agents, until):
    one, _ = pair
    await until(lambda: one.files.last_map() is not None)
    one.scope.cancel()
    await until(lambda: "test0" not in one.tunnels.opened)
    await management.stop()
    again = agents(0)
    await until(lambda: again.connected)
    await until(lambda: "management" in again.report.waiting_for)
    assert again.report.state == "Connecting"
    await management.start()
    await until(lambda: again.report.state == CONNECTED, 20)


async def test_a_connection_outlives_management_and_signal(pair, management, signal, until):
    one, two = pair
    await management.stop()
    await signal.stop()
    await until(lambda: one.report.state != CONNECTED and not one.report.signal.connected)
    assert two.key in one.tunnel.state.peers
    assert one.connected
    assert two.connected
    await signal.start()
    await management.start()
    await until(lambda: one.report.state == CONNECTED, 20)


async def test_an_agent_that_starts_anew_is_reached_again(pair, agents, until):
    one, two = pair
    two.scope.cancel()
    await until(lambda: "test1" not in two.tunnels.opened)
    again = agents(1)
    await until(lambda: again.connected and one.connected)


async def test_a_taken_port_is_replaced_by_a_free_one(agents, air, until):
    air.taken.add(51820)
    one = agents(0)
    await until(lambda: one.report.state == CONNECTED)
    assert one.report.listen_port == 50000


async def test_who_is_no_longer_known_is_told_so_and_keeps_its_paths(pair, management, until):
    one, two = pair
    del management.peers[one.key.text]
    management.tell(one.key.text, None)
    await until(lambda: one.report.state == "NeedsLogin")
    assert "no peer auth method" in one.report.not_known
    assert one.failure is None
    assert two.key in one.tunnel.state.peers
    assert one.connected


async def test_a_stream_that_is_refused_by_mistake_is_opened_again(pair, management, until):
    one, _ = pair
    before = len(management.metas)
    management.tell(one.key.text, None)
    await until(lambda: len(management.metas) > before and one.report.state == CONNECTED)
    assert one.failure is None


async def test_a_lost_device_ends_the_engine(pair, until):
    one, _ = pair
    one.tunnels.lose("test0")
    await until(lambda: one.failure)
    assert isinstance(one.failure, TunnelError)


async def test_an_unknown_machine_waits_until_it_is_known(agents, until):
    one = agents(0, enrol=False)
    await until(lambda: one.report.state == "NeedsLogin")
    assert one.failure is None
    assert "test0" not in one.tunnels.opened
