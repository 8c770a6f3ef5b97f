"""Runs the tunnel contract: ``pytest --pyargs meshloom.testing.contracts --meshloom-tunnel NAME``, as root."""

import pytest

from meshloom.testing.contracts.selected import Selected
from meshloom.testing.contracts.tunnel import TunnelContract

pytestmark = [pytest.mark.anyio, pytest.mark.privileged]


class TestTunnel(Selected, TunnelContract):
    """The installed tunnel that the command line names."""

    kind = "tunnel"
