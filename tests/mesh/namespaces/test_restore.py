"""A server that was restored from an older backup leads the agents that were connected all the while."""

import shutil

import pytest

from meshloom.testing.deployment import BIN
from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]

WITHIN = 10.0
CHANGES = 12
"""More than a restored server makes until the peer is deleted: its maps count from the backup's number on."""


def restore(server, file):
    """As the page says."""
    server.program.terminate()
    server.program.wait(30)
    for each in server.data.glob("meshloom.db*"):
        each.unlink()
    shutil.copy(file, server.data / "meshloom.db")
    server.start()


def keys(agent):
    return set(agent.host.run("wg", "show", "ml0", "peers").split())


def test_a_peer_that_is_deleted_after_a_restore_is_gone_within_seconds(server, agent, internet):
    key = server.setup_key()
    one, two, _ = (agent(name, server.url, key) for name in ("one", "two", "three"))
    wait_until(lambda: len(one.status()["peers"]["details"]) == 2, 30, "they know each other", every=0.1)
    backup = internet.folder / "backup.db"
    server.host.run(BIN / "meshloom-server", "--data-dir", server.data, "backup", backup)
    _, peers = server.api("GET", "/api/peers")
    (other,) = (each for each in peers if each["hostname"] == "two")
    for number in range(CHANGES):
        body = {"name": f"other-{number}", "ssh_enabled": False, "login_expiration_enabled": False}
        assert server.api("PUT", f"/api/peers/{other['id']}", body)[0] == 200
    names = lambda: [each["fqdn"] for each in one.status()["peers"]["details"]]  # noqa: E731
    wait_until(lambda: f"other-{CHANGES - 1}" in str(names()), 30, "one knows the newest name", every=0.1)
    restore(server, backup)
    wait_until(lambda: one.status()["management"]["connected"], 60, "one is back", every=0.1)
    _, peers = server.api("GET", "/api/peers")
    (gone,) = (each["id"] for each in peers if each["hostname"] == "three")
    assert server.api("DELETE", f"/api/peers/{gone}")[0] == 200
    for each in (one, two):
        wait_until(lambda each=each: len(each.status()["peers"]["details"]) == 1, WITHIN, "three is gone", every=0.1)
    assert "network map" not in one.run("status")
