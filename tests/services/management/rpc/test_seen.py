"""Messages that came already are remembered: within bounds, each sender's apart, and after any end of the process."""

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom_management.rpc import journal, records, seen_nonces
from meshloom_management.rpc.journal import AGAIN_AFTER, NAME, Journal
from meshloom_management.rpc.seen import LONGEST, MARK, OVERHEAD, SHORTEST, STRANGERS, SeenNonces

SERVER = PrivateKey.of(b"1" * 32)
SENDERS = [PublicKey.of(bytes([number]) * 32) for number in range(5)]


def nonce(number):
    return number.to_bytes(24)


def memory(registered=(), **more):
    return SeenNonces(SERVER, lambda: registered, **more)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SENDERS), st.integers(0, 30), st.booleans()), max_size=100))
def test_each_message_of_a_sender_counts_once(messages):
    seen, came = memory(), set()
    for sender, number, registered in messages:
        if not registered and (sender, number) not in came:
            continue  # strangers' are kept for a while only
        assert seen.see(sender, nonce(number), registered=registered) is ((sender, number) not in came)
        came.add((sender, number))


@settings(deadline=None)
@given(st.lists(st.binary(min_size=24, max_size=24), unique=True, max_size=60))
def test_nonces_that_never_came_are_new_wherever_their_marks_lie(nonces):
    seen = memory()
    assert all(seen.see(SENDERS[0], each, registered=True) for each in nonces)
    assert not any(seen.see(SENDERS[0], each, registered=True) for each in nonces)


def test_one_senders_traffic_pushes_out_its_own_oldest_and_nothing_of_another():
    seen = memory()
    assert seen.see(SENDERS[1], nonce(0), registered=True)
    for number in range(10 * LONGEST):
        assert seen.see(SENDERS[0], nonce(number), registered=True)
    assert not seen.see(SENDERS[1], nonce(0), registered=True)
    assert not any(seen.see(SENDERS[0], nonce(10 * LONGEST - 1 - age), registered=True) for age in range(LONGEST))
    assert seen.size == 2 * OVERHEAD + (LONGEST + 1) * MARK


def test_removed_senders_make_room_first_those_longest_silent_before_the_others():
    room = 100 * (OVERHEAD + MARK)
    seen = memory(SENDERS[:1], most=room)
    assert seen.see(SENDERS[0], nonce(1), registered=True)
    for number in range(1, 1000):
        assert seen.see(PublicKey.of(number.to_bytes(32)), nonce(1), registered=True)
        assert seen.size <= room
    assert not seen.see(SENDERS[0], nonce(1), registered=True), "it is registered still"
    assert not seen.see(PublicKey.of((950).to_bytes(32)), nonce(1), registered=True)
    assert seen.see(PublicKey.of((10).to_bytes(32)), nonce(1), registered=True), "the room was needed"


def test_where_many_are_registered_each_has_less_room_and_keeps_its_newest():
    registered = [PublicKey.of(number.to_bytes(32)) for number in range(100)]
    seen = memory(registered, most=100 * (OVERHEAD + 40 * MARK))
    for number in range(LONGEST):
        for sender in registered:
            assert seen.see(sender, nonce(number), registered=True)
    assert seen.size <= 100 * (OVERHEAD + 40 * MARK)
    for sender in registered:
        assert not any(seen.see(sender, nonce(LONGEST - 1 - age), registered=True) for age in range(SHORTEST))


def test_strangers_take_no_room_however_many_keys_they_make():
    kept = []
    seen = memory(keep=lambda *record: kept.append(record))
    for number in range(5 * STRANGERS):
        assert seen.see(PublicKey.of(number.to_bytes(32)), nonce(0), registered=False)
    assert (seen.size, kept, len(seen._strangers)) == (0, [], STRANGERS)


def test_what_was_seen_of_a_stranger_counts_once_it_is_registered():
    kept = []
    seen = memory(keep=lambda *record: kept.append(record))
    assert seen.see(SENDERS[0], nonce(1), registered=False)
    assert not seen.see(SENDERS[0], nonce(1), registered=False)
    seen.register(SENDERS[0])
    assert not seen.see(SENDERS[0], nonce(1), registered=True)
    assert len(kept) == 1


def test_what_a_removed_sender_sends_is_remembered_in_its_own_room():
    kept = []
    seen = memory(keep=lambda *record: kept.append(record))
    seen.register(SENDERS[0])
    seen.register(SENDERS[0])
    assert len(kept) == 1, "a sender that never sent anything is remembered too"
    assert (seen.remembers(SENDERS[0]), seen.remembers(SENDERS[1])) == (True, False)
    for number in range(10 * LONGEST):
        assert seen.see(SENDERS[0], nonce(number), registered=False)
    for number in range(1, STRANGERS + 2):
        assert seen.see(PublicKey.of(number.to_bytes(32)), nonce(0), registered=False)
    assert not any(seen.see(SENDERS[0], nonce(10 * LONGEST - 1 - age), registered=False) for age in range(LONGEST))
    assert seen.size == OVERHEAD + LONGEST * MARK


# The file.


@pytest.fixture
def open_memory(tmp_path):
    def opened():
        return seen_nonces(tmp_path, SERVER, lambda: SENDERS)

    return opened


def test_what_was_seen_is_in_the_file_before_it_counts_as_seen(open_memory):
    with open_memory() as seen:
        for number in range(50):
            assert seen.see(SENDERS[number % 3], nonce(number), registered=True)
        with open_memory() as after:  # as after a kill: the first was not closed
            assert not any(after.see(SENDERS[number % 3], nonce(number), registered=True) for number in range(50))
            assert after.see(SENDERS[0], nonce(50), registered=True)
        with open_memory() as after:
            assert not after.see(SENDERS[0], nonce(50), registered=True)


@settings(deadline=None)
@given(torn=st.integers(0, 400), garbage=st.binary(max_size=40))
def test_what_was_written_by_half_is_dropped_and_the_rest_counts(tmp_path_factory, torn, garbage):
    folder = tmp_path_factory.mktemp("torn")
    with seen_nonces(folder, SERVER, lambda: SENDERS) as seen:
        for number in range(20):
            seen.see(SENDERS[0], nonce(number), registered=True)
    file = folder / NAME
    file.write_bytes(file.read_bytes()[:torn] + garbage)
    whole = (torn - len(records.BEGIN)) // 22
    with seen_nonces(folder, SERVER, lambda: SENDERS) as seen:
        assert not any(seen.see(SENDERS[0], nonce(number), registered=True) for number in range(min(20, max(0, whole))))
        assert seen.see(SENDERS[1], nonce(0), registered=True)
    with seen_nonces(folder, SERVER, lambda: SENDERS) as seen:
        assert not seen.see(SENDERS[1], nonce(0), registered=True), "it was written after what was dropped"


def test_a_sender_that_never_sent_anything_is_in_the_file_too(open_memory):
    with open_memory() as seen:
        seen.register(SENDERS[0])
    with open_memory() as seen:
        assert seen.remembers(SENDERS[0])
        assert not seen.remembers(SENDERS[1])


def test_the_file_is_its_owners_alone_and_does_not_grow_for_ever(open_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SLACK", 1000)
    with open_memory() as seen:
        for number in range(5000):
            assert seen.see(SENDERS[number % 2], nonce(number), registered=True)
            assert (tmp_path / NAME).stat().st_size < 2 * 2 * LONGEST * MARK + 4000
    assert [file.name for file in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    with open_memory() as seen:
        assert not any(seen.see(SENDERS[number % 2], nonce(number), registered=True) for number in range(4500, 5000))


def test_a_disk_that_is_full_stops_nobody_and_is_made_up_for_later(tmp_path, caplog):
    now, everything = [0.0], []
    file = Journal(tmp_path, lambda: everything, monotonic=lambda: now[0])
    assert file.open() == []

    def append(number):
        file.append(b"sender..", number.to_bytes(MARK))
        everything.append((b"sender..", number.to_bytes(MARK)))

    append(1)
    descriptor = file._descriptor
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, descriptor)
    os.close(full)
    append(2)
    append(3)
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    assert "No space left on device: a restart forgets" in caplog.text
    now[0] += AGAIN_AFTER
    append(4)
    append(5)
    file.close()
    assert Journal(tmp_path, list).open() == [(b"sender..", number.to_bytes(MARK)) for number in range(1, 6)]


def test_a_first_start_on_a_full_disk_is_not_in_vain(tmp_path, monkeypatch, caplog):
    now, write = [0.0], os.write

    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", no_room)
    file = Journal(tmp_path, lambda: [(b"sender..", bytes(MARK))], monotonic=lambda: now[0])
    assert file.open() == []
    file.append(b"sender..", bytes(MARK))
    assert "No space left on device: a restart forgets" in caplog.text
    monkeypatch.setattr(os, "write", write)
    now[0] += AGAIN_AFTER
    file.append(b"sender..", bytes(MARK))
    file.close()
    assert (b"sender..", bytes(MARK)) in Journal(tmp_path, list).open()


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / NAME).mkdir()
    with (
        pytest.raises(ConfigError, match="nonces: cannot be used: Is a directory"),
        seen_nonces(tmp_path, SERVER, list),
    ):
        pass
