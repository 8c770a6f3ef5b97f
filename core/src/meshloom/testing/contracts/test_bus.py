"""Runs the bus contract: ``pytest --pyargs meshloom.testing.contracts --meshloom-bus NAME``."""

import pytest

from meshloom.testing.contracts.bus import BusContract
from meshloom.testing.contracts.selected import Selected

pytestmark = pytest.mark.anyio


class TestBus(Selected, BusContract):
    """The installed bus that the command line names."""

    kind = "bus"
