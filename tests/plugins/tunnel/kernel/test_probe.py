"""Whether the kernel has WireGuard is told from files alone."""

import os

import pytest

from meshloom.backend import Backends
from meshloom.plugins import Plugins
from meshloom_tunnel_kernel import _can_be_loaded, meshloom_tunnels


@pytest.mark.parametrize(
    ("listing", "line"),
    [
        ("modules.dep", "kernel/drivers/net/wireguard/wireguard.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\n"),
        ("modules.builtin", "kernel/drivers/net/wireguard/wireguard.ko\n"),
    ],
)
def test_a_module_that_is_installed_can_be_loaded(tmp_path, listing, line):
    assert not _can_be_loaded(str(tmp_path))
    (tmp_path / listing).write_text("kernel/net/other.ko: kernel/drivers/net/wireguard/wireguard.ko\n")
    assert not _can_be_loaded(str(tmp_path)), "another module that needs it does not make it be there"
    (tmp_path / listing).write_text(line)
    assert _can_be_loaded(str(tmp_path))


def test_an_objection_names_the_kernel_and_what_is_missing():
    (backend,) = meshloom_tunnels()
    objection = backend.probe()
    if objection is not None and os.geteuid() == 0:
        assert os.uname().release in objection
        assert "wireguard" in objection


def test_it_is_preferred_to_every_program():
    tunnels = Plugins().tunnels()
    assert isinstance(tunnels, Backends)
    assert next(iter(tunnels)).name == "kernel"
