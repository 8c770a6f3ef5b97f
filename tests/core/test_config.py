"""Configuration: strict, with every problem named at once, and the nearest key where one is misspelt."""

from datetime import timedelta
from ipaddress import IPv4Network

import attrs
import pytest

from meshloom import Backend
from meshloom.backend import Backends
from meshloom.config import Secret, choose, key, keys_of, load
from meshloom.errors import BackendUnavailable, ConfigError, DuplicateBackend, UnknownBackend
from meshloom.plugins import Plugins
from meshloom.service import read_setup


@attrs.frozen
class Inner:
    port: int = key(default=3478, help="A port.")
    enabled: bool = key(default=True, help="A switch.")


@attrs.frozen
class Config:
    listen: str = key(default=":80", help="An address.")
    network: IPv4Network = key(default=IPv4Network("100.64.0.0/16"), help="A network.")
    life: timedelta = key(default=timedelta(hours=1), help="A time.")
    secret: Secret | None = key(default=None, help="A secret.")
    names: tuple[str, ...] = key(default=(), help="Names.")
    inner: Inner = attrs.field(factory=Inner)


def read(tmp_path, text, **more):
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(Config, file, environment=more.pop("environment", {}), **more)[0]


def test_a_file_becomes_a_configuration(tmp_path):
    config = read(tmp_path, 'listen = ":8080"\nlife = "1h30m"\nnames = ["a"]\n[inner]\nport = 5')
    assert (config.listen, config.life, config.names, config.inner.port) == (":8080", timedelta(minutes=90), ("a",), 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lisen = ":80"', "lisen: no such key; did you mean 'listen'?"),
        ("[inner]\nprot = 1", "inner.prot: no such key; did you mean 'port'?"),
        ('[inner]\nport = "5"', "inner.port"),
        ('[inner]\nenabled = "false"', "inner.enabled"),
        ("[inner]\nport = true", "inner.port"),
        ('network = "100.64.0.1/16"', "100.64.0.1/16"),
        ('life = "soon"', "soon"),
        ('secret = "word"', "file ="),
        ('names = "a"', "a list is wanted"),
        ("listen = ", "is no TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    with pytest.raises(ConfigError, match="config.toml") as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_all_problems_are_said_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, 'lisen = ""\nlife = 1.5\nnetwork = 5\n[inner]\nport = "x"')
    assert len(caught.value.problems) == 3


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path):
    environment = {"MESHLOOM_LISTEN": ":2", "MESHLOOM_INNER_PORT": "22"}
    config = read(tmp_path, 'listen = ":1"', environment=environment, flags={"listen": ":3"})
    assert (config.listen, config.inner.port) == (":3", 22)


def test_a_secret_comes_from_a_file_and_is_not_shown(tmp_path):
    (tmp_path / "word").write_text("hush\n")
    config = read(tmp_path, f'secret = {{ file = "{tmp_path}/word" }}')
    assert config.secret.reveal() == "hush"
    assert "hush" not in repr(config)


def test_keys_are_listed_with_their_flags_and_variables():
    listed = {each.name: (each.flag, each.environment) for each in keys_of(Config)}
    assert listed["inner.port"] == ("--inner-port", "MESHLOOM_INNER_PORT")


def offer(name, rank=100, objection=None):
    return Backend(name, Inner, lambda _options, _context: None, lambda: objection, rank)


def test_auto_takes_the_first_that_can_run():
    backends = Backends("kind", [offer("b", 2), offer("a", 1, "no device"), offer("c", 3)])
    assert backends.named("auto").name == "b"


def test_no_backend_that_can_run_is_said_with_each_ones_reason():
    with pytest.raises(BackendUnavailable, match="a: no device; b: no permission"):
        Backends("kind", [offer("a", 1, "no device"), offer("b", 2, "no permission")]).named("auto")


def test_an_unknown_backend_is_said_with_those_installed():
    with pytest.raises(UnknownBackend, match="'nftabels': no such backend; installed: a"):
        Backends("kind", [offer("a")]).named("nftabels")
    with pytest.raises(DuplicateBackend):
        Backends("kind", [offer("a"), offer("a")])


def test_tables_of_backends_that_are_not_chosen_stay_but_are_checked():
    backends = Backends("kind", [offer("a"), offer("b")])
    assert choose(backends, {"backend": "a", "b": {"port": 1}}).options == Inner()
    with pytest.raises(ConfigError, match="kind.b.prot"):
        choose(backends, {"backend": "a", "b": {"prot": 1}})
    with pytest.raises(ConfigError, match="kind.d"):
        choose(backends, {"backend": "a", "d": {}})


def test_the_installed_plugins_are_found():
    plugins = Plugins()
    assert {backend.name for backend in plugins.stores()} >= {"memory", "sqlite"}
    assert {backend.name for backend in plugins.tunnels()} >= {"wireguard-go"}
    assert [backend.name for backend in plugins.buses()] == ["in-process"]


def test_a_disabled_plugin_is_not_loaded():
    names = {backend.name for backend in Plugins(disabled=["meshloom_store_sqlite"]).stores()}
    assert "sqlite" not in names


def test_a_whole_setup_is_read_from_one_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('listen = ":1"\n[store]\nbackend = "memory"\n[store.sqlite]\nfile = "x.db"')
    setup = read_setup(Config, ("store",), file, environment={})
    assert setup.chosen["store"].backend.name == "memory"
    file.write_text('[store]\nbackend = "memry"\n')
    with pytest.raises(ConfigError, match="memry"):
        read_setup(Config, ("store",), file, environment={})
