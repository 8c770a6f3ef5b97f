"""One validation of the daemon's configuration: ``config check`` tells what the start refuses."""

import grp
import os
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from meshloom.config.problems import gather
from meshloom.dialing import parsed_proxy
from meshloom.errors import ConfigError, TransportError, words_of
from meshloom.log_levels import level_number
from meshloom.service import Setup, read_setup
from meshloom_agent.config import KINDS, AgentConfig
from meshloom_agent.files import AgentSettings
from meshloom_agent.path_settings import in_environment, mesh_options

MAX_PORT = 0xFFFF


def read_checked(file: Path | None, environment: Mapping[str, str] = os.environ) -> Setup[AgentConfig]:
    """Reads everything that the daemon can be told, and checks it; nothing is started.

    Raises:
        ConfigError: Everything that is wrong.
        PluginError: A plugin cannot be loaded.
    """
    setup = read_setup(AgentConfig, KINDS, file, environment=environment)
    config = setup.config
    gather(
        partial(level_number, config.log_level),
        partial(_check_metrics, config.metrics),
        partial(extra_certificates, config.extra_roots),
        partial(_check_proxy, config.proxy),
        partial(group_id, config.socket_group),
        partial(checked_environment, config, environment),
        source=setup.source,
    )
    return setup


def check_given(log_level: str, metrics: str) -> None:
    """Checks what the command line says in place of the configuration; empty texts say nothing.

    Raises:
        ConfigError: Everything that is wrong.
    """
    gather(*((partial(level_number, log_level),) if log_level else ()), partial(_check_metrics, metrics))


def _check_metrics(text: str) -> None:
    """Looks whether this host has the address; its port is not touched."""
    if not text:
        return
    host, _ = metrics_address(text)
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConfigError(f"metrics = {text!r}: cannot listen there: {words_of(error)}") from error


def _check_proxy(url: str) -> None:
    try:
        if url:
            parsed_proxy(url)
    except TransportError as error:
        raise ConfigError(f"proxy: {error}") from error  # without the value, which may hold a password


def metrics_address(text: str) -> tuple[str, int]:
    """Returns host and port of ``host:port``.

    Raises:
        ConfigError: It is not such an address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > MAX_PORT:
        raise ConfigError(f"metrics = {text!r}: no address; write host:port, such as 127.0.0.1:9091")
    return host.strip("[]"), int(port)


def extra_certificates(file: str) -> bytes:
    """Returns the certificates of a file, as PEM; none where no file is named.

    Raises:
        ConfigError: It cannot be read, or holds none.
    """
    if not file:
        return b""
    try:
        data = Path(file).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"extra_roots = {file!r}: holds no certificates; they are PEM texts") from error
    except OSError as error:
        raise ConfigError(f"extra_roots = {file!r}: cannot be read: {error.strerror}") from error
    return data


def group_id(name: str) -> int | None:
    """Returns the number of a group; None where none is named.

    Raises:
        ConfigError: There is no such group.
    """
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError as error:
        raise ConfigError(f"socket_group = {name!r}: there is no such group") from error


def checked_environment(config: AgentConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """What the daemon goes by: its environment, and the configuration's word on the router's port.

    Raises:
        ConfigError: A variable's value cannot be.
    """
    made = dict(environment)
    if not config.port_mapping:
        made["NB_DISABLE_NAT_MAPPER"] = "true"
    mesh_options(in_environment(AgentSettings(), made), made)
    return made
