"""Which gRPC status each error becomes: the one table of it."""

from meshloom.errors import ProtocolError, StoreUnavailable
from meshloom_front.rpc.status import Status
from meshloom_management import errors

_STATUSES: dict[type[Exception], Status] = {
    ProtocolError: Status.INVALID_ARGUMENT,
    StoreUnavailable: Status.UNAVAILABLE,
    errors.InvalidArgument: Status.INVALID_ARGUMENT,
    errors.NotFound: Status.NOT_FOUND,
    errors.AlreadyExists: Status.ALREADY_EXISTS,
    errors.PreconditionFailed: Status.FAILED_PRECONDITION,
    errors.NotFresh: Status.ABORTED,
    errors.PermissionDenied: Status.PERMISSION_DENIED,
    errors.Unauthenticated: Status.UNAUTHENTICATED,
}


def status_of(error: Exception) -> tuple[Status, str]:
    """The status and text that an error is answered with; what is no refusal of ours tells no details."""
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            return _STATUSES[kind], str(error)
    return Status.INTERNAL, "internal error"
