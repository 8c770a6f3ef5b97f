"""The how-to about proxies, on a machine whose router lets nothing out but requests to one."""

import json
import shutil

import pytest

from meshloom.testing.certificates import make_certificate
from meshloom.testing.deployment import ServerProgram, is_relayed
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

PROXY = """
Port 8888
Listen {address}
Timeout 600
Allow 0.0.0.0/0
ConnectPort 443
"""
ONLY_THE_PROXY = """
table inet only {{
  chain forward {{
    type filter hook forward priority -10; policy drop;
    ip daddr {proxy} tcp dport 8888 accept
    ct state established accept
  }}
}}
"""


def peer(machine, name):
    details = json.loads(machine.shell(".venv/bin/meshloom status --json"))["peers"]["details"] or []
    return next((each for each in details if each["fqdn"].startswith(f"{name}.")), {})


def assert_confined(machine):
    """The daemon runs within its unit's capabilities, filter of system calls and read-only folders."""
    status = machine.shell("cat /proc/$(cat /run/units/meshloom.service)/status")
    assert "CapBnd:\t0000000000003401\n" in status  # CHOWN, NET_BIND_SERVICE, NET_ADMIN, NET_RAW
    assert "Seccomp:\t2\n" in status
    assert "NoNewPrivs:\t1\n" in status
    mounts = machine.shell("cat /proc/$(cat /run/units/meshloom.service)/mounts")
    options = {line.split()[1]: line.split()[3].split(",") for line in mounts.splitlines()}
    assert "ro" in options["/"]
    assert "ro" in options["/etc"]
    assert "rw" in options["/var/lib/meshloom"]
    assert not [path for path in options if path.endswith("/modules")], "the backend `kernel` looks there"


@pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="needs tinyproxy: run make setup-tests")
def test_a_machine_behind_a_proxy(internet, machine, document):
    with document("docs/how-to/behind-a-proxy.md") as text:
        host, proxy = internet.host("server"), internet.host("proxy")
        config = internet.folder / "tinyproxy.conf"
        config.write_text(PROXY.format(address=proxy.address))
        names = f"{host.address} mesh.example.net\\n{proxy.address} proxy.example.net"
        machine(proxy).shell(f"printf '{names}\\n' >> /etc/hosts")
        proxy.start("tinyproxy", "-d", "-c", config, log=internet.folder / "proxy.log")
        certificate = make_certificate(internet.folder, "mesh.example.net")
        (internet.folder / "chain.pem").write_bytes(certificate.chain)
        (internet.folder / "private.pem").write_bytes(certificate.key)
        machine(host).shell(
            f"printf '{names}\\n' >> /etc/hosts; cat {internet.folder}/chain.pem >> /etc/ssl/certs/ca-certificates.crt"
        )
        server = ServerProgram(host, internet.folder / "server", port=443)
        server.url = "https://mesh.example.net"
        server.start("--tls-certificate", internet.folder / "chain.pem", "--tls-key", internet.folder / "private.pem")
        server.set_up()
        key, both = server.setup_key(), []
        for name in ("laptop", "desktop"):
            router = internet.router(f"router-{name}")
            both.append(machine(router.host(name)))
            router.translate(NAT.PORT_RESTRICTED)
            both[-1].shell(f"printf '{names}\\n' >> /etc/hosts; mkdir -p /etc/meshloom")
            both[-1].shell("echo nameserver 127.0.0.1 > /etc/resolv.conf")  # none: names are in the file
            both[-1].host.run("sh", "-c", "cat > /etc/meshloom/roots.pem", input=certificate.chain.decode())
        laptop, desktop = both
        desktop.start_shell(
            "MESHLOOM_EXTRA_ROOTS=/etc/meshloom/roots.pem .venv/bin/meshloom service run", internet.folder / "desktop"
        )
        wait_until(
            lambda: "daemonStatus" in desktop.shell(".venv/bin/meshloom status --json || true"), 60, "it answers"
        )
        desktop.shell(f".venv/bin/meshloom up --management-url {server.url} --setup-key {key}")
        internet.named("router-laptop").nft(ONLY_THE_PROXY.format(proxy=proxy.address))

        text.run(laptop)
        text.write(laptop)
        assert "Connected as laptop.meshloom.internal, " in text.run(laptop, KEY=key)
        wait_until(lambda: peer(laptop, "desktop"), 20, "the laptop knows the desktop", every=0.1)
        assert_confined(laptop)
        address = peer(laptop, "desktop")["netbirdIp"].partition("/")[0]
        assert "bytes from" in laptop.host.run("ping", "-n", "-c", "1", "-W", "15", address)
        wait_until(lambda: is_relayed(peer(laptop, "desktop")), 20, "the desktop is relayed", every=0.1)
        said = text.run(laptop)
        assert "Available by WebSocket" in said
        assert "Connection type: Relayed" in said
