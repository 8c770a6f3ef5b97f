"""Answers of management that are not what was asked for, told apart by who gave them and what they mean.

A status of gRPC alone proves nothing: a proxy, a firewall or a portal makes one too, and gRPC makes one from whatever
HTTP status it finds. Only management's own words, in answer to a message that it opened, say that it does not know this
machine.
"""

import re

import grpc

from meshloom.errors import MeshError
from meshloom.text import printable
from meshloom_agent.reasons import plain_reason

LONGEST_TEXT = 300
NOT_KNOWN = (
    "no peer auth method provided",
    "peer is not registered",
    "peer is not part of this account",
    "peer is already registered by a different user",
    "peer login has expired",
    "peer not found",
    "user is blocked",
    "user is pending approval",
)
"""Beginnings of the texts by which Meshloom's and NetBird's management refuse the login of a peer, in lower case."""
JOINS_BY_KEY = ("no peer auth method provided", "peer is not registered", "peer not found")
"""Those of them after which a setup key is what helps."""
GONE = ("peer not found", "peer is not registered")
"""Beginnings of the texts that say that there is no such peer: after a logout this is as good as done."""
TAKEN = "another connection with the key of this machine"
"""Begins the text by which Meshloom's management ends a stream that another one has replaced."""
_BAD_KEY = re.compile(r"setup key(:? \S+)? (is invalid|not found)")
"""What Meshloom's and NetBird's management say of a setup key that is not good, in lower case."""
_SHOWN_OF_KEY = 5
"""Characters of a setup key by which people know it."""
MADE_BY_GRPC = "Received http2 header with status"
"""Begins the text of a status that gRPC made from an HTTP status."""
REFUSALS = frozenset(
    (
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)
"""Answers that say no; whether management said it is told by the text."""


class LoginDenied(MeshError):
    """Management does not know this machine, and refuses what it offered to be known by."""


class ManagementUnreachable(MeshError):
    """Management does not answer, or not as management does."""


class ManagementRefuses(ManagementUnreachable):
    """Management answers, but does not do it now; the same call may succeed later."""


class ServerKeyChanged(ManagementRefuses):
    """Another key than before is shown at management's address, and nothing proves that it is management's."""


class Replaced(ManagementRefuses):
    """Another connection with this machine's key has taken the place of this one."""


class EndedCleanly(ManagementUnreachable):
    """Management has ended a stream in good order, without a word."""


class RequestNotFresh(ManagementUnreachable):
    """Management asks for a request that is made after a newer challenge."""


def translated(error: grpc.RpcError, url: str, *, opened: bool = True, setup_key: str = "", why: str = "") -> MeshError:
    """Returns what a failed call means.

    Args:
        error: The call's failure.
        url: The address of management, for the message.
        opened: Whether the call carried a sealed message, which only management can have opened.
        setup_key: The setup key that the call offered; empty for none.
        why: Why there is no answer, as a sentence, where that is known better.
    """
    code, text = said(error)
    if not opened or text.startswith(MADE_BY_GRPC) or code not in {*REFUSALS, grpc.StatusCode.ABORTED}:
        why = why or plain_reason(text, url) or f"management at {url} does not answer: {text}"
        return ManagementUnreachable(why)
    if code is grpc.StatusCode.ABORTED:
        return RequestNotFresh(f"management at {url} refuses: {text}")
    if code is grpc.StatusCode.ALREADY_EXISTS and text.startswith(TAKEN):
        return Replaced(f"management at {url}: {text}")
    not_known = code is grpc.StatusCode.PERMISSION_DENIED and text.lower().startswith(NOT_KNOWN)
    if not_known or setup_key:  # the same setup key would be refused again
        return LoginDenied(_key_refused(setup_key) if setup_key and _BAD_KEY.search(text.lower()) else text)
    return ManagementRefuses(f"management at {url} refuses: {text}")


def how_to_join(denied: LoginDenied, *, was_member: bool) -> LoginDenied:
    """Returns what a person should do whose machine is not known and offered no setup key.

    Args:
        denied: What management said.
        was_member: Whether this machine has been in the mesh.
    """
    if not str(denied).lower().startswith(JOINS_BY_KEY):
        return denied
    what = "the server does not know this machine any more" if was_member else "this machine is not in the mesh yet"
    return LoginDenied(f"{what}: meshloom up --setup-key KEY")


def _key_refused(key: str) -> str:
    return f"the server refuses key {key[:_SHOWN_OF_KEY].upper()}...: unknown, expired, revoked or used up"


def says_gone(error: grpc.RpcError) -> bool:
    """Tells whether management itself answers that there is no such peer."""
    code, text = said(error)
    return code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED) and text.lower().startswith(GONE)


def said(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Returns the status and the text of a failed call, fit to be shown."""
    code: grpc.StatusCode = error.code()
    return code, printable(error.details() or code.name, LONGEST_TEXT)
