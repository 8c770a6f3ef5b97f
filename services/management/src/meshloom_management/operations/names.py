"""What names may be."""

from meshloom_management.errors import InvalidArgument

LONGEST = 255


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
