"""A machine whose disk was cloned, and the clone, at an unmodified server: it explains nothing, and both say so."""

import pytest

from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer]

WORDS = "another machine seems to use this machine's key"


def test_two_machines_with_one_key_are_told_so_at_an_unmodified_server(netbird_server, agent, clone):
    one = agent("one", netbird_server.url, netbird_server.setup_key())
    other = clone(one)
    for each in (one, other):
        wait_until(lambda each=each: WORDS in each.log.read_text(), 90, "it is said", every=0.2)
