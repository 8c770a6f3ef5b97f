"""One HTTP request of a server, and what its answer says of the network in between."""

import asyncio
import os
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import anyio
import attrs

LONGEST = 16 * 1024
"""Bytes that are read of an answer."""
WITHIN = 15.0
"""Seconds for two connections, TLS and the answer."""
PATH = "/api/instance"
"""What every management server answers without a login, with JSON."""


@attrs.frozen
class WebAnswer:
    """What came of a request.

    Args:
        error: Why there is no answer; empty where there is one.
        distrust: Why the certificate is not trusted; empty where it is, or was not looked at.
        connected_after: Seconds until the TCP connection was there, 0 where it never was.
        received: When the answer came, as this machine's clock says.
    """

    url: str
    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    error: str = ""
    distrust: str = ""
    connected_after: float = 0.0
    received: datetime | None = None

    @property
    def skew(self) -> float | None:
        """Seconds that this machine's clock is ahead of the server's; None where the server tells no date."""
        try:
            date = parsedate_to_datetime(self.headers.get("date", ""))
        except (TypeError, ValueError):
            return None
        if date.tzinfo is None or self.received is None:
            return None
        return (self.received - date).total_seconds()

    @property
    def portal(self) -> str:
        """Why this looks like a captive portal in place of the server; empty where it does not."""
        location = parts_of(self.headers.get("location", ""))
        if self.status == 511:  # RFC 6585 section 6
            return "the network asks for a login"
        if self.status in (301, 302, 303, 307, 308) and location.hostname not in (None, parts_of(self.url).hostname):
            return f"the request was redirected to {location.hostname}"
        if self.status == 200 and self.headers.get("content-type", "").startswith("text/html"):
            return "a page came in place of the server's answer"
        if self.distrust:
            return f"a certificate came that nobody here trusts ({self.distrust}), unless it is your own: --extra-roots"
        return ""


def parts_of(url: str) -> SplitResult:
    """Returns the parts of a URL that others wrote; none where it cannot be read."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


async def ask(url: str, extra_roots: bytes = b"", within: float = WITHIN) -> WebAnswer:
    """Ask a server for ``PATH``; never raises for what the network or the server does."""
    answer = WebAnswer(url)
    with anyio.move_on_after(within):
        try:
            return await _ask(url, extra_roots)
        except ssl.SSLCertVerificationError as error:
            return attrs.evolve(answer, error="its certificate is not trusted", distrust=error.verify_message)
        except (OSError, ssl.SSLError, ValueError) as error:
            return attrs.evolve(answer, error=why(error))
    return attrs.evolve(answer, error=f"no answer within {within:.0f} s")


async def _ask(url: str, extra_roots: bytes) -> WebAnswer:
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    began = anyio.current_time()
    stream = await anyio.connect_tcp(host, port)
    await stream.aclose()
    connected_after = anyio.current_time() - began
    context = None
    if tls:
        context = ssl.create_default_context()
        if extra_roots:
            context.load_verify_locations(cadata=extra_roots.decode("ascii"))
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        shown = f"[{host}]" if ":" in host else host
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {shown}\r\nAccept: application/json\r\n\r\n".encode("ascii"))
        await writer.drain()
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.LimitOverrunError as error:
        raise ValueError("its answer's head does not end") from error
    except asyncio.IncompleteReadError as error:
        raise ValueError("it closed the connection") from error
    finally:
        writer.close()
    return WebAnswer(url, status, headers, connected_after=connected_after, received=datetime.now(UTC))


def why(error: BaseException) -> str:
    """A failure of the network in words: the operating system's own, where it is behind the error."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    said = cause if isinstance(cause, OSError) else error
    number = getattr(said, "errno", None)
    if number and not isinstance(said, socket.gaierror | ssl.SSLError):
        return os.strerror(number)
    return str(getattr(said, "strerror", None) or said or repr(said))


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields of an answer's head, names in lower case.

    Raises:
        ValueError: It is none of HTTP/1.
    """
    first, *lines = head[:LONGEST].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal() or not rest[:3].isascii():
        raise ValueError("it does not speak HTTP")
    fields = (line.partition(":") for line in lines if ":" in line)
    return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in fields}
