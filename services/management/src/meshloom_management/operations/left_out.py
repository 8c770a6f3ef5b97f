"""What a request names that there is not: it is left out, as NetBird's API does, but not silently."""

from collections.abc import Container, Iterable
from typing import Final

MOST_NAMED: Final = 10
"""Ids that are named; further ones are counted."""
LONGEST_ID: Final = 64


def left_out(what: str, asked: Iterable[str], known: Container[str]) -> list[str]:
    """Returns a sentence about the ids that are not known; none where all are.

    Args:
        what: The things that have the ids, in the plural.
        asked: Ids of the request.
        known: Ids that there are.
    """
    unknown = [id for id in dict.fromkeys(asked) if id not in known]
    if not unknown:
        return []
    named = ", ".join(repr(id[:LONGEST_ID]) for id in unknown[:MOST_NAMED])
    more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
    return [f"{what} that do not exist are left out: {named}{more}"]
