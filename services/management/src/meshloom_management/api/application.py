"""The HTTP API as an ASGI application."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from meshloom_management.accounts import Accounts
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.endpoint import Endpoint
from meshloom_management.api.endpoints import ENDPOINTS
from meshloom_management.api.errors import page_not_found
from meshloom_management.api.failures import Failures
from meshloom_management.api.resource import Behind, Clock, Resource, utc_now
from meshloom_management.operations.setup import FirstSetup


def application(
    accounts: Accounts,
    config: ApiConfig,
    clock: Clock = utc_now,
    failures: Failures | None = None,
    setup: FirstSetup | None = None,
) -> ASGIApp:
    """Returns the API of all these accounts; everything it does not offer is answered 404.

    Failed authentications are counted in *failures*, and *setup* makes the first account; by default each is its own.
    """
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    setup = setup or FirstSetup(accounts, config.setup_secret, config.hash_memory)
    behind = Behind(accounts, config, setup, clock, failures or Failures())
    routes = [Route(path, Resource(methods, behind)) for path, methods in paths.items()]
    app = Starlette(routes=routes, exception_handlers={404: _not_found})
    app.router.redirect_slashes = False
    return app


async def _not_found(_request: Request, _error: Exception) -> Response:
    return page_not_found()
