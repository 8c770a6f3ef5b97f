"""The QUIC transport keeps the contract of transports, on both event loops that services run on."""

import pytest

import meshloom_transport_quic
from meshloom.testing.contracts.transport import TransportContract

pytestmark = pytest.mark.anyio


class TestQuicTransport(TransportContract):
    @pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
    def anyio_backend(self, request):
        return "asyncio", {"use_uvloop": request.param}

    @pytest.fixture
    def backend(self):
        (backend,) = meshloom_transport_quic.meshloom_transports()
        return backend
