"""The agent's files: its key, its settings, the last good map. Written whole or not at all, for root alone."""

import base64
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from google.protobuf.message import DecodeError

from meshloom.config.convert import structure
from meshloom.errors import ConfigError, MeshError, ProtocolError, words_of
from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.permission import reason

_log = logging.getLogger(__name__)
T = TypeVar("T")

KEPT = ("private.key", "preshared.key", "ssh.pub", "settings.json", "servers.json", "map", "unit.sha256", "lock")
"""Files of the folder; the lock goes last."""
FORMAT = b"meshloom map 1\n"
SSH_KEY = re.compile(rb"ssh-[a-z0-9-]+ [A-Za-z0-9+/=]{32,4000}")
READ_ONLY = "its disk is mounted for reading alone"
DIGEST = 32
"""Bytes of SHA-256 after the format's line: half of a protobuf message reads as a smaller one."""


class StateError(MeshError):
    """A file of the agent's cannot be read or written: disk full, no permission."""


@attrs.frozen
class AgentSettings:
    """What the user told this agent; kept over restarts.

    Args:
        up: Whether it shall be connected.
        lazy: Whether peers sleep until there is traffic; None for what management says.
        excluded_interfaces: Beginnings of names of interfaces whose addresses are not offered.
        external_ips: Addresses of routers that hand WireGuard's port on to here: ``outer``, or ``outer/inner`` with the
            address or the name of the interface behind it.
        force_relay: No direct paths.
        relays: Whether relays of the mesh are used.
        home_relays: Relays to use instead of those that management tells of.
        relay_transport: ``auto``, ``quic``, ``ws``, ``prefer-quic`` or ``prefer-ws``.
        ipv6_discovery: Whether paths over IPv6 are looked for.
        port_mapping: Whether the router is asked to hand WireGuard's port on to here.
    """

    management_url: str = ""
    hostname: str = ""
    interface: str = "ml0"
    port: int = 51820
    mtu: int = 0
    ipv6: bool = True
    excluded_interfaces: tuple[str, ...] = ()
    lazy: bool | None = None
    external_ips: tuple[str, ...] = ()
    force_relay: bool = False
    relays: bool = True
    home_relays: tuple[str, ...] = ()
    relay_transport: str = "auto"
    ipv6_discovery: bool = True
    port_mapping: bool = True
    up: bool = False


@attrs.frozen
class KnownServer:
    """What is kept of a management server.

    Args:
        key: Its public key, as text.
        proves: Whether it proved that its answers are fresh.
    """

    key: str
    proves: bool = False


class StateDir:
    """The folder of one agent.

    What would end this machine's membership if it were lost is never replaced: a key that cannot be read is an error
    that says what to do, and settings have a copy.

    Raises:
        ConfigError: It cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--state-dir {path}: cannot be made: {reason(error)}") from error
        if not os.access(path, os.W_OK):
            raise ConfigError(f"--state-dir {path}: cannot be written; {'run as root' if os.geteuid() else READ_ONLY}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No second agent on this folder; the lock is gone with whoever held it.

        Raises:
            ConfigError: Another agent has it.
        """
        file = self.path / "lock"
        try:
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be made: {error.strerror}; check the disk and --state-dir") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(f"--state-dir {self.path}: another agent runs there; give each its own") from error
            yield
        finally:
            os.close(lock)

    def key(self) -> PrivateKey:
        """Returns this machine's WireGuard key, made when first asked for.

        Raises:
            StateError: There is a key file that holds no key, or there was one: another key would be another machine.
        """
        file = self.path / "private.key"
        if (data := self._read(file)) is not None:
            try:
                return PrivateKey.parse(data.decode())
            except (ProtocolError, UnicodeDecodeError):
                raise StateError(
                    f"{file}: holds no key, and is what this machine is known by: put a copy of it back, or start as a"
                    " new machine with `meshloom logout --local`"
                ) from None
        if (self.path / "map").exists():
            raise StateError(
                f"{file}: is missing, though this machine has joined: put a copy of it back, or start as a new machine"
                " with `meshloom logout --local`"
            )
        made = PrivateKey.of(os.urandom(32))
        self._write(file, (made.reveal() + "\n").encode())
        return made

    def ssh_key(self) -> bytes:
        """The public SSH key that others are told of."""
        file = self.path / "ssh.pub"
        if (data := self._read(file)) is not None:
            if SSH_KEY.fullmatch(data):
                return data
            self._set_aside(file)
        made = new_ssh_key()
        self._write(file, made)
        return made

    def preshared_key(self) -> PresharedKey | None:
        """Returns the symmetric key that all machines share in addition; None where there is none.

        Raises:
            StateError: The file holds no key: going on without it would be weaker than the user asked for.
        """
        file = self.path / "preshared.key"
        data = self._read(file)
        try:
            return PresharedKey.parse(data.decode()) if data else None
        except (ProtocolError, UnicodeDecodeError):
            raise StateError(
                f"{file}: holds no key: give it again with `meshloom up --preshared-key`, empty for none"
            ) from None

    def keep_preshared_key(self, text: str) -> None:
        """From now on this one; the empty text for none.

        Raises:
            ConfigError: It is no key; the message does not hold it.
            StateError: It cannot be written.
        """
        file = self.path / "preshared.key"
        if not text:
            self._remove(file)
            return
        try:
            PresharedKey.parse(text)
        except ProtocolError as error:
            raise ConfigError(f"--preshared-key: {error}; make one with `wg genpsk`") from None
        self._write(file, text.strip().encode() + b"\n")

    def settings(self) -> AgentSettings:
        """Returns what the user told, from the copy where the file is broken; defaults where there is nothing good."""
        return self._kept("settings.json", _settings) or AgentSettings()

    def keep_settings(self, settings: AgentSettings) -> None:
        """Keeps them for the next start.

        Raises:
            StateError: They cannot be written.
        """
        self._keep("settings.json", attrs.asdict(settings))

    def servers(self) -> dict[str, KnownServer]:
        """Returns what is kept of management servers, by their URLs, the oldest first."""
        return self._kept("servers.json", _servers) or {}

    def keep_servers(self, servers: Mapping[str, KnownServer]) -> None:
        """Keeps them for the next start.

        Raises:
            StateError: They cannot be written.
        """
        self._keep("servers.json", {url: attrs.asdict(server) for url, server in servers.items()})

    def last_map(self) -> pb.SyncResponse | None:
        """What management said last; None where there is nothing good."""
        file = self.path / "map"
        try:
            data = self._read(file)
            if data is None:
                return None
            head, body = data[: len(FORMAT) + DIGEST], data[len(FORMAT) + DIGEST :]
            if head != FORMAT + hashlib.sha256(body).digest():
                raise DecodeError("not of this format, or not whole")
            return pb.SyncResponse.FromString(body)
        except (DecodeError, StateError):
            self._set_aside(file)
            return None

    def keep_map(self, body: bytes) -> None:
        """An encoded response for a start without management; a full disk does not stop the mesh."""
        try:
            self._write(self.path / "map", FORMAT + hashlib.sha256(body).digest() + body)
        except StateError as error:
            _log.warning("the network map is not kept: %s", error)

    def forget_map(self) -> None:
        """There is no mesh any more; a disk that cannot be written does not keep the agent from knowing that now."""
        try:
            self._remove(self.path / "map")
        except StateError as error:
            _log.warning("%s: a start without management would use it", error)

    def restart_serials(self) -> None:
        """Lets a map of any serial follow the kept one: the account is another one, by the user's own act."""
        kept = self.last_map()
        if kept is not None and kept.NetworkMap.Serial:
            kept.NetworkMap.Serial = 0
            self.keep_map(kept.SerializeToString())

    def forget_account(self) -> None:
        """Makes room for another account, where the user leaves one: the map goes, a broken key is moved aside."""
        self.forget_map()
        file = self.path / "private.key"
        try:
            if (data := self._read(file)) is not None:
                PrivateKey.parse(data.decode())
        except (ProtocolError, UnicodeDecodeError, StateError):
            self._set_aside(file)

    def forget_all(self) -> list[str]:
        """Removes all that an agent keeps, and the folder; returns the names of files that others put there.

        Raises:
            StateError: A file cannot be removed.
        """
        for name in (*KEPT, *(f"{name}{ending}" for name in KEPT for ending in (".copy", ".new", ".broken"))):
            self._remove(self.path / name)
        left = sorted(each.name for each in self.path.iterdir())
        if not left:
            self.path.rmdir()
        return left

    def _kept(self, name: str, read: Callable[[Any], T]) -> T | None:
        """Reads a file of JSON; where it is broken, it is moved aside, and the copy of the last good one is taken."""
        for file in (self.path / name, self.path / f"{name}.copy"):
            if (data := self._read(file)) is None:
                continue  # a full disk or a kill may have left the copy alone
            try:
                made = read(json.loads(data))
            except (ConfigError, ProtocolError, ValueError, AttributeError, TypeError, KeyError):
                self._set_aside(file)
                continue
            if file.suffix == ".copy":
                _log.warning("%s: the last good copy of it is used", self.path / name)
                with contextlib.suppress(StateError):  # there is still the copy
                    self._write(self.path / name, data)
            return made
        return None

    def _keep(self, name: str, content: Mapping[str, Any]) -> None:
        data = json.dumps(content, indent=2).encode()
        self._write(self.path / name, data)
        try:
            self._write(self.path / f"{name}.copy", data)
        except StateError as error:
            _log.warning("%s: the copy is older than the file", error)

    def _set_aside(self, file: Path) -> None:
        broken = file.with_name(file.name + ".broken")
        try:
            file.replace(broken)
        except OSError as error:
            _log.error("%s can neither be read nor moved aside: %s", file, words_of(error))
            return
        _log.error("%s could not be read and was moved aside to %s", file, broken)

    @staticmethod
    def _read(file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{file}: cannot be read: {error.strerror}") from error

    @staticmethod
    def _remove(file: Path) -> None:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{file}: cannot be removed: {error.strerror}") from error

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        draft = file.with_name(file.name + ".new")
        try:
            draft.unlink(missing_ok=True)  # one that a killed agent left may have other permissions
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise StateError(f"{file}: cannot be written: {error.strerror}") from error


def _settings(content: Any) -> AgentSettings:
    known = {field.name for field in attrs.fields(AgentSettings)}
    made: AgentSettings = structure({name: value for name, value in content.items() if name in known}, AgentSettings)
    return made


def _servers(content: Any) -> dict[str, KnownServer]:
    made = {}
    for url, server in content.items():
        PublicKey.parse(server["key"])
        made[url] = KnownServer(server["key"], server.get("proves") is True)
    return made


def new_ssh_key() -> bytes:
    """A line of authorized_keys; nobody holds its private half, since this agent has no SSH server."""
    return b"ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + os.urandom(32))
