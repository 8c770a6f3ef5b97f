"""Metrics and health on an address of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as render
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from meshloom_front.http import http_protocol


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures; no global one, so that tests can have many."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


@asynccontextmanager
async def open_monitoring(
    listening: socket.socket, registry: CollectorRegistry, is_ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve ``/metrics``, ``/health/live`` and ``/health/ready`` (``/health`` is the latter) until leaving."""

    async def metrics(_request: Request) -> Response:
        return Response(render(registry), media_type=CONTENT_TYPE_LATEST)

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ok\n") if is_ready() else PlainTextResponse("not ready\n", status_code=503)

    paths = {"/metrics": metrics, "/health/live": live, "/health/ready": ready, "/health": ready}
    app = Starlette(routes=[Route(path, handler) for path, handler in paths.items()])
    server = await asyncio.get_running_loop().create_server(http_protocol(app), sock=listening)
    try:
        yield
    finally:
        server.close()
