"""A host without IPv6 is in the mesh by IPv4: the address that it cannot have is left out, said and told."""

from ipaddress import ip_interface

import pytest

from meshloom_agent.report import CONNECTED
from meshloom_linux import ipv6

pytestmark = pytest.mark.anyio

BOTH = (ip_interface("100.64.0.1/16"), ip_interface("fd12::1/64"))


@pytest.fixture
def off(tmp_path, monkeypatch):
    """Switches IPv6 of this host off and on, as the files of the kernel tell it."""
    conf = tmp_path / "net" / "ipv6" / "conf" / "default"
    conf.mkdir(parents=True)
    monkeypatch.setattr(ipv6, "SETTINGS", tmp_path / "net" / "ipv6")

    def switch(*, is_off):
        (conf / "disable_ipv6").write_text("1\n" if is_off else "0\n")

    switch(is_off=True)
    return switch


@pytest.fixture
def with_ipv6(off, management):
    """Management gives everybody an IPv6 address, too."""
    plain = management.config

    def config(key):
        made = plain(key)
        made.address_v6 = bytes.fromhex("fd12") + bytes(13) + b"\1\x40"
        return made

    management.config = config


@pytest.mark.usefixtures("with_ipv6", "joined")
async def test_the_address_is_left_out_said_and_told(daemon, meshloom, management, air, until):
    await until(lambda: daemon.report.state == CONNECTED)
    assert air.tunnels["test0"].state.addresses == BOTH[:1]
    said = (await meshloom("status")).out
    assert "Warning: no IPv6 inside the mesh: IPv6 is off on this host (net.ipv6.conf.default.disable_ipv6 = 1)" in said
    assert (await meshloom("up", "--disable-ipv6")).code == 0
    assert "no IPv6" not in (await meshloom("status")).out
    assert management.metas[-1].flags.disableIPv6
    assert list(management.metas[-1].capabilities) == [1]


@pytest.mark.usefixtures("with_ipv6", "joined")
async def test_it_is_taken_when_the_host_can_have_it_again(off, daemon, air, until):
    await until(lambda: daemon.report.state == CONNECTED)
    off(is_off=False)
    await daemon._engine._refresh_addresses()
    await until(lambda: air.tunnels["test0"].state.addresses == BOTH)
    assert not daemon.report.warnings
    off(is_off=True)
    await daemon._engine._refresh_addresses()
    await until(lambda: air.tunnels["test0"].state.addresses == BOTH[:1])


def test_a_kernel_without_ipv6_is_told_apart_from_one_where_it_is_off(tmp_path, monkeypatch):
    monkeypatch.setattr(ipv6, "SETTINGS", tmp_path / "none")
    assert ipv6.ipv6_objection("ml0") == "this kernel has no IPv6"
    monkeypatch.setattr(ipv6, "SETTINGS", tmp_path)
    for name, value in (("ml0", "0"), ("default", "1")):
        (tmp_path / "conf" / name).mkdir(parents=True)
        (tmp_path / "conf" / name / "disable_ipv6").write_text(value)
    assert ipv6.ipv6_objection("ml0") == ""
    assert "conf.default.disable_ipv6" in ipv6.ipv6_objection("ml1")
