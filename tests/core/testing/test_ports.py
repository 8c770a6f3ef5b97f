"""Ports for programs of tests: nobody else is given the same."""

import socket
import subprocess
import sys
from contextlib import closing, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from meshloom.testing.ports import EACH, PortWindow, free_port, own_address

OTHER = "from meshloom.testing.ports import free_port; print(*(free_port() for _ in range(200)))"


def ephemeral():
    """The ports that the kernel gives to whoever asks for none."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return range(first, last + 1)


def test_two_processes_are_never_given_the_same_port():
    mine = {free_port() for _ in range(200)}
    theirs = subprocess.run([sys.executable, "-c", OTHER], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert len(mine) > 100
    assert mine.isdisjoint(map(int, theirs.split()))


def test_two_processes_are_never_given_the_same_address():
    other = "from meshloom.testing.ports import own_address; print(own_address())"
    mine = own_address()
    theirs = subprocess.run([sys.executable, "-c", other], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert ip_address(mine).is_loopback
    assert mine != theirs.strip() != ""


def test_the_kernel_gives_none_of_them_to_others():
    assert free_port() not in ephemeral()
    assert free_port() + 1 not in ephemeral()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("above", [0, 1])
def test_a_port_in_use_is_passed_over(kind, above):
    with closing(PortWindow()) as window, socket.socket(socket.AF_INET, kind) as taken:
        first = window.next()
        with suppress(OSError):  # what an earlier test has left may hold it already
            taken.bind(("127.0.0.1", first + 2 + above))
        assert window.next() >= first + 4


def test_a_window_that_is_used_up_is_said(monkeypatch):
    monkeypatch.setattr("meshloom.testing.ports._is_free", lambda port: False)
    said = f"ports: all {EACH} of this process are in use"
    with closing(PortWindow()) as window, pytest.raises(RuntimeError, match=said):
        window.next()
