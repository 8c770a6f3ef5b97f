"""Every command of the README and of the documentation is run as it is written."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from meshloom.testing.deployment import is_direct
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mesh.example.net "
    "-addext subjectAltName=DNS:mesh.example.net -keyout /etc/meshloom/privkey.pem -out /etc/meshloom/fullchain.pem "
    "2>/dev/null; echo 203.0.113.10 mesh.example.net >> /etc/hosts"
)
TUTORIAL = ROOT / "docs" / "tutorial" / "two-machines.md"
SECURE = ("--cacert", "/etc/meshloom/fullchain.pem")
SECRET = '--header "X-Meshloom-Setup-Secret: $(cat /var/lib/meshloom-server/setup.secret)"'


def peer(machine, name):
    """What the machine's status says of another."""
    details = json.loads(machine.shell(".venv/bin/meshloom status --json"))["peers"]["details"] or []
    return next((each for each in details if each["fqdn"].startswith(f"{name}.")), {})


def reaches(machine, name):
    """Whether the other is reached directly; a path may be looked for only once there is traffic."""
    found = peer(machine, name)
    if not is_direct(found):
        address = found.get("netbirdIp", "").partition("/")[0]
        machine.host.run("ping", "-n", "-c", "1", "-W", "1", address or "127.0.0.1", check=False)
    return is_direct(found)


def open_ports(machine):
    """Kinds and numbers of ports that others reach; of the loopback's none."""
    told = [line.split() for line in machine.host.run("ss", "-Hlntu").splitlines()]
    return {
        (fields[0].upper(), fields[4].rpartition(":")[2])
        for fields in told
        if not fields[4].startswith(("127.", "[::1]"))
    }


def test_the_tutorial(internet, machine, document):
    with document("docs/tutorial/two-machines.md") as text:
        server = machine(internet.host("server"))
        both = []
        for name in ("laptop", "desktop"):
            router = internet.router(f"router-{name}")
            both.append(machine(router.host(name)))
            router.translate(NAT.PORT_RESTRICTED)
        laptop, desktop = both

        text.start(server, internet.folder / "server.log")
        server.wait_for("http://203.0.113.10/api/instance")
        assert open_ports(server) == set(re.findall(r"^\| (TCP|UDP) (\d+) ", TUTORIAL.read_text(), re.MULTILINE))
        key = text.run(server).splitlines()[-1]

        said = text.run(laptop, desktop, KEY=key)
        assert re.search(r"Connected as desktop\.meshloom\.internal, 100\.[0-9.]+ \(1 peer\)$", said.rstrip())
        wait_until(lambda: reaches(laptop, "desktop"), 60, "the laptop reaches the desktop directly", every=0.1)
        said = text.run(laptop)
        assert "desktop" in said
        assert re.search(r"bytes from|direct", said)
        text.run(laptop)
        wait_until(lambda: reaches(laptop, "desktop"), 60, "the laptop is back", every=0.1)


def test_running_a_server(internet, machine, document):
    with document("docs/how-to/run-a-server.md") as text:
        server = machine(internet.host("server"))
        text.run(server)
        text.write(server)
        assert "good" in text.run(server)
        server.wait_for("http://203.0.113.10/api/instance")
        assert "meshloom_signal_streams" in text.run(server)

        server.shell(CERTIFICATE)
        text.write(server)
        text.run(server)
        server.wait_for("https://mesh.example.net/api/instance", *SECURE)
        server.shell(CERTIFICATE)
        assert not server.answers("https://mesh.example.net/api/instance", *SECURE)
        text.run(server)
        server.wait_for("https://mesh.example.net/api/instance", *SECURE)

        text.write(server)
        server.shell("systemctl restart meshloom-server")
        text.write(server)  # what it does is the next test's
        server.wait_for("http://127.0.0.1:8080/api/instance")
        proxied = machine(internet.host("proxied"))
        text.write(proxied)
        proxied.host.ip("address add 10.0.0.1/24 dev eth0")
        checked = proxied.shell(".venv/bin/meshloom-server config check /etc/meshloom/server.toml")
        assert "good" in checked

        stun = machine(internet.host("stun"))
        stun.shell("useradd --system meshloom; mkdir -p /etc/meshloom; touch /etc/meshloom/server.toml")
        text.run(stun)
        wait_until(lambda: "STUN on UDP port 3478" in stun.log("meshloom-stun"), 60, "STUN alone serves")

        owner = '{"email": "you@example.net", "name": "You", "password": "a good long one"}'
        set_up = f"curl --silent --fail --json '{owner}' {SECRET} http://127.0.0.1:8080/api/setup"
        text.run(server)
        server.shell(set_up)
        assert '"setup_required":false' in server.shell("curl --silent http://127.0.0.1:8080/api/instance").replace(
            " ", ""
        )
        text.run(server)  # the backup is from before the owner
        server.wait_for("http://127.0.0.1:8080/api/instance")
        assert '"setup_required":true' in server.shell("curl --silent http://127.0.0.1:8080/api/instance").replace(
            " ", ""
        )
        assert text.run(server).splitlines()[-1].startswith("nbp_")
        text.run(server)
        server.wait_for("http://127.0.0.1:8080/api/instance")

        laptop = machine(internet.host("laptop"))
        text.run(laptop)
        units = "services/agent/systemd/meshloom.service", "/etc/systemd/system/meshloom.service"
        carried, installed = (laptop.shell(f"cat {file}") for file in units)  # the tests' Python may be in a home
        assert installed.replace("ProtectHome=read-only", "ProtectHome=yes") == carried
        wait_until(
            lambda: "daemonStatus" in laptop.shell(".venv/bin/meshloom status --json || true"), 60, "the agent answers"
        )


def test_the_readme(document, internet):
    with document("README.md") as text:
        assert text.lines() == ["make demo", "make test"]
        shown = subprocess.run([ROOT / "tools" / "demo"], capture_output=True, text=True, check=False, timeout=120)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "bytes from" in shown.stdout
        steps = subprocess.run(
            ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert "pytest" in steps  # this run is a part of it
