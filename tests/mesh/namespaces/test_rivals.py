"""A machine whose disk was cloned, and the clone: both say so, the server says so, and they calm down."""

import pytest

from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]

WORDS = "another machine seems to use this machine's key"


def test_two_machines_with_one_key_are_told_so_and_calm_down(server, agent, clone):
    one = agent("one", server.url, server.setup_key())
    other = clone(one)
    for each in (one, other):
        wait_until(lambda each=each: WORDS in each.log.read_text(), 60, "it is said", every=0.2)
    wait_until(lambda: "two machines seem to use the key of one" in server.log.read_text(), 60, "it is said", every=0.2)
    assert f"Warning: {WORDS}" in one.run("status") + other.run("status", check=False)
    lines = len(one.log.read_text().splitlines())
    assert lines < 200, "it was 450 a minute"
