"""Rules of what users meet: hooks, keys, programs, units, the matrix; none of it is listed by hand here."""

import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from meshloom import errors, hookspecs
from meshloom.config import keys_of, load
from meshloom.plugins import Plugins
from meshloom.testing import plugin
from meshloom_agent.config import KINDS as AGENT_KINDS
from meshloom_front.config import ServerConfig

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
HOOKS = [name for name, hook in inspect.getmembers(hookspecs, inspect.isfunction) if hasattr(hook, "meshloom_spec")]
PROJECTS = {
    file.parent: tomllib.loads(file.read_text())["project"]
    for pattern in ("core", "libraries/*", "plugins/*/*", "services/*")
    for file in sorted(ROOT.glob(f"{pattern}/pyproject.toml"))
}
SCRIPTS = {name: place for each in PROJECTS.values() for name, place in each.get("scripts", {}).items()}
UNITS = sorted(ROOT.glob("services/*/systemd/*.service"))
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("MESHLOOM_", "NB_"))}


def run(*argv, **environment):
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=CLEAN | environment)


def test_each_hook_has_its_kind_contract_suite_and_option():
    kinds = Plugins(entry_points=False).kinds()
    assert len(HOOKS) == len(kinds)
    assert sorted(plugin.KINDS) == sorted(kinds)
    for kind in kinds:
        assert any(name.startswith(f"meshloom_{kind}") or name == f"meshloom_{kind}es" for name in HOOKS), kind
        contract = importlib.import_module(f"meshloom.testing.contracts.{kind}")
        suites = [name for name in vars(contract) if name.endswith("Contract")]
        assert suites, f"{kind} has no suite"
        assert (ROOT / "core/src/meshloom/testing/contracts" / f"test_{kind}.py").exists(), kind


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_what_it_offers_and_by_which_contract(name):
    assert re.match(
        r"Offer \w+ backends: .* \(contract: :class:`meshloom\.\w+\.\w+`\)\.$", getattr(hookspecs, name).__doc__
    )


def commands():
    for name, place in SCRIPTS.items():
        module, _, attribute = place.partition(":")
        yield name, getattr(importlib.import_module(module), attribute)


def walk(command, path):
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from walk(each, f"{path} {name}")


def test_every_command_and_option_has_help():
    for name, command in commands():
        for path, each in walk(command, name):
            assert (each.help or "").strip(), path
            for option in each.params:
                assert not isinstance(option, click.Option) or option.help, f"{path} {option.name}"


def test_keys_have_help_a_default_and_a_variable_of_their_own():
    seen = {}
    configs = [getattr(command, "config", None) for _, command in commands()]
    classes = {each: "" for each in configs if isinstance(each, type)}
    for kind, backends in Plugins().kinds().items():
        classes |= {backend.options: f"{kind}.{backend.name}." for backend in backends}
    assert len(classes) > 3
    for config, prefix in classes.items():
        for key in keys_of(config, prefix):
            assert key.help.endswith("."), f"{key.name}: {key.help!r}"
            assert seen.setdefault(key.environment, key.name) == key.name, key.environment


def test_a_default_that_help_shows_is_taken_by_its_own_option():
    for name, command in commands():
        config = getattr(command, "config", None)
        for key in keys_of(config) if isinstance(config, type) else ():
            if key.default_text:
                assert load(config, environment={}, flags={key.name: key.default_text})[0] == config(), key.name
        for path, each in walk(command, name):
            for option in each.params:
                shown = re.search(r"\bdefault: ([^]\s;]+)[];]", getattr(option, "help", "") or "")
                if shown and shown[1] not in (*option.opts, *option.secondary_opts):
                    assert option.type.convert(shown[1], option, None), f"{path}: {shown[0]}"


@pytest.mark.parametrize("program", [each for each in SCRIPTS if each != "meshloom"])
def test_the_help_of_a_server_shows_each_default_as_it_is_written(program):
    said = " ".join(run(BIN / program, "--help").stdout.split())
    assert "default: none" not in said
    for key in keys_of(ServerConfig):
        if key.default_text and not key.is_secret:
            assert f"{key.environment}; default: {key.default_text}]" in said


def test_every_value_has_a_word_that_says_what_it_is():
    for name, command in commands():
        for path, each in walk(command, name):
            context = click.Context(each, info_name=path)
            for option in each.params:
                if isinstance(option, click.Option) and not option.is_flag:
                    word = option.make_metavar(context)
                    assert word not in ("TEXT", "STRING", "VALUE", "PATH"), f"{path} {option.opts}: {word}"


def test_every_command_shows_an_example_that_it_would_take():
    for name, command in commands():
        by_path = dict(walk(command, name))
        for path, each in by_path.items():
            _, _, rest = (each.epilog or "").partition("Example:\n")
            assert rest, f"{path} has no example"
            words = shlex.split(rest.strip().splitlines()[0].partition(" > ")[0])
            reached = name
            assert words[0] == name, path
            rest = words[1:]
            while rest and f"{reached} {rest[0]}" in by_path:
                reached += f" {rest.pop(0)}"
            target = by_path[reached]
            assert target is each or reached.startswith(path), f"{path}: {words}"
            target.make_context(reached, rest, resilient_parsing=True)
            known = {opt for option in target.params for opt in (*option.opts, *option.secondary_opts)}
            assert {word for word in rest if word.startswith("-")} <= known, f"{path}: {words}"


@pytest.mark.parametrize("program", SCRIPTS)
def test_every_program_has_the_short_help_and_says_its_version(program):
    assert run(BIN / program, "-h").stdout == run(BIN / program, "--help").stdout
    assert run(BIN / program, "plugins", "-h").returncode == 0
    assert run(BIN / program, "--version").stdout == run(BIN / program, "version").stdout


@pytest.mark.parametrize("program", SCRIPTS)
def test_a_disabled_plugin_is_left_out_by_every_program(program):
    known = run(BIN / program, "plugins", MESHLOOM_PLUGINS_DISABLED="meshloom_transport_quic")
    assert (known.returncode, "websocket" in known.stdout, " quic " in known.stdout) == (0, True, False)
    wrong = run(BIN / program, "plugins", MESHLOOM_PLUGINS_DISABLED="meshloom_nonsense")
    assert (wrong.returncode, "meshloom_nonsense: no such plugin" in wrong.stderr) == (
        1 if program == "meshloom" else 2,
        True,
    )
    assert len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize("program", SCRIPTS)
def test_a_backend_that_a_program_does_not_use_is_listed_as_such(program):
    kinds = getattr(dict(commands())[program], "kinds", AGENT_KINDS)
    _, *lines = run(BIN / program, "plugins").stdout.splitlines()
    assert lines
    for line in lines:
        kind, *rest = line.split()
        assert (kind in kinds) == (f"not used by {program}" not in line), line
        assert kind in kinds or "chosen" not in rest, line


def test_the_variable_that_disables_plugins_is_read_at_the_start(tmp_path):
    (tmp_path / "good.toml").write_text('log_level = "debug"\n')
    for program in SCRIPTS:
        check = (BIN / program, "config", "check", tmp_path / "good.toml")
        good = run(*check, MESHLOOM_PLUGINS_DISABLED="meshloom_transport_quic")
        assert (good.returncode, good.stderr) == (0, ""), program
        bad = run(*check, MESHLOOM_PLUGINS_DISABLED="meshloom_nonsense")
        assert (bad.returncode, "meshloom_nonsense" in bad.stderr) == (2, True), program


@pytest.fixture
def broken_plugin(tmp_path):
    """A folder of modules with an installed plugin that cannot be imported."""
    about = tmp_path / "acme_broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[meshloom]\nacme_broken = acme_broken\n")
    (tmp_path / "acme_broken.py").write_text("import a_library_that_is_not_there\n")
    return tmp_path


@pytest.mark.parametrize("program", SCRIPTS)
def test_a_broken_plugin_is_one_line_that_names_it(program, broken_plugin):
    file = broken_plugin / "good.toml"
    file.write_text('log_level = "debug"\n')
    start = ("service", "run") if program == "meshloom" else ("--data-dir", broken_plugin / "data")
    for arguments in (("plugins",), ("config", "check", file), start):
        done = run(BIN / program, *arguments, PYTHONPATH=str(broken_plugin))
        assert done.returncode != 0
        (line,) = done.stderr.splitlines()
        assert "plugin 'acme_broken' cannot be loaded: No module named" in line
        assert "plugins.disabled" in line
    without = {"PYTHONPATH": str(broken_plugin), "MESHLOOM_PLUGINS_DISABLED": "acme_broken"}
    assert run(BIN / program, "plugins", **without).returncode == 0


@pytest.mark.parametrize("program", SCRIPTS)
def test_every_program_helps_itself(program, tmp_path):
    assert "Exit codes:" in run(BIN / program, "--help").stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run(BIN / program, "version").stdout)
    assert "BACKEND" in run(BIN / program, "plugins").stdout
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('log_level = "debug"\n')
    bad.write_text('log_levle = "debug"\n')
    assert run(BIN / program, "config", "check", good).returncode == 0
    wrong = run(BIN / program, "config", "check", bad)
    assert (wrong.returncode, "log_levle" in wrong.stderr, "log_level" in wrong.stderr) == (2, True, True)
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    assert variable in run(BIN / program, **{variable: "zsh_source"}).stdout
    offered = run(BIN / program, **{variable: "bash_complete", "COMP_WORDS": f"{program} pl", "COMP_CWORD": "1"}).stdout
    assert offered == "plain,plugins\n"


@pytest.mark.parametrize("program", SCRIPTS)
def test_a_variable_that_nothing_reads_is_an_error_with_the_nearest(program, tmp_path):
    (tmp_path / "good.toml").write_text('log_level = "debug"\n')
    check = (BIN / program, "config", "check", tmp_path / "good.toml")
    wrong = run(*check, MESHLOOM_TRANSPORT_BACKEND="quic", MESHLOOM_LOG_LEVLE="debug")
    assert wrong.returncode == 2
    assert "MESHLOOM_TRANSPORT_BACKEND: nothing reads this variable; did you mean MESHLOOM_TRANSPORT_BACKENDS?" in (
        wrong.stderr
    )
    assert "did you mean MESHLOOM_LOG_LEVEL?" in wrong.stderr
    others = run(*check, MESHLOOM_PUBLIC_URL="https://mesh.example.net", MESHLOOM_INTERFACE_NAME="ml1")
    assert (others.returncode, others.stderr) == (0, ""), "servers and agents may share a file of variables"


def test_every_service_has_a_unit_that_runs_its_program():
    started = {}
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=/opt/meshloom/\.venv/bin/(\S+)", unit.read_text(), re.MULTILINE)
        started[line] = unit
        assert unit.relative_to(ROOT).parts[1] == (line.partition("-")[2] or "agent")
    assert set(SCRIPTS) <= set(started)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: run make setup-tests")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit_and_finds_it_hardened(unit, tmp_path):
    text = unit.read_text().replace("/opt/meshloom/.venv/bin", str(BIN))
    program = re.search(r"ExecStart=(\S+)", text)[1]
    if not Path(program).exists():
        pytest.skip(f"{program} is not installed")
    (tmp_path / unit.name).write_text(re.sub(r"^User=.*\n", "", text, flags=re.MULTILINE))
    verified = run("systemd-analyze", "verify", tmp_path / unit.name)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    most = 30 if unit.name == "meshloom.service" else 22  # the agent makes devices and sockets as root
    judged = run("systemd-analyze", "security", "--offline=true", f"--threshold={most}", tmp_path / unit.name)
    assert judged.returncode == 0, judged.stdout.splitlines()[-1]


def test_the_matrix_has_every_distribution():
    text = (ROOT / "tox.ini").read_text()
    named = set(re.findall(r"NAME = (\S+)", text))
    wanted = {
        name
        for each in PROJECTS.values()
        for name in (each["name"], *(f"{each['name']}[{extra}]" for extra in each.get("optional-dependencies", ())))
    }
    assert named == wanted
    factors = set(re.findall(r"^    (\w+): NAME", text, re.MULTILINE))
    listed = {each for group in re.findall(r"^    dist-\{(.*)\}$", text, re.MULTILINE) for each in group.split(",")}
    assert factors == listed


def test_generated_code_runs_on_the_oldest_libraries_that_are_allowed():
    needs = {
        need.split(">=")[0]: tuple(map(int, need.split(">=")[1].split(",")[0].split(".")))
        for each in PROJECTS.values()
        for need in [*each["dependencies"], *each.get("optional-dependencies", {}).get("rpc", ())]
        if need.startswith(("grpcio>=", "protobuf>="))
    }
    for file in (ROOT / "core/src/meshloom/rpc").glob("*_pb2*.py"):
        text = file.read_text()
        for made in re.findall(r"GRPC_GENERATED_VERSION = '([\d.]+)'", text):
            assert needs["grpcio"] >= tuple(map(int, made.split("."))), file
        for made in re.findall(r"# Protobuf Python Version: ([\d.]+)", text):
            assert needs["protobuf"] >= tuple(map(int, made.split(".")))[:2], file


def test_errors_have_one_root():
    strays = [
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, Exception) and not issubclass(each, errors.MeshError)
    ]
    assert strays == []
