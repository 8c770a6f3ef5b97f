"""How one JSON answer differs from another in shape, or in values that are not made up by each server."""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any


def differences(expected: Any, answer: Any, masked: AbstractSet[str], where: str = "") -> Iterator[str]:
    """What differs, a sentence each. No list and an empty one are the same, as are any two moments.

    The values of *masked* keys only need to be of the same type.
    """
    if _is_empty(expected) and _is_empty(answer):
        return
    if type(expected) is not type(answer):
        yield f"{where} is {answer!r:.80} in place of {expected!r:.80}"
    elif isinstance(expected, dict):
        yield from _different_fields(expected, answer, masked, where)
    elif isinstance(expected, list):
        yield from _different_items(expected, answer, masked, where)
    elif expected != answer and not (_is_moment(expected) and _is_moment(answer)):
        yield f"{where} is {answer!r:.80} in place of {expected!r:.80}"


def unlike(expected: list[Any], answer: list[Any], masked: AbstractSet[str]) -> str | None:
    """How the first expected item differs in shape from that given one which is most like it."""
    if not expected or not answer:
        return None
    found = ("; ".join(differences(*_both_filled(expected[0], item), masked)) for item in answer)
    return min(found, key=len) or None


def _different_fields(expected: Any, answer: Any, masked: AbstractSet[str], where: str) -> Iterator[str]:
    for key in sorted(expected.keys() ^ answer.keys()):
        if not (_is_empty(expected.get(key)) and _is_empty(answer.get(key))):
            yield f"{where}.{key} is {'missing' if key in expected else 'too much'}"
    for key in expected.keys() & answer.keys():
        if key not in masked or type(expected[key]) is not type(answer[key]):
            yield from differences(expected[key], answer[key], masked, f"{where}.{key}")


def _different_items(expected: list[Any], answer: list[Any], masked: AbstractSet[str], where: str) -> Iterator[str]:
    if where.endswith(".groups"):  # of a peer: which there are depends on what was made before
        yield from differences(_shape(expected), _shape(answer), masked, f"{where}[]")
        return
    if len(expected) != len(answer):
        yield f"{where} has {len(answer)} items in place of {len(expected)}"
    for place, (one, other) in enumerate(zip(expected, answer, strict=False)):
        yield from differences(one, other, masked, f"{where}[{place}]")


def _both_filled(expected: Any, answer: Any) -> tuple[Any, Any]:
    """The shapes of two objects, without the lists that are empty in one of them."""
    empty = {key for key in expected if _is_empty(expected[key]) and isinstance(answer.get(key), list)}
    empty |= {key for key in answer if _is_empty(answer[key]) and isinstance(expected.get(key), list)}
    one, other = (
        {key: _shape(value) for key, value in item.items() if key not in empty} for item in (expected, answer)
    )
    return one, other


def _shape(value: Any) -> Any:
    """Keys and types."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return None if value is None else type(value).__name__


def _is_empty(value: Any) -> bool:
    return value is None or value == []


def _is_moment(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value) is not None
