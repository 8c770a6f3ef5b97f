"""The endpoints of the API, resource by resource."""

from meshloom_management.api.endpoint import Endpoint
from meshloom_management.api.resources import (
    accounts,
    description,
    groups,
    instance,
    peers,
    policies,
    setup_keys,
    tokens,
    users,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *instance.ENDPOINTS,
    *users.ENDPOINTS,
    *tokens.ENDPOINTS,
    *setup_keys.ENDPOINTS,
    *peers.ENDPOINTS,
    *groups.ENDPOINTS,
    *policies.ENDPOINTS,
    *accounts.ENDPOINTS,
    *description.ENDPOINTS,
)
"""All that the API offers."""
