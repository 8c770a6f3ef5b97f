"""What names may be."""

import re

from meshloom_management.errors import InvalidArgument

LONGEST = 255
LONGEST_DOMAIN = 253
"""Characters (RFC 1035 section 2.3.4)."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.IGNORECASE)


def checked_name(name: str, what: str, empty: str | None = None) -> str:
    """The name, where it is one.

    Raises:
        InvalidArgument: It is empty (told by ``empty``) or too long.
    """
    if not name:
        raise InvalidArgument(empty or f"{what} name shouldn't be empty")
    return checked_length(name, f"{what} name")


def checked_length(text: str, what: str) -> str:
    """The text, where it is not too long.

    Raises:
        InvalidArgument: It is.
    """
    if len(text) > LONGEST:
        raise InvalidArgument(f"{what} can't be longer than {LONGEST} characters")
    return text


def is_domain(text: str) -> bool:
    """Whether peers' names can be in such a domain."""
    return len(text) <= LONGEST_DOMAIN and _DOMAIN.fullmatch(text) is not None
