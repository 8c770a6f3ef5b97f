"""The management service as agents see it: gRPC, every message sealed between the agent's key and the server's."""

from meshloom_management.rpc.journal import seen_nonces
from meshloom_management.rpc.refusals import Refusals
from meshloom_management.rpc.seen import SeenNonces
from meshloom_management.rpc.service import ManagementService

__all__ = ["ManagementService", "Refusals", "SeenNonces", "seen_nonces"]
