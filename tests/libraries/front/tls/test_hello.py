"""How a client begins: what it announces is no more than it has to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom_front.tls.hello import AGAIN, Hellos

COMPATIBLE = b"\x14\x03\x03\x00\x01\x01"


def record(payload, kind=22):
    return bytes([kind]) + b"\x03\x01" + len(payload).to_bytes(2) + payload


def hello(body=bytes(100), announced=None, kind=1):
    size = len(body) if announced is None else announced
    return record(bytes([kind]) + size.to_bytes(3) + body)


def passed(hellos, data, piece):
    """What is let through, in pieces as the network gives them, and what waits for the answer to that."""
    through = later = b""
    for at in range(0, len(data), piece):
        now, rest = hellos.split(later + data[at : at + piece])
        through, later = through + now, rest
    return through, later


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(1, 50))
def test_a_hello_passes_whole_and_what_follows_waits_for_the_answer(body, after, piece):
    hellos = Hellos()
    whole = hello(body)
    through, later = passed(hellos, whole + after, 10_000)
    assert (through, later) == (whole, after)
    assert passed(Hellos(), whole + after, piece)[0][: len(whole)] == whole


@pytest.mark.parametrize("before", [b"", COMPATIBLE])
@pytest.mark.parametrize(
    "said",
    [hello(bytes(100), 101), hello(bytes(100), 130_000), record(b"\x01"), record(b"")],
    ids=["a byte too long", "as long as can be", "too short to tell", "empty"],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_hello_that_is_longer_than_its_record_is_refused(before, said, piece):
    with pytest.raises(ProtocolError, match="longer than a record"):
        passed(Hellos(), before + said + bytes(20), piece)


def test_another_hello_is_looked_at_where_the_server_asks_for_one():
    hellos = Hellos()
    hellos.split(hello())
    hellos.answered(bytes(11) + AGAIN)
    with pytest.raises(ProtocolError):
        passed(hellos, COMPATIBLE + hello(announced=130_000), 1000)


def test_what_is_sealed_is_not_taken_for_a_hello():
    hellos = Hellos()
    hellos.split(hello())
    hellos.answered(bytes(200))
    sealed = hello(announced=130_000)
    assert hellos.split(sealed) == (sealed, b"")


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_raises_its_own_error_only_and_little_is_kept(pieces):
    hellos = Hellos()
    try:
        for piece in pieces:
            hellos.split(piece)
            assert len(hellos._kept) < 15
    except ProtocolError:
        pass
