"""Which HTTP status and message each error becomes: the one table of it."""

from collections.abc import Mapping

from starlette.responses import Response

from meshloom.errors import StoreUnavailable
from meshloom.text import printable
from meshloom_management import errors
from meshloom_management.api.json import encode
from meshloom_management.operations.groups import GroupInUse

JSON = "application/json; charset=UTF-8"

_STATUSES: Mapping[type[Exception], int] = {
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.PreconditionFailed: 412,
    errors.InvalidArgument: 422,
}


class Refused(Exception):
    """A request that is answered with just this."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def refusal(status: int, message: str) -> Response:
    """An answer that says what is wrong, as all errors of the API do; what it quotes is bounded and visible."""
    content = encode({"message": printable(message), "code": status})
    return Response(content, status_code=status, media_type=None, headers=_HEADERS)


_HEADERS = {"content-type": JSON}


def answer_to(error: Exception) -> Response | None:
    """What an error is answered with; None where it is a fault of the server."""
    if isinstance(error, Refused):
        return refusal(error.status, error.message)
    if isinstance(error, GroupInUse):
        return refusal(400, str(error))
    if isinstance(error, StoreUnavailable):
        return refusal(503, f"the server cannot store anything now: {error}")
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            return refusal(_STATUSES[kind], str(error).lower())  # clients compare with lower-case messages
    return None


def page_not_found() -> Response:
    """For paths that are not offered, and methods that a path does not have."""
    headers = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
    return Response("404 page not found\n", status_code=404, headers=headers)
