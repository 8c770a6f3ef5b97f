"""How a call ends: gRPC's status codes, and the failure that carries one."""

from enum import IntEnum

from meshloom.errors import MeshError


class Status(IntEnum):
    """Codes of gRPC; the names say what they mean."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallFailed(MeshError):
    """A call ends with that status, and a text for whoever called."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
