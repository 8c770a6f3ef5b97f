"""What a user or a peer can be refused with; statuses of HTTP and of gRPC are given to these in one table each.

::

    RuleError
    ├── InvalidArgument       a value breaks a rule
    ├── NotFound              it names something that there is not
    │   └── SetupKeyRefused   a setup key that cannot be used (any more)
    ├── AlreadyExists         it would make a second one
    ├── PreconditionFailed    the state of things does not allow it
    ├── NotFresh              a message of an agent may have been recorded
    ├── PermissionDenied      who asks may not
    └── Unauthenticated       who asks is not known
"""

from meshloom.errors import MeshError


class RuleError(MeshError):
    """Root of the refusals; the text is what the client is told."""


class InvalidArgument(RuleError):
    """A value breaks a rule."""


class NotFound(RuleError):
    """The request names something that there is not."""


class SetupKeyRefused(NotFound):
    """A machine showed a setup key that cannot be used.

    Attributes:
        why: What the operator may know, and whoever shows the key may not.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class AlreadyExists(RuleError):
    """There would be a second one."""


class PreconditionFailed(RuleError):
    """The state of things does not allow it."""


class NotFresh(RuleError):
    """A message of an agent came already, or does not prove that it was made just now."""


class PermissionDenied(RuleError):
    """Who asks may not do it."""


class Unauthenticated(RuleError):
    """Who asks is not known."""
