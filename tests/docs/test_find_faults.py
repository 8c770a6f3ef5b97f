"""The how-to about faults: its commands on two machines behind two routers, its keys and metrics in the code."""

import re
from pathlib import Path

import pytest

from meshloom.config import keys_of
from meshloom.config.load import read_toml
from meshloom.testing.deployment import ServerProgram
from meshloom.testing.namespaces import NAT, wait_until
from meshloom_agent.config import AgentConfig
from meshloom_agent.diagnostics import metrics
from meshloom_agent.report import Report
from meshloom_front.config import ServerConfig

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "find-faults.md").read_text()
SECOND = "203.0.113.200"
WITH_A_SERVER = (
    "meshloom service install && meshloom service start && "
    "meshloom up --management-url http://203.0.113.10 --setup-key $KEY"
)


@pytest.mark.privileged
@pytest.mark.mesh
@pytest.mark.slow
def test_the_commands_show_what_is_there(internet, machine, document):
    with document("docs/how-to/find-faults.md") as text:
        host = internet.host("server")
        host.ip(f"address add {SECOND}/24 dev eth0")
        server = ServerProgram(host, internet.folder / "server")
        server.start("--stun-alternate-address", SECOND)
        server.set_up()
        key, both = server.setup_key(), []
        for name in ("laptop", "desktop"):
            router = internet.router(f"router-{name}")
            both.append(machine(router.host(name)))
            router.translate(NAT.PORT_RESTRICTED)
            both[-1].shell(WITH_A_SERVER.replace("meshloom ", ".venv/bin/meshloom "), KEY=key)
        laptop, _ = both
        ping = ".venv/bin/meshloom ping desktop --until-direct || true"  # others may look for a path only at traffic
        wait_until(lambda: " ms, direct, " in laptop.shell(ping), 30, "the laptop reaches the desktop directly")

        assert "desktop" in text.run(laptop)
        text.run(laptop)
        said = text.run(laptop)
        assert "4 sent, 4 answered" in said
        assert re.search(r"ms, direct, 203\.0\.113\.\d+:\d+\n1 sent|ms, direct, 203\.0\.113\.\d+:\d+\n\d+ sent", said)
        said = text.run(laptop)
        assert "NAT mapping: endpoint-independent\nNAT filtering: address-and-port-dependent" in said
        text.write(machine(host))
        said = text.run(laptop)
        for name in (
            "daemon",
            "connection",
            "tunnel",
            "state",
            "clock",
            "servers",
            "udp",
            "firewall",
            "mtu",
            "overlap",
        ):
            assert f"[ok] {name}: " in said
        text.run(laptop)
        assert laptop.host.run("sh", "-c", "stat -c %a /opt/meshloom/*.tar.gz") == "600\n600\n"
        assert "Log level set to debug" in text.run(laptop)
        text.write(laptop)
        assert "good" in laptop.shell(".venv/bin/meshloom config check /etc/meshloom/agent.toml")


def test_the_keys_of_the_configuration_are_there(tmp_path):
    known = {key.name for each in (AgentConfig, ServerConfig) for key in keys_of(each)}
    for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / "file.toml").write_text(block)
        assert read_toml(tmp_path / "file.toml").keys() <= known


def test_the_metrics_are_there():
    told = metrics.rendered(metrics.Snapshot(Report(), ())).decode()
    for name in re.findall(r"`(meshloom_agent_\w+)`", TEXT):
        assert f"# TYPE {name} " in told
