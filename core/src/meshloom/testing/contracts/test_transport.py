"""Runs the transport contract: ``pytest --pyargs meshloom.testing.contracts --meshloom-transport NAME``."""

import pytest

from meshloom.testing.contracts.selected import Selected
from meshloom.testing.contracts.transport import TransportContract

pytestmark = pytest.mark.anyio


class TestTransport(Selected, TransportContract):
    """The installed transport that the command line names."""

    kind = "transport"
