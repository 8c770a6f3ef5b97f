"""The kernel's device keeps the contract of tunnels, where this kernel has one."""

import pytest

from meshloom.testing.contracts.tunnel import TunnelContract
from meshloom_tunnel_kernel import meshloom_tunnels

pytestmark = [pytest.mark.anyio, pytest.mark.privileged]

(KERNEL,) = meshloom_tunnels()
if objection := KERNEL.probe():
    pytest.skip(f"{objection}; make kernel runs it on one that has", allow_module_level=True)


class TestKernel(TunnelContract):
    @pytest.fixture
    def backend(self):
        return KERNEL
