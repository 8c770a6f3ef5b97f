"""The table of all endpoints: what the router and the description are made of."""

from typing import Any

from meshloom_management.api.endpoint import Endpoint, Public
from meshloom_management.api.openapi import document
from meshloom_management.api.resources import (
    accounts,
    groups,
    instance,
    peers,
    policies,
    setup_keys,
    tokens,
    users,
)


def description() -> dict[str, Any]:
    """The OpenAPI document of all that is offered."""
    return document(ENDPOINTS)


async def _describe(_call: Public) -> dict[str, Any]:
    return description()


ENDPOINTS: tuple[Endpoint, ...] = (
    *instance.ENDPOINTS,
    *users.ENDPOINTS,
    *tokens.ENDPOINTS,
    *setup_keys.ENDPOINTS,
    *peers.ENDPOINTS,
    *groups.ENDPOINTS,
    *policies.ENDPOINTS,
    *accounts.ENDPOINTS,
    Endpoint(
        method="GET",
        path="/api/openapi.json",
        summary="Show this description.",
        run=_describe,
        response=dict[str, Any],
        public=True,
        constant=True,
    ),
)
"""All that the API offers."""
