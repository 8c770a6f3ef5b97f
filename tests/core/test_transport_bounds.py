"""Bounds for what the other side of a connection sends beside messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.transport_bounds import CONTROL_BURST, CONTROL_RATE, MOST_FRAGMENTS, Allowance, FrameRefused, Frames


@given(st.lists(st.floats(0, 5), max_size=300))
def test_an_allowance_is_never_more_than_its_burst_and_its_rate(pauses):
    allowance, now, taken = Allowance(5, 2.0, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        if allowance.take(now):
            taken.append(now)
    for first, since in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= 5 + 2.0 * (taken[last] - since) + 0.001


def test_an_allowance_comes_back():
    allowance = Allowance(2, 1.0, 0.0)
    assert [allowance.take(now) for now in (0, 0, 0, 0.5, 1, 1, 100, 100, 100)] == [
        *(True, True, False, False, True, False),
        *(True, True, False),
    ]


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20))
def test_fragments_become_the_message(parts):
    frames = Frames(0.0)
    for _ in range(2):
        for part in parts[:-1]:
            assert frames.add(part, is_last=False, longest=2000, now=0.0) is None
            assert frames.is_within
        assert frames.add(parts[-1], is_last=True, longest=2000, now=0.0) == b"".join(parts)
        assert not frames.is_within


def test_fragments_that_are_too_long_together_are_refused():
    frames = Frames(0.0)
    frames.add(bytes(60), is_last=False, longest=100, now=0.0)
    with pytest.raises(FrameRefused, match="too long") as caught:
        frames.add(bytes(41), is_last=True, longest=100, now=0.0)
    assert caught.value.code == 1009


def test_too_many_fragments_are_refused():
    frames = Frames(0.0)
    for _ in range(MOST_FRAGMENTS):
        frames.add(b"x", is_last=False, longest=1000, now=0.0)
    with pytest.raises(FrameRefused, match="too many fragments"):
        frames.add(b"x", is_last=True, longest=1000, now=0.0)


def test_empty_fragments_and_control_frames_share_an_allowance_that_comes_back():
    frames = Frames(0.0)
    for _ in range(CONTROL_BURST // 2):
        frames.count_idle(0.0)
        frames.add(b"", is_last=False, longest=10, now=0.0)
    for frame in (frames.count_idle, lambda now: frames.add(b"", is_last=False, longest=10, now=now)):
        with pytest.raises(FrameRefused, match="without a message") as caught:
            frame(0.0)
        assert caught.value.code == 1008
    for _ in range(int(CONTROL_RATE)):
        frames.count_idle(1.0)
