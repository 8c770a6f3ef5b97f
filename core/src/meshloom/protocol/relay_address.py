"""The address of a relay, as URLs write it: the one place where others' words become something to connect to."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import attrs

from meshloom.errors import ProtocolError

LONGEST_URL = 512
"""Characters; no name in the DNS has more than 253."""
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")


@attrs.frozen
class RelayAddress:
    """Where a relay is.

    Args:
        host: A name or an address without brackets; TLS checks the certificate against it.
        ip: An address to connect to in place of what ``host`` resolves to; empty for none.
        ips: The same where there are several, best first; a proxy is told the host.
    """

    host: str
    port: int
    tls: bool
    ip: str = ""
    ips: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """What to connect to: addresses, or a name that has some."""
        return self.ips or (self.ip or self.host,)

    @classmethod
    def parse(cls, url: str, ip: str = "") -> "RelayAddress":
        """From ``rel://host[:port]`` (port 80) or ``rels://host[:port]`` (TLS, port 443); a path is of no meaning.

        Nothing but printable ASCII is taken, so that what is shown of an address is harmless, whoever wrote it.

        Raises:
            ProtocolError: It is neither.
        """
        scheme, host, port = _parts(url)
        if scheme not in ("rel", "rels") or port == 0 or not _is_host(host):
            raise ProtocolError(f"{url[:200]!r}: no address of a relay; it is rel://host:port or rels://host:port")
        tls = scheme == "rels"
        return cls(host, port or (443 if tls else 80), tls, ip)

    @property
    def authority(self) -> str:
        """Host and port as an HTTP request names them: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rels' if self.tls else 'rel'}://{host}:{self.port}"


def _parts(url: str) -> tuple[str, str, int | None]:
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return "", "", None
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            return "", "", None
        return parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        return "", "", None


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return "%" not in host and bool(IPv6Address(host))
    except ValueError:
        return False
