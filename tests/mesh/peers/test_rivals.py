"""A machine whose disk was cloned, and the clone, at an unmodified server: it explains nothing, and both say so."""

import shutil

import pytest

from meshloom.testing.deployment import AgentProgram
from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer]

WORDS = "another machine seems to use this machine's key"


def test_two_machines_with_one_key_are_told_so_at_an_unmodified_server(netbird_server, agent, internet):
    one = agent("one", netbird_server.url, netbird_server.setup_key())
    folder = internet.folder / "clone"
    shutil.copytree(one.state, folder)
    clone = AgentProgram(internet.host("clone"), folder)
    clone.start()
    for each in (one, clone):
        wait_until(lambda each=each: WORDS in each.log.read_text(), 90, "it is said", every=0.2)
