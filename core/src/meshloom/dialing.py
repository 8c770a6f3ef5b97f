"""TCP connections for transports: through a proxy, by a hint, with the kernel's buffers checked; TLS of clients."""

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from ipaddress import ip_address
from itertools import chain, zip_longest
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import anyio

from meshloom.errors import ConfigError, TransportError, words_of
from meshloom.transport import RelayAddress, TransportContext

_log = logging.getLogger(__name__)

NEXT_ADDRESS_AFTER = 0.25
"""Seconds until another address is tried beside the one that does not answer (RFC 8305, section 5)."""
LONGEST_ANSWER = 16 * 1024
UNSENT = 128 * 1024
"""Bytes that the kernel takes before they are on their way: what waits longer is better dropped than late."""
LIMITS = {
    "receive": (socket.SO_RCVBUF, getattr(socket, "SO_RCVBUFFORCE", 33), Path("/proc/sys/net/ipv4/tcp_rmem")),
    "send": (socket.SO_SNDBUF, getattr(socket, "SO_SNDBUFFORCE", 32), Path("/proc/sys/net/ipv4/tcp_wmem")),
}

Target = tuple[socket.AddressFamily, tuple[object, ...]]


async def dial(address: RelayAddress, context: TransportContext) -> socket.socket:
    """A connected TCP socket to a relay, through the context's proxy where it names one; give up by cancelling.

    Raises:
        TransportError: It cannot be reached; the text names the address.
    """
    try:
        if not context.proxy:
            return await _connect(address.hosts, address.port, context)
        return await _through_proxy(address, context)
    except OSError as error:
        raise TransportError(f"{address} cannot be reached: {words_of(error)}") from error


def client_tls(context: TransportContext) -> ssl.SSLContext:
    """TLS of a client that trusts the system's certificates and those of the context.

    Raises:
        ConfigError: The context's are no certificates.
    """
    made = ssl.create_default_context()
    made.set_alpn_protocols(["http/1.1"])
    if context.extra_roots:
        try:
            made.load_verify_locations(cadata=context.extra_roots.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise ConfigError(f"the extra root certificates are no certificates in PEM: {words_of(error)}") from error
    return made


def prepare_stream(made: socket.socket, wanted: int) -> None:
    """Send small messages at once, and see that the kernel's buffers may grow to *wanted* bytes in each direction.

    Linux sizes a TCP socket's buffers as its path needs, up to a bound of the host (tcp(7)). Only where that is too
    low they are set, which takes privileges; what cannot be had is said in the log, once.
    """
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    for direction, (option, force, file) in LIMITS.items():
        most = _bound(file)
        if most >= wanted:
            continue
        try:
            made.setsockopt(socket.SOL_SOCKET, force, wanted)
        except OSError:
            _say_less(direction, wanted, most, str(file))
            continue
        got = made.getsockopt(socket.SOL_SOCKET, option)
        if got < wanted:
            _say_less(direction, wanted, got, str(file))


@cache
def _bound(file: Path) -> int:
    try:
        return int(file.read_text().split()[2])
    except (OSError, ValueError, IndexError):
        return 0


@cache
def _say_less(direction: str, wanted: int, got: int, file: str) -> None:
    less = (
        "the kernel gives %d bytes of %s buffer where %d are wanted, which slows down fast paths: raise the last of %s"
    )
    _log.warning(less, got, direction, wanted, file)


async def first_to_connect(addresses: Sequence[str], port: int) -> str:
    """Returns the first of several addresses that takes a TCP connection; the first of all where none does."""
    try:
        made = await _connect(addresses, port, TransportContext())
    except OSError:
        return addresses[0]
    try:
        return str(made.getpeername()[0])
    except OSError:
        return addresses[0]
    finally:
        made.close()


async def _connect(hosts: Sequence[str], port: int, context: TransportContext) -> socket.socket:
    """Connect to the first address of the hosts that answers, later ones joining in while earlier ones do not."""
    targets = [target for host in hosts for target in await _resolve(host, port)]
    connected: list[socket.socket] = []
    failed: list[OSError] = []

    async def attempt(target: Target, over: anyio.Event) -> None:
        try:
            made = await _connect_one(target, context)
        except OSError as error:
            failed.append(error)
        else:
            connected.append(made)
            if len(connected) == 1:
                tasks.cancel_scope.cancel()
        over.set()

    try:
        async with anyio.create_task_group() as tasks:
            for target in targets:
                over = anyio.Event()
                tasks.start_soon(attempt, target, over)
                with anyio.move_on_after(NEXT_ADDRESS_AFTER):
                    await over.wait()
    except BaseException:
        for made in connected:
            made.close()
        raise
    for made in connected[1:]:
        made.close()
    if connected:
        return connected[0]
    raise failed[0]


async def _resolve(host: str, port: int) -> list[Target]:
    """Addresses of a host, families in turn, in the order of the system's preference."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = found[0][0]
    preferred = [each for each in found if each[0] == first]
    other = [each for each in found if each[0] != first]
    mixed = chain.from_iterable(zip_longest(preferred, other))
    return [(each[0], each[4]) for each in mixed if each is not None]


async def _connect_one(target: Target, context: TransportContext) -> socket.socket:
    family, address = target
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        prepare_stream(made, context.socket_buffer)
        if context.fwmark:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, context.fwmark)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def parsed_proxy(url: str) -> SplitResult:
    """Returns the parts of an HTTP proxy's URL, which has a host.

    Raises:
        TransportError: It cannot be used; its password is not repeated.
    """
    try:
        proxy = urlsplit(url)
        is_good = proxy.scheme == "http" and bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise TransportError("the proxy's URL is none that can be used: write http://[user:password@]host:port")
    return proxy


async def _through_proxy(address: RelayAddress, context: TransportContext) -> socket.socket:
    """Connect by way of an HTTP proxy (CONNECT, RFC 9110 section 9.3.6)."""
    proxy = parsed_proxy(context.proxy)
    made = await _connect((proxy.hostname or "",), proxy.port or 80, context)
    try:
        await _ask_for_tunnel(made, address, _credentials(proxy.username, proxy.password))
    except BaseException:
        made.close()
        raise
    return made


def _credentials(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    both = f"{unquote(user)}:{unquote(password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(both.encode()).decode()}\r\n"


async def _ask_for_tunnel(made: socket.socket, address: RelayAddress, credentials: str) -> None:
    loop = asyncio.get_running_loop()
    host = address.ip or address.host
    where = f"[{host}]:{address.port}" if _is_v6(host) else f"{host}:{address.port}"
    await loop.sock_sendall(made, f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{credentials}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        more = await loop.sock_recv(made, LONGEST_ANSWER)
        answer += more
        if not more or len(answer) > LONGEST_ANSWER:
            raise TransportError(f"{address} cannot be reached: the proxy's answer is no end of a request")
    status = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    code = status.split(" ")[1] if status.startswith("HTTP/1.") and " " in status else ""
    if code == "407":
        raise TransportError(f"{address} cannot be reached: the proxy wants a user and a password, or others")
    if not code.startswith("2"):
        raise TransportError(f"{address} cannot be reached: the proxy refuses: {status[:200]!r}")


def _is_v6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False
