"""The file of messages that came already, damaged: what is whole counts, and the log says what is lost."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom_management.rpc import journal, seen_nonces
from meshloom_management.rpc.journal import NAME

SERVER = PrivateKey.of(b"1" * 32)
SENDERS = [PublicKey.of(bytes([number]) * 32) for number in range(5)]
BEGIN, RECORD = 18, 22
"""Bytes before the first record, and of one with one message."""
MESSAGES = 20
MEANING = "what machines with NetBird's client sent before, and somebody recorded, can count once more"


def nonce(number):
    return number.to_bytes(24)


def opened(folder, **how):
    return seen_nonces(folder, SERVER, lambda: SENDERS, **how)


def kept(folder):
    """A file with one record for each of some messages."""
    with opened(folder) as seen:
        for number in range(MESSAGES):
            assert seen.see(SENDERS[number % 5], nonce(number), registered=True)
    file = folder / NAME
    assert file.stat().st_size == BEGIN + MESSAGES * RECORD
    return file


def forgotten(folder, **how):
    """Numbers of the messages that would count once more after a start."""
    with opened(folder, **how) as seen:
        return {number for number in range(MESSAGES) if seen.see(SENDERS[number % 5], nonce(number), registered=True)}


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@settings(deadline=None)
@given(at=st.integers(0, BEGIN + MESSAGES * RECORD - 1), flips=st.integers(1, 255))
def test_a_damaged_byte_costs_one_record_wherever_it_is(tmp_path_factory, at, flips):
    folder = tmp_path_factory.mktemp("flipped")
    file = kept(folder)
    data = bytearray(file.read_bytes())
    data[at] ^= flips
    file.write_bytes(data)
    assert forgotten(folder) == ({(at - BEGIN) // RECORD} if at >= BEGIN else set())
    assert forgotten(folder) == set(), "written anew, with what came meanwhile"


@settings(deadline=None)
@given(st.integers(0, BEGIN + MESSAGES * RECORD), st.binary(max_size=100), st.integers(0, 100))
def test_whatever_is_overwritten_inserted_or_lost_the_whole_records_count(tmp_path_factory, at, other, lost):
    folder = tmp_path_factory.mktemp("overwritten")
    file = kept(folder)
    data = file.read_bytes()
    file.write_bytes(data[:at] + other + data[at + lost :])
    touched = {
        number
        for number in range(MESSAGES)
        if BEGIN + number * RECORD < at + max(lost, 1) and at < BEGIN + (number + 1) * RECORD
    }
    assert forgotten(folder) <= touched
    assert forgotten(folder) == set()


def test_it_is_said_what_is_damaged_and_what_that_means(tmp_path, caplog):
    file = kept(tmp_path)
    data = bytearray(file.read_bytes())
    data[BEGIN + 3 * RECORD] ^= 1
    data[BEGIN + 9 * RECORD + 8] ^= 255  # how long the record is
    file.write_bytes(data)
    assert forgotten(tmp_path) == {3, 9}
    assert said(caplog) == [
        f"{file} is damaged: places: 2, bytes: {2 * RECORD}; whole records, which count: {MESSAGES - 2}; {MEANING}"
    ]
    caplog.clear()
    assert forgotten(tmp_path) == set()
    assert said(caplog) == [], "said once: the file was written anew"


def test_a_tail_that_was_written_by_half_is_said_as_such(tmp_path, caplog):
    file = kept(tmp_path)
    file.write_bytes(file.read_bytes()[:-5])
    assert forgotten(tmp_path) == {MESSAGES - 1}
    assert said(caplog) == [f"{file}: the last {RECORD - 5} bytes were written by half and are dropped"]


@pytest.mark.parametrize(
    ("lose", "what"),
    [
        (lambda file: file.unlink(), "was missing"),
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: file.write_bytes(file.read_bytes()[:7]), "is empty"),
    ],
    ids=["gone", "emptied", "cut"],
)
def test_a_file_that_is_missed_is_said(tmp_path, caplog, lose, what):
    file = kept(tmp_path)
    lose(file)
    assert len(forgotten(tmp_path, is_expected=True)) == MESSAGES
    assert said(caplog)[0] == f"{file} {what}, though this server has accounts: {MEANING}"


def test_a_first_start_misses_none(tmp_path, caplog):
    forgotten(tmp_path)
    assert said(caplog) == []


@pytest.mark.parametrize("name", [NAME, "nonces.new"])
def test_no_link_is_followed(tmp_path, monkeypatch, name):
    monkeypatch.setattr(journal, "SLACK", -1000)  # written anew at once
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    if name == NAME:
        with pytest.raises(ConfigError, match="nonces: cannot be used: is a symbolic link, which is not followed"):
            forgotten(folder)
    else:
        assert len(forgotten(folder)) == MESSAGES
        assert not (folder / NAME).is_symlink()
        assert forgotten(folder) == set()
    assert precious.read_text() == "precious"
