"""A unit's sandbox as the kernel gives it, where systemd is not PID 1: what may be written, and which calls go through.

``sandbox.py folders UNIT COMMAND...`` makes all but the unit's own folders read-only (``ProtectSystem=strict``), and
the kernel's as the unit says; ``sandbox.py calls UNIT COMMAND...`` lets through the unit's system calls and address
families only. Each then becomes the command. Homes are left as they are: the tests' Python may be in one.
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, REFUSE, EQUAL, NO_NEW_PRIVILEGES = 0x7FFF0000, 0x00050000 | errno.EPERM, 4, 38
WRITABLE = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run", "LogsDirectory": "/var/log"}
KERNEL = {"ProtectKernelTunables": ("/proc/sys", "/sys"), "ProtectControlGroups": ("/sys/fs/cgroup",)}
APART = ("/dev", "/proc", "/sys")
HIDDEN = ("/usr/lib/modules", "/lib/modules")


def settings(unit):
    return re.findall(r"^(\w+)=(.*)$", Path(unit).read_text(), re.MULTILINE)


def mount(*arguments, check=True):
    subprocess.run(["mount", *arguments], check=check, stderr=None if check else subprocess.DEVNULL)


def folders(unit):
    said = settings(unit)
    own = [f"{WRITABLE[key]}/{name}" for key, value in said if key in WRITABLE for name in value.split()]
    own += [path for key, value in said if key == "ReadWritePaths" for path in value.split()]
    for path in own:
        Path(path).mkdir(parents=True, exist_ok=True)
        mount("--bind", path, path)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if ("ProtectSystem", "strict") in said:
        closed = [point for point in points if point not in own and not point.startswith(APART)]
        for point in closed:
            mount("-o", "remount,bind,ro", point, check=False)  # another mount may hide it
        assert all(os.statvfs(point).f_flag & os.ST_RDONLY for point in closed if Path(point).exists())
    if ("PrivateTmp", "yes") in said:
        for path in ("/tmp", "/var/tmp"):
            mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", path)
    for path in [path for key, paths in KERNEL.items() if (key, "yes") in said for path in paths]:
        if Path(path).exists():
            mount("--bind", "-o", "ro", path, path)
            mount("-o", "remount,bind,ro", path)
    if ("ProtectKernelModules", "yes") in said:
        for path in HIDDEN:
            if Path(path).is_dir() and not Path(path).is_symlink():
                mount("-t", "tmpfs", "-o", "ro,mode=0", "tmpfs", path)


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def expanded(name):
    """A call, or all calls of a set such as ``@system-service``."""
    if not name.startswith("@"):
        return {name}
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    inner = [line.strip() for line in told.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(expanded, inner))


def calls(unit):
    said = settings(unit)
    allowed = set()
    for text in [value for key, value in said if key == "SystemCallFilter"]:
        named = set().union(*map(expanded, text.removeprefix("~").split()))
        allowed = allowed - named if text.startswith("~") else allowed | named
    if not allowed:
        return
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)
    )  # fmt: skip
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    made = library.seccomp_init(REFUSE)
    families = [name for key, value in said if key == "RestrictAddressFamilies" for name in value.split()]
    for name in sorted(allowed | {"execve"}):  # systemd itself is past its filter's first call
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # of another architecture
        if name == "socket" and families:
            for family in families:
                only = Comparison(0, EQUAL, getattr(socket, family), 0)
                library.seccomp_rule_add_array(made, ALLOW, number, 1, ctypes.byref(only))
        else:
            library.seccomp_rule_add_array(made, ALLOW, number, 0, None)
    assert ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert library.seccomp_load(made) == 0


if __name__ == "__main__":
    {"folders": folders, "calls": calls}[sys.argv[1]](sys.argv[2])
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - its purpose
