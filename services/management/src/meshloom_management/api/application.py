"""The HTTP API as an ASGI application."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import attrs
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from meshloom_management.accounts import Accounts
from meshloom_management.api import json
from meshloom_management.api.authentication import authenticate
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.endpoint import Call, Endpoint, Public
from meshloom_management.api.endpoints import ENDPOINTS
from meshloom_management.api.errors import JSON, Refused, answer_to, page_not_found, refusal
from meshloom_management.api.permissions import denial
from meshloom_management.operations.setup import FirstSetup

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def application(accounts: Accounts, config: ApiConfig, clock: Clock = utc_now) -> ASGIApp:
    """The API of all these accounts; everything it does not offer is answered 404."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    setup = FirstSetup(accounts, config.hash_memory)
    routes = [Route(path, Resource(methods, accounts, config, setup, clock)) for path, methods in paths.items()]
    app = Starlette(routes=routes, exception_handlers={404: _not_found})
    app.router.redirect_slashes = False
    return app


async def _not_found(_request: Request, _error: Exception) -> Response:
    return page_not_found()


class Resource:
    """One path with all its methods."""

    def __init__(
        self,
        methods: Mapping[str, Endpoint],
        accounts: Accounts,
        config: ApiConfig,
        setup: FirstSetup,
        clock: Clock,
    ) -> None:
        self._methods = methods
        self._accounts = accounts
        self._config = config
        self._clock = clock
        self._setup = setup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return _preflight(request)
        try:
            response = await self._answer(request)
        except Exception as error:
            refused = answer_to(error)
            if refused is None:
                log.exception("%s %s failed", request.method, request.scope["route"].path)
                refused = refusal(500, "internal server error")
            response = refused
        if response.headers["content-type"] == JSON:
            response.headers["vary"] = "Origin"
            if "origin" in request.headers:
                response.headers["access-control-allow-origin"] = "*"
        return response

    async def _answer(self, request: Request) -> Response:
        endpoint = self._methods.get(request.method)
        if endpoint is None:
            if request.method == "OPTIONS":
                await authenticate(self._accounts, request.headers.get("authorization"), self._clock())
            return page_not_found()
        if endpoint.public:
            body = await self._body(request, endpoint)
            return _json(endpoint, await endpoint.run(Public(self._accounts, self._config, self._setup, body)))
        now = self._clock()
        state, user = await authenticate(self._accounts, request.headers.get("authorization"), now)
        call = Call(self._accounts, self._config, state, user, now, request.path_params, dict(request.query_params))
        if endpoint.permission is not None and not call.may(*endpoint.permission):
            raise Refused(403, denial(user))
        if endpoint.request is not None:
            call = attrs.evolve(call, body=await self._body(request, endpoint))
        return _json(endpoint, await endpoint.run(call))

    async def _body(self, request: Request, endpoint: Endpoint) -> object:
        if endpoint.request is None:
            return None
        limit = self._config.body_limit
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise Refused(413, f"the request is larger than {limit} bytes")
        read: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise Refused(413, f"the request is larger than {limit} bytes")
            read.append(chunk)
        try:
            return json.parse(b"".join(read), endpoint.request)
        except json.UnreadableRequest:
            raise Refused(400, endpoint.unreadable) from None


def _json(endpoint: Endpoint, answer: object) -> Response:
    headers = {"content-type": JSON, **({"cache-control": "no-store"} if endpoint.secret else {})}
    return Response(json.encode({} if answer is None else answer), headers=headers)


def _preflight(request: Request) -> Response:
    asked = request.headers.get("access-control-request-headers", "")
    names = ["-".join(part.capitalize() for part in name.strip().split("-")) for name in asked.split(",")]
    headers = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": request.headers["access-control-request-method"].upper(),
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    if any(names):
        headers["access-control-allow-headers"] = ", ".join(names)
    return Response(status_code=204, headers=headers)
