"""What servers, peers and programs may say to an agent: read, left out or refused, and never a fall."""

import contextlib
import random
from ipaddress import ip_interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom.errors import ConfigError, ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.signal import SignalMessage, decode
from meshloom.rpc import daemon_pb2, signalexchange_pb2
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.daemon_service import merged
from meshloom_agent.files import AgentSettings
from meshloom_agent.mesh import Mesh
from meshloom_agent.network import is_refused, own_address, remote_peers, signal_address, stun_servers
from meshloom_agent.trust import Refusals

OWN = ip_interface("100.64.0.200/16")
KEYS = [PrivateKey.of(bytes([number]) * 32).public for number in range(1, 6)]
texts = st.text(max_size=40)
keys = st.sampled_from(KEYS).map(lambda key: key.text) | texts | st.just(PublicKey.of(bytes(32)).text)
networks = (
    st.ip_addresses().map(str)
    | st.tuples(st.ip_addresses(), st.integers(-1, 130)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    | texts
)
remotes = st.builds(
    pb.RemotePeerConfig,
    wgPubKey=keys,
    allowedIps=st.lists(networks, max_size=4),
    fqdn=texts,
    agentVersion=texts,
)
maps = st.builds(
    pb.NetworkMap,
    Serial=st.integers(0, 2**64 - 1),
    remotePeers=st.lists(remotes, max_size=6),
    remotePeersIsEmpty=st.booleans(),
)
uris = st.builds(
    "{}{}{}".format,
    st.sampled_from(["stun:", "", "turn:", "stun:["]),
    st.sampled_from(["..", "a" * 300, "é" * 300, "[::1]", "host", ""]) | texts,
    st.sampled_from([":3478", ":99999999999", ":", ":-1", "?transport=udp", ":٣"]),
)


@given(maps)
def test_of_a_map_only_what_can_be_is_used(network_map):
    for key, peer in remote_peers(network_map, KEYS[0], [OWN]).items():
        assert key != KEYS[0]
        assert peer.allowed_ips
        assert all(each.subnet_of(OWN.network) and each.prefixlen == 32 for each in peer.allowed_ips)
        assert peer.fqdn.isprintable()


@given(maps, maps, st.integers(0, 2**64 - 1))
def test_no_map_that_is_older_is_believed(old, new, serial):
    why = is_refused(old, new, serial)
    assert why or new.Serial >= serial
    assert why or new.remotePeers or new.remotePeersIsEmpty or not old.remotePeers


@given(networks, st.binary(max_size=20), texts, st.integers(-(2**31), 2**31 - 1))
def test_our_own_address_is_one_or_refused(address, six, fqdn, mtu):
    with contextlib.suppress(ProtocolError):
        own = own_address(pb.PeerConfig(address=address, address_v6=six, fqdn=fqdn, mtu=mtu))
        assert own.addresses[0].version == 4


@given(st.lists(uris, max_size=4))
def test_stun_servers_are_hosts_that_can_be_asked_for(found):
    config = pb.NetbirdConfig(stuns=[pb.HostConfig(uri=uri) for uri in found])
    for host, port in stun_servers(config):
        assert 0 < port < 1 << 16
        host.encode("idna")


@given(texts, st.sampled_from(list(pb.HostConfig.Protocol.values())))
def test_a_place_of_signal_is_a_host_and_a_port_or_refused(uri, protocol):
    refusals = Refusals()
    found = signal_address(pb.NetbirdConfig(signal=pb.HostConfig(uri=uri, protocol=protocol)), refusals)
    assert (found is None) is (not uri or bool(refusals.told))
    assert all(text.isprintable() for text in refusals.told)


bodies = st.builds(
    signalexchange_pb2.Body,
    type=st.sampled_from([0, 1, 2, 4, 5, 6]),
    payload=st.sampled_from(["abcd:efgh", ":", "1 1 udp 5 192.0.2.1 51820 typ host", "é:ü"]) | st.text(max_size=80),
    wgListenPort=st.integers(0, 2**32 - 1),
    sessionId=st.sampled_from([b"12345", b"54321", b"", b"1"]),
)
events = st.lists(
    st.tuples(st.sampled_from(KEYS), bodies.map(lambda body: body.SerializeToString()))
    | st.tuples(st.ip_addresses(v=4).map(str), st.binary(max_size=120)),
    max_size=30,
)


@settings(max_examples=60)
@given(events)
def test_whatever_peers_signal_and_send_the_mesh_stands(happenings):
    mesh = Mesh(KEYS[0], random.Random(1).randbytes)
    entries = [pb.RemotePeerConfig(wgPubKey=key.text, allowedIps=[f"100.64.0.{n}/32"]) for n, key in enumerate(KEYS)]
    mesh.set_peers(remote_peers(pb.NetworkMap(remotePeers=entries[:4]), KEYS[0], [OWN]), 0.0)
    mesh.set_local(["192.0.2.9"], 51820, 0.0)
    mesh.signal_ready(True, 0.0)
    now = 0.0
    for source, data in happenings:
        if isinstance(source, PublicKey):
            with contextlib.suppress(ProtocolError):
                mesh.receive_signal(decode(data, source), now)
        else:
            mesh.receive_datagram(b"\0\1\0\0" + b"\x21\x12\xa4\x42" + data, (source, 5000), now)
            mesh.receive_datagram(data, (source, 5000), now)
        now += 0.3
        mesh.handle_timer(now)
        assert all(isinstance(message, SignalMessage) for message in mesh.signals())
        mesh.datagrams()
    assert not mesh.connected, "nobody has proved anything"
    assert KEYS[4] not in mesh.endpoints, "it is not in the map"


requests = st.builds(
    daemon_pb2.LoginRequest,
    managementUrl=texts,
    hostname=st.text(max_size=300),
    interfaceName=st.sampled_from(["", "wg0", "../../x", "a/b", "-f", ".", "..", "x" * 16, "a b", "é", "a\0b"]) | texts,
    wireguardPort=st.integers(-(2**63), 2**63 - 1),
    mtu=st.integers(-(2**31), 2**31 - 1),
    extraIFaceBlacklist=st.lists(texts, max_size=3),
)


@given(requests)
def test_values_from_the_socket_are_checked(request):
    try:
        made = merged(AgentSettings(), request)
    except ConfigError:
        return
    assert 0 < len(made.interface) < 16
    assert made.interface not in (".", "..")
    assert not set(made.interface) & set("/ \0")
    assert not made.interface.startswith("-")
    assert 0 <= made.port < 1 << 16
    assert made.mtu == 0 or 576 <= made.mtu < 1 << 16


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("interfaceName", "../../etc/x", "--interface-name"),
        ("wireguardPort", 70000, "--wireguard-port 70000"),
        ("mtu", 100, "--mtu 100"),
        ("hostname", "x" * 256, "--hostname"),
    ],
)
def test_a_value_that_cannot_be_is_named(field, value, said):
    with pytest.raises(ConfigError, match=said):
        merged(AgentSettings(), daemon_pb2.LoginRequest(**{field: value}))
