"""Tunnels in memory keep the contract of tunnels."""

import pytest

from meshloom.testing.contracts.tunnel import TunnelContract
from meshloom.testing.fakes.tunnel_ground import MemoryGround

pytestmark = pytest.mark.anyio


class TestMemoryTunnel(TunnelContract):
    @pytest.fixture
    def ground(self):
        return MemoryGround()

    @pytest.fixture
    def backend(self, ground):
        return ground.network.backend
