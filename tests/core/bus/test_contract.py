"""The in-process bus keeps the contract of a bus."""

import pytest

from meshloom import local_bus
from meshloom.bus import BusContext
from meshloom.testing.contracts.bus import BusContract

pytestmark = pytest.mark.anyio


class TestLocalBus(BusContract):
    @pytest.fixture
    def backend(self):
        return next(iter(local_bus.meshloom_buses()))

    @pytest.fixture
    def context(self):
        return BusContext("test")
