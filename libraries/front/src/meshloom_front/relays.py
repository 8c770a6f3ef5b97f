"""What a server's relay and its management must agree on: the relay's URL and the secret of tokens."""

import secrets
from pathlib import Path
from urllib.parse import urlsplit

from meshloom.errors import ConfigError, ProtocolError
from meshloom.transport import RelayAddress
from meshloom_front.config import ServerConfig, host_and_port
from meshloom_front.private_file import write_private

FILE = "relay.secret"
SECRET_BYTES = 32


def relay_url(config: ServerConfig) -> str:
    """Where peers reach the relay of this server: the text that all of them compare.

    Raises:
        ConfigError: ``relay.public_url`` is no address of a relay.
    """
    if not config.relay.public_url:
        scheme = "rels" if urlsplit(config.url).scheme == "https" else "rel"
        return f"{scheme}://{host_and_port(config.url)}"
    return checked_relay_url(config.relay.public_url, "relay.public_url")


def checked_relay_url(text: str, key: str) -> str:
    """The address of a relay, with its port, as all peers are told it.

    Raises:
        ConfigError: It is none; names the key.
    """
    try:
        return str(RelayAddress.parse(text))
    except ProtocolError as error:
        raise ConfigError(f"{key} = {error}") from error


def relay_secrets(config: ServerConfig, *, makes: bool = True) -> tuple[str, ...]:
    """The secrets of tokens, the one to sign with first; made and kept in the data folder where none is given.

    Args:
        config: The server's.
        makes: Whether a missing file is made; otherwise there is no secret yet.

    Raises:
        ConfigError: There is none in what is given, or the file cannot be read or written.
    """
    if config.relay.secret is not None:
        given = tuple(line.strip() for line in config.relay.secret.reveal().splitlines() if line.strip())
        if not given:
            raise ConfigError("relay.secret: is empty; write at least one secret, one a line")
        return given
    file = config.data_dir / FILE
    try:
        if not file.exists():
            if not makes:
                return ()
            _make(file)
        kept = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be used: {error.strerror}; check the disk, its owner and mode") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not text: restore it from a backup, or delete it") from error
    if not kept:
        raise ConfigError(f"{file} holds no secret: delete it, and another is made at the next start")
    return kept


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(file, secrets.token_urlsafe(SECRET_BYTES) + "\n")
