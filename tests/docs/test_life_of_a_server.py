"""How-to pages about a server's and an agent's life: a CA of one's own, another machine, the end."""

import json
import shutil

import pytest

from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.timeout(400)]

NAME = "mesh.example.net"
INSTALL = """
useradd --system --user-group --no-create-home --shell /usr/sbin/nologin meshloom
install -D --mode 644 services/server/systemd/meshloom-server.service /etc/systemd/system/meshloom-server.service
mkdir -p /etc/meshloom
printf 'public_url = "http://mesh.example.net"\\nlisten = ":80"\\n' > /etc/meshloom/server.toml
systemctl enable --now meshloom-server
"""
LOCAL = ".venv/bin/meshloom-server --config /etc/meshloom/server.toml"
USERDEL = '#!/bin/sh\nexec unshare --pid --fork --mount-proc /usr/sbin/userdel "$@"\n'
"""It looks for processes of the user, and these machines see those of one another."""
FIND = "find /etc /var/lib /usr/local -name '*meshloom*'"
"""What is below /run goes with the machine's next start."""
AGENT = ".venv/bin/meshloom service install; .venv/bin/meshloom service start"


def named(machine, server):
    """The server's name leads there, on that machine."""
    hosts = machine.shell("cat /etc/hosts").splitlines()
    kept = [line for line in hosts if NAME not in line]
    machine.host.run("sh", "-c", "cat > /etc/hosts", input="\n".join([*kept, f"{server.host.address} {NAME}\n"]))
    return machine


def installed(server):
    """The server runs under its unit, with an owner; returns a key for machines."""
    named(server, server).shell(INSTALL)
    server.wait_for(f"http://{NAME}/api/instance")
    server.shell(f"{LOCAL} owner create you@example.net <<< 'a good long one'")
    return server.shell(f"{LOCAL} setup-key create --reusable --expires 1d").splitlines()[-1]


def status(machine):
    return json.loads(machine.shell(".venv/bin/meshloom status --json || true") or "{}")


def peers(server, scheme="http"):
    token = server.shell(f"{LOCAL} token create").splitlines()[-1]
    told = server.shell(f"curl --silent --fail --header 'Authorization: Token {token}' {scheme}://{NAME}/api/peers")
    return [each["hostname"] for each in json.loads(told)]


def carry(text, machine, name):
    """A file of another machine."""
    machine.host.run("sh", "-c", f"cat > {name}", input=text)


@pytest.mark.skipif(shutil.which("update-ca-certificates") is None, reason="needs ca-certificates")
def test_a_ca_of_ones_own(internet, machine, document):
    server, laptop, desktop, stranger = (
        machine(internet.host(name)) for name in ("server", "laptop", "desktop", "stranger")
    )
    key = installed(server)
    for each in (laptop, desktop, stranger):
        named(each, server)
    with document("docs/how-to/own-ca.md") as text:
        text.run(server)
        text.run(server)
        text.write(server)
        text.run(server)
        root = server.shell("cat /etc/mesh-ca/ca.pem")
        for each in (laptop, desktop):
            carry(root, each, "/opt/meshloom/ca.pem")
        text.run(laptop)
        laptop.wait_for(f"https://{NAME}/api/instance")
        for each in (laptop, stranger):
            each.shell(AGENT)
        text.write(desktop)
        text.run(desktop)
        assert "Connected" in text.run(laptop, desktop, KEY=key)
    assert not desktop.answers(f"https://{NAME}/api/instance")
    refused = stranger.shell(f".venv/bin/meshloom up --management-url https://{NAME} --setup-key {key} 2>&1 || true")
    assert f"the certificate of {NAME} is not trusted here" in refused


def test_moving_the_server(internet, machine, document):
    old, new, laptop = (machine(internet.host(name)) for name in ("old", "new", "laptop"))
    key = installed(old)
    named(laptop, old).shell(AGENT)
    laptop.shell(f".venv/bin/meshloom up --management-url http://{NAME} --setup-key {key}")
    with document("docs/how-to/move-the-server.md") as text:
        text.run(new)
        text.run(old)
        archive = "/var/backups/meshloom/move.tar.gz"
        new.shell("mkdir -p --mode 700 /var/backups/meshloom")
        carry(old.shell(f"base64 {archive}"), new, f"{archive}.64")
        new.shell(f"base64 --decode {archive}.64 > {archive}; rm {archive}.64")
        text.run(new)
        named(laptop, new)
        named(new, new).wait_for(f"http://{NAME}/api/instance")
        wait_until(lambda: status(laptop)["management"]["connected"], 60, "the laptop is back", every=0.2)
        text.run(old)
    assert peers(new) == ["laptop"]
    assert not old.answers(f"http://{old.host.address}/api/instance")


def test_uninstalling(internet, machine, document):
    server, laptop = (machine(internet.host(name)) for name in ("server", "laptop"))
    was_there = set(laptop.shell(FIND).split())  # of the machine on which the tests run
    key = installed(server)
    named(laptop, server).shell(AGENT)
    laptop.shell(f".venv/bin/meshloom up --management-url http://{NAME} --setup-key {key}")
    assert peers(server) == ["laptop"]
    carry(USERDEL, server, "/run/bin/userdel")
    server.shell("chmod +x /run/bin/userdel")
    with document("docs/how-to/uninstall.md") as text:
        text.run(laptop)
        assert peers(server) == []
        text.run(server)
    for each in (laptop, server):
        assert set(each.shell(FIND).split()) <= was_there
        assert each.shell("ss -Hlntu") == "", "no program of ours is left"
    assert "ml0" not in laptop.shell("ip -brief link")
    assert "meshloom" not in server.shell("cut -d: -f1 /etc/passwd")
