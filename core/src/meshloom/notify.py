"""Telling the service manager that this process serves: sd_notify(3), without its library."""

import os
import socket
from collections.abc import Mapping


def tell_ready(environment: Mapping[str, str] = os.environ) -> bool:
    """Say that the start is over, so that ``systemctl start`` returns; whether somebody was told.

    A manager that cannot be told ends a process by its own timeout, so what goes wrong here is not an error of ours.
    """
    name = environment.get("NOTIFY_SOCKET", "")
    if not name:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(b"READY=1", "\0" + name[1:] if name.startswith("@") else name)
        except OSError:
            return False
    return True
