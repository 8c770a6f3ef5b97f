"""The wireguard-go program keeps the contract of tunnels."""

import pytest

from meshloom.testing.contracts.tunnel import TunnelContract
from meshloom_tunnel_wireguard_go import meshloom_tunnels

pytestmark = [pytest.mark.anyio, pytest.mark.privileged]


class TestWireguardGo(TunnelContract):
    @pytest.fixture
    def backend(self):
        (found,) = meshloom_tunnels()
        if objection := found.probe():
            pytest.skip(objection)
        return found
