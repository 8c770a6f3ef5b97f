"""What the service manager is told."""

import socket

import pytest

from meshloom.notify import tell_ready


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears_that_the_start_is_over(tmp_path, abstract):
    name = f"@meshloom-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0") if abstract else name)
        manager.settimeout(10)
        assert tell_ready({"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


def test_nobody_need_listen(tmp_path):
    assert not tell_ready({})
    assert not tell_ready({"NOTIFY_SOCKET": str(tmp_path / "gone")})
