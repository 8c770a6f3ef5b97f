"""``/api/openapi.json``: the API described by itself."""

from typing import Any

from meshloom_management.api.endpoint import Endpoint, Public


async def _describe(_call: Public) -> dict[str, Any]:
    from meshloom_management.api.openapi import document  # which reads the table that this endpoint is in

    return document()


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/openapi.json",
        summary="Show this description.",
        run=_describe,
        response=dict[str, Any],
        public=True,
    ),
)
