"""The agent's files: its key, its settings, the last good map. Written whole or not at all, for root alone."""

import json
import logging
import os
from pathlib import Path

import attrs
from google.protobuf.message import DecodeError

from meshloom.errors import ConfigError, ProtocolError
from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.management_client import new_ssh_key

_log = logging.getLogger(__name__)

FORMAT = b"meshloom map 1\n"


@attrs.frozen
class AgentSettings:
    """What the user told this agent; kept over restarts.

    Args:
        up: Whether it shall be connected.
        excluded_interfaces: Beginnings of names of interfaces whose addresses are not offered.
    """

    management_url: str = ""
    hostname: str = ""
    interface: str = "ml0"
    port: int = 51820
    mtu: int = 0
    ipv6: bool = True
    excluded_interfaces: tuple[str, ...] = ()
    up: bool = False


class StateDir:
    """The folder of one agent.

    Raises:
        ConfigError: It cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--state-dir {path}: cannot be made: {error.strerror}; run as root") from error
        if not os.access(path, os.W_OK):
            raise ConfigError(f"--state-dir {path}: cannot be written; run as root")

    def key(self) -> PrivateKey:
        """This machine's WireGuard key, made when first asked for."""
        file = self.path / "private.key"
        try:
            return PrivateKey.parse(file.read_text())
        except FileNotFoundError:
            pass
        except (ProtocolError, UnicodeDecodeError):
            self._set_aside(file)
        made = PrivateKey.of(os.urandom(32))
        self._write(file, (made.reveal() + "\n").encode())
        return made

    def ssh_key(self) -> bytes:
        """The public SSH key that others are told of."""
        file = self.path / "ssh.pub"
        if not file.exists():
            self._write(file, new_ssh_key())
        return file.read_bytes()

    def settings(self) -> AgentSettings:
        """What the user told; defaults where the file is missing or broken."""
        file = self.path / "settings.json"
        try:
            content = json.loads(file.read_text())
            known = {field.name for field in attrs.fields(AgentSettings)}
            made = AgentSettings(**{name: value for name, value in content.items() if name in known})
            return attrs.evolve(made, excluded_interfaces=tuple(made.excluded_interfaces))
        except FileNotFoundError:
            return AgentSettings()
        except (ValueError, TypeError, AttributeError):
            self._set_aside(file)
            return AgentSettings()

    def keep_settings(self, settings: AgentSettings) -> None:
        """For the next start."""
        self._write(self.path / "settings.json", json.dumps(attrs.asdict(settings), indent=2).encode())

    def last_map(self) -> pb.SyncResponse | None:
        """What management said last; None where there is nothing good."""
        file = self.path / "map"
        try:
            data = file.read_bytes()
            if not data.startswith(FORMAT):
                raise DecodeError("not of this format")
            return pb.SyncResponse.FromString(data[len(FORMAT) :])
        except FileNotFoundError:
            return None
        except (DecodeError, OSError):
            self._set_aside(file)
            return None

    def keep_map(self, response: pb.SyncResponse) -> None:
        """For a start without management; that it cannot be written (disk full) does not stop the mesh."""
        try:
            self._write(self.path / "map", FORMAT + response.SerializeToString())
        except OSError as error:
            _log.warning("the network map could not be kept in %s: %s", self.path, error.strerror)

    def forget_map(self) -> None:
        """There is no mesh any more."""
        (self.path / "map").unlink(missing_ok=True)

    def _set_aside(self, file: Path) -> None:
        broken = file.with_name(file.name + ".broken")
        try:
            file.replace(broken)
        except OSError:
            return
        _log.error("%s could not be read and was moved aside to %s", file, broken)

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        draft = file.with_name(file.name + ".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(file)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
