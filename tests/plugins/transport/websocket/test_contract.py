"""The websocket transport keeps the transports' contract, on asyncio's event loop and on uvloop."""

import pytest
import uvloop

import meshloom_transport_websocket
from meshloom.testing.contracts.websocket import WebSocketContract

pytestmark = pytest.mark.anyio


class TestContract(WebSocketContract):
    @pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
    def anyio_backend(self, request):
        return "asyncio", {"loop_factory": uvloop.new_event_loop if request.param else None}

    @pytest.fixture
    def backend(self):
        (offered,) = meshloom_transport_websocket.meshloom_transports()
        return offered
