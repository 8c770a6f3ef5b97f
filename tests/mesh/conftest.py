"""Whole systems in network namespaces."""

import os

import pytest

from meshloom.testing.deployment import AgentProgram, ServerProgram
from meshloom.testing.namespaces import NAT, Internet, missing_programs


@pytest.fixture(scope="session")
def may_make_namespaces():
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: run make setup")


@pytest.fixture
def internet(may_make_namespaces):
    with Internet() as made:
        yield made


@pytest.fixture
def server(internet):
    """A server of ours, its owner made."""
    program = ServerProgram(internet.host("server"), internet.folder / "server")
    program.start()
    program.set_up()
    return program


@pytest.fixture
def behind(internet):
    """Makes a machine behind a router of its own, of the NAT kind asked for (None: a public address)."""

    def make(name, nat):
        if nat is None:
            return internet.host(name)
        router = internet.router(f"router-{name}")
        host = router.host(name)
        router.translate(nat, host)
        return host

    return make


@pytest.fixture
def agent(internet, behind):
    """Makes an agent of ours that has joined the server."""

    def make(name, url, key, nat=NAT.PORT_RESTRICTED, flags=()):
        made = AgentProgram(behind(name, nat), internet.folder / name)
        made.start()
        made.up(url, key, *flags)
        return made

    return make
