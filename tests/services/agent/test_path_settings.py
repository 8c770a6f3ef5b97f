"""What users and the daemon's environment say of paths, and what comes of it."""

import attrs
import pytest

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey
from meshloom.protocol.ice import CandidateKind, Timers
from meshloom.protocol.signal import SignalKind
from meshloom.rpc import daemon_pb2 as pb
from meshloom_agent.checked import checked_environment
from meshloom_agent.cli.path_options import login_fields
from meshloom_agent.config import AgentConfig
from meshloom_agent.daemon import Daemon
from meshloom_agent.daemon_service import merged
from meshloom_agent.files import AgentSettings, StateDir
from meshloom_agent.mesh import Mesh, MeshOptions, RemotePeer
from meshloom_agent.network import external_addresses
from meshloom_agent.path_settings import in_environment, mesh_options, relay_transports
from meshloom_agent.relays import NamedTransport
from meshloom_agent.report import CONNECTED

NONE = {
    "external_ip_map": (),
    "force_relay": None,
    "no_relay": None,
    "home_relay_servers": None,
    "relay_transport": None,
    "lazy": None,
    "disable_ipv6_discovery": None,
    "port_mapping": None,
}
ONE, TWO = (PrivateKey.of(bytes([number]) * 32).public for number in (1, 2))


def after(settings=AgentSettings(), **given):  # noqa: B008 - frozen
    return merged(settings, pb.LoginRequest(**login_fields(NONE | given)))


# -- what users say --------------------------------------------------------------------------------------------


def test_what_is_not_said_stays():
    said = AgentSettings(
        external_ips=("198.51.100.1",),
        force_relay=True,
        home_relays=("rel://a.example:80",),
        relay_transport="ws",
        ipv6_discovery=False,
        port_mapping=False,
        lazy=True,
    )
    assert after(said) == said


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        (
            {"external_ip_map": ("198.51.100.1", "198.51.100.2/eth0")},
            "external_ips",
            ("198.51.100.1", "198.51.100.2/eth0"),
        ),
        ({"external_ip_map": ("198.51.100.1,198.51.100.2",)}, "external_ips", ("198.51.100.1", "198.51.100.2")),
        ({"force_relay": True}, "force_relay", True),
        ({"no_relay": True}, "relays", False),
        ({"home_relay_servers": "rel://a:80, rels://b:443"}, "home_relays", ("rel://a:80", "rels://b:443")),
        ({"relay_transport": "prefer-ws"}, "relay_transport", "prefer-ws"),
        ({"lazy": False}, "lazy", False),
        ({"disable_ipv6_discovery": True}, "ipv6_discovery", False),
        ({"port_mapping": False}, "port_mapping", False),
    ],
)
def test_each_option_is_kept(given, field, value):
    assert getattr(AgentSettings(), field) != value
    assert getattr(after(**given), field) == value


def test_empty_values_return_to_the_default():
    said = AgentSettings(external_ips=("198.51.100.1",), home_relays=("rel://a:80",))
    assert after(said, external_ip_map=("",), home_relay_servers="") == AgentSettings()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"force_relay": True, "no_relay": True}, "--no-relay"),
        ({"external_ip_map": ("router.example",)}, "--external-ip-map"),
        ({"external_ip_map": tuple(f"198.51.100.{number}" for number in range(17))}, "--external-ip-map"),
        ({"home_relay_servers": "https://a"}, "--home-relay-servers"),
        ({"relay_transport": "pigeon"}, "--relay-transport"),
    ],
)
def test_what_cannot_be_is_named(given, named):
    with pytest.raises(ConfigError, match=named):
        after(**given)


# -- what the environment says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("NB_FORCE_RELAY", "true", "force_relay", True),
        ("NB_LAZY_CONN", "on", "lazy", True),
        ("NB_LAZY_CONN", "off", "lazy", False),
        ("NB_DISABLE_NAT_MAPPER", "true", "port_mapping", False),
        ("NB_HOME_RELAY_SERVERS", "rel://a:80,rels://b:443", "home_relays", ("rel://a:80", "rels://b:443")),
        ("NB_RELAY_TRANSPORT", "quic", "relay_transport", "quic"),
    ],
)
def test_the_daemons_environment_goes_first(name, text, field, value):
    assert getattr(AgentSettings(), field) != value
    assert in_environment(AgentSettings(), {name: text}) == attrs.evolve(AgentSettings(), **{field: value})


def test_an_administrators_force_outdoes_a_users_refusal():
    made = in_environment(AgentSettings(relays=False), {"NB_FORCE_RELAY": "1"})
    assert (made.force_relay, made.relays) == (True, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NB_FORCE_RELAY", "maybe"),
        ("NB_RELAY_TRANSPORT", "pigeon"),
        ("NB_HOME_RELAY_SERVERS", "https://a"),
        ("NB_ICE_FAILED_TIMEOUT_SEC", "soon"),
        ("NB_ICE_KEEP_ALIVE_INTERVAL_SEC", "0"),
        ("NB_ICE_KEEP_ALIVE_INTERVAL_SEC", "nan"),
        ("NB_LAZY_CONN_INACTIVITY_THRESHOLD", "59s"),
        ("NB_LAZY_CONN_INACTIVITY_THRESHOLD", "soon"),
        ("NB_LAZY_CONN_INACTIVITY_THRESHOLD", "9" * 99),
    ],
)
def test_a_wrong_variable_is_named(name, text):
    with pytest.raises(ConfigError, match="environment"):
        mesh_options(in_environment(AgentSettings(), {name: text}), {name: text})


def test_timers_of_ice_come_from_the_environment():
    made = mesh_options(
        AgentSettings(),
        {
            "NB_ICE_KEEP_ALIVE_INTERVAL_SEC": "2",
            "NB_ICE_DISCONNECTED_TIMEOUT_SEC": "7",
            "NB_ICE_FAILED_TIMEOUT_SEC": "8.5",
            "NB_ICE_RELAY_ACCEPTANCE_MIN_WAIT_SEC": "3",
        },
    )
    assert made.timers == Timers(keepalive=2.0, disconnected=7.0, failed=8.5, relayed_patience=3.0)
    assert mesh_options(AgentSettings(), {}).timers == Timers()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("5", 300), ("", 900)])
def test_the_time_until_a_peer_sleeps_comes_from_the_environment(text, seconds):
    assert mesh_options(AgentSettings(), {"NB_LAZY_CONN_INACTIVITY_THRESHOLD": text}).idle_after == seconds


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ("auto", ["picows", "quic", "websocket"]),
        ("quic", ["quic"]),
        ("ws", ["picows", "websocket"]),
        ("prefer-quic", ["quic", "picows", "websocket"]),
        ("prefer-ws", ["picows", "websocket", "quic"]),
    ],
)
def test_transports_are_chosen_by_their_wire(wanted, order):
    transports = [NamedTransport(name, None) for name in ("picows", "quic", "websocket")]
    assert [each.name for each in relay_transports(transports, wanted)] == order


# -- what comes of it ------------------------------------------------------------------------------------------


def mesh(**options):
    """With one peer that has been heard of."""
    made = Mesh(ONE, bytes, MeshOptions(**options))
    made.set_peers({TWO: RemotePeer(())}, 0.0)
    made.signal_ready(True, 0.0)
    return made


def candidates(mesh):
    return [message.candidate for message in mesh.signals() if message.kind is SignalKind.CANDIDATE]


def test_an_outer_address_is_told_besides_the_others():
    made = mesh()
    made.set_external([("198.51.100.1", "192.168.1.10")], 0.0)
    made.set_local(["192.168.1.10"], 51820, 0.0)
    told = candidates(made)
    assert any("192.168.1.10 51820 typ host" in line for line in told)
    assert any("198.51.100.1 51820 typ srflx raddr 192.168.1.10 rport 51820" in line for line in told)


def test_an_opened_port_comes_before_what_stun_servers_see():
    made = mesh()
    made.set_local(["192.168.1.10"], 51820, 0.0)
    candidates(made)
    made.set_mapped({("198.51.100.1", 40000): ("192.168.1.10", 51820)}, 0.0)
    (line,) = candidates(made)
    assert "198.51.100.1 40000 typ srflx raddr 192.168.1.10 rport 51820" in line
    made.set_mapped({}, 0.0)
    assert all(each.kind is CandidateKind.HOST for each in made._local.candidates)


def test_outer_addresses_name_what_is_behind_them(caplog):
    interfaces = [("192.168.1.10", "eth0"), ("10.0.0.5", "eth1"), ("2001:db8::5", "eth0")]
    mapped = ("198.51.100.1", "198.51.100.2/eth1", "198.51.100.3/10.0.0.5", "2001:db8:1::1", "198.51.100.4/eth9")
    assert external_addresses(mapped, interfaces) == [
        ("198.51.100.1", "192.168.1.10"),
        ("198.51.100.2", "10.0.0.5"),
        ("198.51.100.3", "10.0.0.5"),
        ("2001:db8:1::1", "2001:db8::5"),
    ]
    assert "198.51.100.4/eth9" in caplog.text


def test_with_relays_forced_no_credentials_and_no_candidates_are_told():
    made = mesh(force_relay=True)
    made.set_local(["192.168.1.10"], 51820, 0.0)
    told = made.signals()
    assert told
    assert all(message.credentials is None for message in told)
    assert not [message for message in told if message.kind is SignalKind.CANDIDATE]


def test_with_turn_only_other_candidates_are_not_told():
    made = mesh(turn_only=True)
    made.set_local(["192.168.1.10"], 51820, 0.0)
    assert candidates(made) == []
    made.set_allocations({("203.0.113.9", 50000): ("198.51.100.1", 1)}, 0.0)
    (line,) = candidates(made)
    assert "203.0.113.9 50000 typ relay" in line


def test_without_ipv6_discovery_no_check_goes_to_ipv6():
    assert mesh(ipv6=False)._is_refused(("2001:db8::1", 51820))
    assert not mesh()._is_refused(("2001:db8::1", 51820))


@pytest.mark.anyio
async def test_the_mtu_that_is_said_is_the_one_that_paths_are_probed_for(agents, until):
    agent = agents(0, mtu=1400)
    await until(lambda: agent.report.state == CONNECTED)
    assert agent.engine._mesh.options.mtu == 1400
    assert agent.tunnel.state.mtu == 1400


@pytest.mark.anyio
async def test_relays_that_are_said_replace_those_of_the_server_and_no_relay_uses_none(agents, until):
    told = ["rel://told.example:80"]
    own, none, default = agents(0, home_relays=("rel://own.example:80",)), agents(1, relays=False), agents(2)
    for agent in (own, none, default):
        await until(lambda agent=agent: agent.report.state == CONNECTED)
    assert own.engine._relays_of(told) == ("rel://own.example:80",)
    assert none.engine._relays_of(told) == ()
    assert default.engine._relays_of(told) == told


@pytest.mark.anyio
async def test_an_outer_address_that_is_said_is_signalled(agents, until):
    agent = agents(0, external_ips=("198.51.100.1",))
    await until(lambda: agent.report.state == CONNECTED)
    assert ("198.51.100.1", 51820) in [each.address for each in agent.engine._mesh._local.candidates]


@pytest.mark.anyio
async def test_the_daemon_follows_its_environment(tmp_path, tunnels, settings):
    environment = {
        "NB_DISABLE_NAT_MAPPER": "true",
        "NB_FORCE_RELAY": "true",
        "NB_LAZY_CONN": "on",
        "NB_ICE_FAILED_TIMEOUT_SEC": "9",
    }
    daemon = Daemon(StateDir(tmp_path / "state"), tunnels.chosen, environment=environment)
    async with daemon.running():
        await daemon.login(settings(0), "11111111-2222-3333-4444-555555555555")
        await daemon.up()
        await daemon.settled()
        options = daemon._engine._mesh.options
        assert options.force_relay
        assert options.timers.failed == 9
        assert daemon.report.lazy
        assert not daemon.settings.force_relay
        assert daemon._engine._paths.mapper is None


def test_the_configuration_may_forbid_to_ask_the_router():
    forbidden = checked_environment(AgentConfig(port_mapping=False), {"HOME": "/root"})
    assert not in_environment(AgentSettings(), forbidden).port_mapping
    assert in_environment(AgentSettings(), checked_environment(AgentConfig(), {})).port_mapping


@pytest.mark.anyio
async def test_a_daemon_does_not_start_on_a_wrong_variable(run, tmp_path, socket):
    where = ("--state-dir", str(tmp_path / "state"), "--daemon-addr", f"unix://{socket}")
    done = await run("service", "run", *where, NB_FORCE_RELAY="maybe")
    assert done.code == 2
    assert "NB_FORCE_RELAY" in done.err


@pytest.mark.anyio
async def test_every_option_is_explained(run):
    told = (await run("up", "--help")).out
    names = (
        "--external-ip-map --force-relay --no-relay --home-relay-servers --relay-transport --lazy --no-lazy"
        " --disable-ipv6-discovery --port-mapping --wireguard-port --mtu --extra-iface-blacklist"
        " NB_LAZY_CONN NB_FORCE_RELAY NB_HOME_RELAY_SERVERS NB_RELAY_TRANSPORT NB_EXTERNAL_IP_MAP"
    )
    for name in names.split():
        assert name in told
