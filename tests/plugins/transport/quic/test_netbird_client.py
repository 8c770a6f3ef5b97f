"""Unmodified NetBird clients that reach each other through our relay by QUIC alone."""

import json
import os
from pathlib import Path

import pytest

from meshloom.testing.deployment import BIN, ServerProgram
from meshloom.testing.namespaces import Internet, missing_programs, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.peer, pytest.mark.mesh, pytest.mark.slow]

CLIENT = os.environ.get("MESHLOOM_NETBIRD_CLIENT", "")
SECRET = "a secret of this test"


class Client:
    """NetBird's daemon on a host, which uses relays only, and those by QUIC only."""

    def __init__(self, host, state, roots):
        self.host, self.log = host, state / "client.log"
        state.mkdir()
        self.socket = f"unix://{state}/sock"
        files = ("--config", state / "config.json", "--log-file", self.log, "--log-level", "debug")
        host.start(
            *(CLIENT, "service", "run", *files, "--daemon-addr", self.socket),
            NB_STATE_DIR=str(state),
            NB_RELAY_TRANSPORT="quic",
            NB_FORCE_RELAY="true",
            SSL_CERT_FILE=str(roots),
        )
        wait_until((state / "sock").exists, 20, "the client's daemon listens")

    def run(self, *argv):
        return self.host.run(CLIENT, *argv, "--daemon-addr", self.socket)

    def status(self):
        return json.loads(self.run("status", "--json"))

    def peers(self):
        return self.status()["peers"]["details"] or []


@pytest.fixture
def internet():
    if not CLIENT:
        pytest.skip("MESHLOOM_NETBIRD_CLIENT names no program")
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: run make setup-tests")
    with Internet() as made:
        yield made


@pytest.fixture
def relay(internet, authority):
    """``meshloom-relay`` with QUIC alone, and a file with the root of its certificate."""
    host, folder = internet.host("relay"), internet.folder
    chain, key = authority.issue(str(host.address))
    files = {"root.pem": authority.root, "chain.pem": chain, "key.pem": key}
    for name, content in files.items():
        Path(folder, name).write_bytes(content)
    url = f"rels://{host.address}:443"
    host.start(
        BIN / "meshloom-relay",
        *("--listen", f"{host.address}:443", "--relay-public-url", url, "--data-dir", folder / "relay"),
        *("--tls-certificate", folder / "chain.pem", "--tls-key", folder / "key.pem", "--metrics", ""),
        log=folder / "relay.log",
        MESHLOOM_RELAY_SECRET=SECRET,
        MESHLOOM_TRANSPORT_BACKENDS="quic",
    )
    wait_until(lambda: "relaying by quic" in Path(folder, "relay.log").read_text(), 20, "the relay serves")
    return url


def test_two_clients_ping_with_full_packets_and_the_relay_carries_them_by_quic(internet, relay):
    internet.environment["MESHLOOM_RELAY_SECRET"] = SECRET
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start("--relay-urls", relay, "--relay-health-interval", "0s")
    server.set_up()
    key = server.setup_key()
    clients = [Client(internet.host(name), internet.folder / name, internet.folder / "root.pem") for name in ("a", "b")]
    for client in clients:
        client.run("up", "--management-url", server.url, "--setup-key", key, "--hostname", client.host.name)
    one, other = clients
    wait_until(lambda: all(relay["available"] for relay in one.status()["relays"]["details"]), 30, f"relays: {one.log}")
    address = other.status()["netbirdIp"].partition("/")[0]
    wait_until(lambda: ping(one.host, address), 60, f"a ping; see {one.log}")
    assert ping(one.host, address, "-M", "do", "-s", str(1280 - 28), "-c", "20", "-i", "0.05")
    (peer,) = one.peers()
    assert (peer["connectionType"], peer["relayAddress"]) == ("Relayed", relay)
    assert "successfully dialed via: quic" in one.log.read_text()
    assert Path(internet.folder, "relay.log").read_text().count("peer connected by quic") >= 2


def ping(host, address, *more):
    out = host.run("ping", "-n", "-c", "1", "-W", "2", *more, address, check=False)
    return "bytes from" in out and " 100% packet loss" not in out
