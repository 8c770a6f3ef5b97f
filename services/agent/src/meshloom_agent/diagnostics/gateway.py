"""Which router is ours, and what to ask it: whether it opens ports on request.

Only asked, never mapped: a check must leave the gateway as it was.
"""

from meshloom.protocol.port_mapping import (
    NAT_PMP_REQUEST,
    PORT,
    SSDP,
    SSDP_REQUEST,
    is_gateway_device,
    nat_pmp_address,
    pcp_request,
    speaks_pcp,
)
from meshloom_linux.gateway import default_gateway, default_router

__all__ = [
    "NAT_PMP_REQUEST",
    "PORT",
    "SSDP",
    "SSDP_REQUEST",
    "default_gateway",
    "default_router",
    "is_gateway_device",
    "nat_pmp_address",
    "pcp_request",
    "speaks_pcp",
]
