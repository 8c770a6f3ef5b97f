"""The management service as agents see it: gRPC, every message sealed between the agent's key and the server's."""

from meshloom_management.rpc.service import ManagementService

__all__ = ["ManagementService"]
