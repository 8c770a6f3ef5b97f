"""The daemon's systemd unit: what `service install` writes, and what the distribution carries."""

import re
from collections.abc import Iterable
from pathlib import Path

import attrs

from meshloom.errors import ConfigError
from meshloom.text import printable

TEXT = """\
[Unit]
Description=Meshloom agent
Documentation=man:wg(8)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
TimeoutStopSec=15
{folders}
LimitNOFILE=65536
UMask=0077
# It is root without root's powers: the tunnel, its addresses and routes (NET_ADMIN), the socket that shares its UDP
# port and echo requests (NET_RAW), a port below 1024 (NET_BIND_SERVICE), the group of the daemon's socket (CHOWN).
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_CHOWN
# The one device is the tunnel's; PrivateDevices would hide it.
DeviceAllow=/dev/net/tun rw
DevicePolicy=closed
LockPersonality=yes
NoNewPrivileges=yes
{private_tmp}
ProtectClock=yes
ProtectControlGroups=yes
{protect_home}
ProtectHostname=yes
ProtectKernelLogs=yes
# ProtectKernelModules would hide /lib/modules, where the backend `kernel` looks for WireGuard that is not loaded yet;
# modules are loaded by nobody here, for want of CAP_SYS_MODULE and of the system calls.
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
# NETLINK speaks of links, routes and WireGuard, UNIX with the command line, wireguard-go and systemd.
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
# The daemon's socket is given to a group.
SystemCallFilter=@chown
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
TEMPORARY = tuple(map(Path, ("/tmp", "/var/tmp")))  # noqa: S108 - looked for, not used
STATES, RUNTIMES = (Path("/var/lib"),), (Path("/run"), Path("/var/run"))
PLAIN = re.compile(r"[A-Za-z0-9_./:,@+=-]+")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?= |$)|([^" \\]+)(?= |$)')
NOT_IN_PROGRAMS = re.compile(r"[\"'\\$]")


@attrs.frozen
class Unit:
    """What a unit is made from.

    Args:
        program: The command line's file.
        state_dir: Folder of the daemon's key and state.
        socket: File of the daemon's socket.
        code: Folders that the program is loaded from.
        more: Further options of ``service run``, each followed by its value.
        reads: Files that the daemon reads.
    """

    program: Path
    state_dir: Path
    socket: Path
    code: tuple[Path, ...] = ()
    more: tuple[str, ...] = ()
    reads: tuple[Path, ...] = ()

    def text(self) -> str:
        """Returns the unit's text.

        Raises:
            ConfigError: A path cannot be written into a unit; names it.
        """
        used = (self.program, self.state_dir, self.socket, *self.code, *self.reads)
        own = ("service", "run", "--state-dir", str(self.state_dir), "--daemon-addr", f"unix://{self.socket}")
        return TEXT.format(
            command=" ".join([_program(self.program), *(argument(word) for word in (*own, *self.more))]),
            folders="\n".join([*self._state(), *self._runtime()]),
            private_tmp="PrivateTmp=" + ("no" if _is_below(TEMPORARY, used) else "yes"),
            protect_home="ProtectHome=" + ("read-only" if _is_below(HOMES, used) else "yes"),
        )

    def _state(self) -> list[str]:
        if name := _name_below(STATES, self.state_dir):
            return [f"StateDirectory={quoted(name)}", "StateDirectoryMode=0700"]
        return [f"ReadWritePaths={quoted(str(self.state_dir))}"]

    def _runtime(self) -> list[str]:
        """Returns where sockets are made: the daemon's, and wireguard-go's, which `wg` looks for in a common folder."""
        if name := _name_below(RUNTIMES, self.socket.parent):
            return [f"RuntimeDirectory={quoted(name)} wireguard", "RuntimeDirectoryPreserve=yes"]
        common = ["RuntimeDirectory=wireguard", "RuntimeDirectoryPreserve=yes"]
        return [*common, f"ReadWritePaths={quoted(str(self.socket.parent))}"]


def argument(word: str) -> str:
    """Returns an argument of a command line: quoted, and with nothing left for systemd to put in (systemd.service(5)).

    Raises:
        ConfigError: It holds characters that nobody can see.
    """
    return quoted(word.replace("$", "$$"))


def words(line: str) -> list[str]:
    """Returns the words of a command line that :func:`argument` wrote; none where others wrote it in another way."""
    found = []
    rest = line.strip(" ")
    while rest:
        match = WORD.match(rest)
        if match is None:
            return []
        plain = match[2] if match[1] is None else re.sub(r"\\([\"\\])", r"\1", match[1])
        found.append(plain.replace("$$", "$").replace("%%", "%"))
        rest = rest[match.end() :].lstrip(" ")
    return found


def quoted(word: str) -> str:
    """Returns a word of a unit's file as systemd.syntax(7) reads it; ``%`` stands for itself.

    Raises:
        ConfigError: It holds characters that nobody can see; a line break would begin a setting of its own.
    """
    if printable(word, len(word) + 1) != word:
        raise ConfigError(
            f"'{printable(word)}': holds characters that cannot be seen, or are no UTF-8; a unit takes none"
        )
    word = word.replace("%", "%%")
    if PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _program(file: Path) -> str:
    if found := NOT_IN_PROGRAMS.search(str(file)):
        raise ConfigError(f"'{printable(str(file))}': systemd starts no program with {found[0]} in its path")
    return quoted(str(file))


def _name_below(roots: Iterable[Path], path: Path) -> str:
    """Returns the path within the first of the roots that it is below; empty where it is below none.

    A colon stands before the name of a link there, from systemd 254 on; such a path is treated as one of elsewhere.
    """
    return next((str(path.relative_to(root)) for root in roots if root in path.parents and ":" not in str(path)), "")


def _is_below(roots: Iterable[Path], paths: Iterable[Path]) -> bool:
    return any(root in (path, *path.parents) for path in paths for root in roots)
