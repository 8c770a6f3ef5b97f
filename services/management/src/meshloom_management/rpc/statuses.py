"""Which gRPC status each error becomes: the one table of it."""

import grpc

from meshloom.errors import ProtocolError, StoreUnavailable
from meshloom_management import errors

_STATUSES: dict[type[Exception], grpc.StatusCode] = {
    ProtocolError: grpc.StatusCode.INVALID_ARGUMENT,
    StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
}


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status and text that an error is answered with; what is no refusal of ours tells no details."""
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            return _STATUSES[kind], str(error)
    return grpc.StatusCode.INTERNAL, "internal error"
