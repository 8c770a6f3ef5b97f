"""The transport in memory keeps the transports' contract, also where it loses messages."""

import pytest

from meshloom.testing.contracts.transport import TransportContract
from meshloom.testing.fakes.transport import MemoryGround, MemoryRelays, memory_transport

pytestmark = pytest.mark.anyio


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def network(self):
        return MemoryRelays()

    @pytest.fixture
    def backend(self, network):
        return memory_transport(network)

    @pytest.fixture
    def ground(self, network):
        return MemoryGround(network)


class TestMemoryTransportThatLoses(TestMemoryTransport):
    @pytest.fixture
    def network(self):
        return MemoryRelays(lose=5)

    test_a_relay_may_close_and_what_it_sent_before_arrives = None  # of what is sent once
    test_what_a_relay_sends_from_within_accept_arrives = None
