"""One path of the API with all its methods: from a request to its answer."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import ceil

import attrs
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from meshloom_management.accounts import Accounts
from meshloom_management.api import json
from meshloom_management.api.authentication import NotAuthenticated, authenticate, check_permission, identify
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.endpoint import Call, Endpoint, Public
from meshloom_management.api.errors import JSON, Refused, answer_to, page_not_found, refusal
from meshloom_management.api.failures import Failures, source_of
from meshloom_management.api.origins import is_own_origin, preflight
from meshloom_management.operations.setup import FirstSetup

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@attrs.frozen
class Behind:
    """What all resources of an API stand on."""

    accounts: Accounts
    config: ApiConfig
    setup: FirstSetup
    clock: Clock
    failures: Failures


class Resource:
    """One path with all its methods."""

    def __init__(self, methods: Mapping[str, Endpoint], behind: Behind) -> None:
        self._methods, self._behind = methods, behind
        self._own_pages = any(endpoint.own_pages for endpoint in methods.values())
        self._constants: dict[str, tuple[bytes, str]] = {}
        """Answers that are always the same, with their tags, by method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; one whose client leaves before it is whole is forgotten silently."""
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        if not self._own_pages and request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return preflight(request)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            raise
        except NotAuthenticated as failed:
            response = self._failed(request, failed)
        except Exception as error:
            refused = answer_to(error)
            if refused is None:
                log.exception("%s %s failed", request.method, request.scope["route"].path)
                refused = refusal(500, "internal server error")
            response = refused
        if response.headers.get("content-type") == JSON:
            response.headers["vary"] = "Origin"
            if "origin" in request.headers and not self._own_pages:
                response.headers["access-control-allow-origin"] = "*"
        return response

    def _failed(self, request: Request, failed: NotAuthenticated) -> Response:
        """Only failures are slowed: good credentials from the same address, perhaps a whole office's, work on."""
        sources = [source_of(request.client.host if request.client else "")]
        if failed.account is not None:
            sources.append(failed.account)
        wait = ceil(self._behind.failures.note(failed.reason, *sources))
        if not wait:
            return refusal(failed.status, failed.message)
        response = refusal(429, f"too many failed authentications: try again in {wait} seconds")
        response.headers["retry-after"] = str(wait)
        return response

    async def _answer(self, request: Request) -> Response:
        if self._own_pages:
            self._check_page(request)
        endpoint = self._methods.get(request.method)
        if endpoint is None:
            if request.method == "OPTIONS":
                await authenticate(self._behind.accounts, request.headers.get("authorization"), self._behind.clock())
            return page_not_found()
        return await (self._answer_anybody if endpoint.public else self._answer_user)(request, endpoint)

    def _check_page(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and not is_own_origin(origin, self._behind.config.url, request.headers.get("host", "")):
            raise Refused(403, "only a page of the server itself may ask this: the Origin is another")

    async def _answer_anybody(self, request: Request, endpoint: Endpoint) -> Response:
        call = Public(self._behind.accounts, self._behind.config, self._behind.setup)
        if endpoint.constant:
            return await self._constant(request, endpoint, call)
        if endpoint.admit is not None:
            endpoint.admit(call, request.headers)
        if endpoint.own_pages and not _is_json(request.headers.get("content-type", "")):
            raise Refused(415, "the Content-Type must be application/json")
        body = await self._body(request, endpoint, self._behind.config.public_body_limit)
        return _json(endpoint, await endpoint.run(attrs.evolve(call, body=body)))

    async def _answer_user(self, request: Request, endpoint: Endpoint) -> Response:
        header = request.headers.get("authorization")
        now = self._behind.clock()
        caller = await authenticate(self._behind.accounts, header, now)
        if (prove := request.scope.get("extensions", {}).get("meshloom.prove")) is not None:
            prove()
        check_permission(caller.user, endpoint.permission)
        body = None
        if endpoint.request is not None:
            body = await self._body(request, endpoint, self._behind.config.body_limit)
            now = self._behind.clock()
            caller = identify(
                self._behind.accounts, header, now
            )  # it may have dripped in for as long as the client liked
            check_permission(caller.user, endpoint.permission)
        path, query = request.path_params, dict(request.query_params)
        call = Call(self._behind.accounts, self._behind.config, caller, endpoint.permission, now, path, query, body)
        return _json(endpoint, await endpoint.run(call))

    async def _constant(self, request: Request, endpoint: Endpoint, call: Public) -> Response:
        if endpoint.method not in self._constants:
            encoded = json.encode(await endpoint.run(call))
            self._constants[endpoint.method] = encoded, f'"{hashlib.sha256(encoded).hexdigest()[:32]}"'
        encoded, tag = self._constants[endpoint.method]
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": tag})
        return Response(encoded, headers={"content-type": JSON, "etag": tag})

    async def _body(self, request: Request, endpoint: Endpoint, limit: int) -> object:
        if endpoint.request is None:
            return None
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


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _json(endpoint: Endpoint, answer: object) -> Response:
    headers = {"content-type": JSON, **({"cache-control": "no-store"} if endpoint.secret else {})}
    return Response(json.encode({} if answer is None else answer), headers=headers)
