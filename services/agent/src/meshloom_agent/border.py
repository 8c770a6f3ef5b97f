"""Where the servers that management names are: found and checked right before each connection."""

import logging
import socket
from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_address
from urllib.request import getproxies_environment

import anyio
import attrs

from meshloom.dialing import first_to_connect
from meshloom.errors import TransportError, words_of
from meshloom.model.overlay import IPAddress, IPNetwork
from meshloom.transport import RelayAddress
from meshloom_agent.channel import ServerAddress
from meshloom_agent.report import Report
from meshloom_agent.trust import MOST_TOLD, Surroundings, host_and_port
from meshloom_agent.unfit import unfit_server

_log = logging.getLogger(__name__)

PART = "server addresses"


class ServerRefused(OSError):
    """A server is not to be connected to, or has no address."""


class Border:
    """The servers of one engine.

    Args:
        report: Where to note what is refused.
        around: Returns where management is.
        overlay: Returns the networks of the mesh.
        chosen: Hosts and ports that the user has named himself: these may be anywhere.
        by_name: Whether a proxy finds the addresses of relays.
    """

    def __init__(
        self,
        report: Report,
        around: Callable[[], Surroundings],
        overlay: Callable[[], Collection[IPNetwork]],
        *,
        chosen: Collection[tuple[str, int]] = (),
        by_name: bool = False,
    ) -> None:
        self._report, self._around, self._overlay = report, around, overlay
        self._chosen, self._by_name = chosen, by_name
        self._seen: set[IPAddress] = set()
        self._refused: dict[tuple[str, str, int], str] = {}
        self._fit: dict[tuple[str, str, int], list[str]] = {}

    def refusal(self, address: str) -> str:
        """Returns why no server may be at an address; empty where one may."""
        around = self._around()
        self._seen |= around.management  # a name that leads now here and now there opens nothing
        around = attrs.evolve(around, management=frozenset(self._seen))
        return unfit_server(ip_address(address), around, self._overlay())

    def forget(self, named: Collection[tuple[str, int]]) -> None:
        """Forgets what was found of servers that are not named any more."""
        for table in (self._refused, self._fit):
            for key in [each for each in table if each[1:] not in named]:
                del table[key]
        self._tell()

    @property
    def servers(self) -> dict[IPAddress, str]:
        """The addresses of servers that are used now, each with its kind: an overlay must not cut them off."""
        return {ip_address(text): kind for (kind, _, _), texts in self._fit.items() for text in texts}

    async def addresses(self, kind: str, host: str, port: int) -> list[str]:
        """Returns the addresses of a server that may be connected to, best first.

        Raises:
            ServerRefused: There is none.
        """
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ServerRefused(f"{host} has no address: {words_of(error)}") from error
        texts = list(dict.fromkeys(str(address[0]) for *_, address in found))
        is_chosen = (host, port) in self._chosen
        whose = {text: why for text in texts if not is_chosen and (why := self.refusal(text))}
        self._note((kind, host, port), whose)
        fit = [text for text in texts if text not in whose]
        self._fit[kind, host, port] = fit
        if not fit:
            raise ServerRefused(_words(kind, host, port, whose))
        return fit

    async def stuns(self, servers: Sequence[tuple[str, int]], *, ipv6: bool) -> list[tuple[str, int]]:
        """Returns the addresses of STUN servers that may be asked, each with its port."""
        found = []
        for host, port in servers:
            try:
                fit = await self.addresses("STUN", host, port)
            except ServerRefused as error:
                _log.warning("the STUN server %s:%d is not asked: %s", host, port, error)
                continue
            found += [(each, port) for each in fit if ipv6 or ":" not in each]
        return found

    async def relay(self, address: RelayAddress) -> RelayAddress:
        """Returns a relay's address with what to connect to.

        Raises:
            TransportError: It must not be connected to, or cannot be found.
        """
        if self._by_name and not _is_literal(address.host):
            return address
        try:
            return attrs.evolve(address, ips=tuple(await self.addresses("relay", address.host, address.port)))
        except ServerRefused as error:
            raise TransportError(str(error)) from error

    async def signal(self, server: ServerAddress) -> ServerAddress:
        """Returns where signal is, with the address to connect to: of several, the first that takes a connection.

        Raises:
            ServerRefused: It must not be connected to, or cannot be found.
        """
        host, port = host_and_port(server.target) or ("", 0)
        try:
            fit = await self.addresses("signal", host, port)
        except ServerRefused as error:
            if isinstance(error.__cause__, OSError) and getproxies_environment():
                return server  # the proxy may find it
            raise
        return attrs.evolve(server, ip=fit[0] if len(fit) == 1 else await first_to_connect(fit, port))

    # -- inside ------------------------------------------------------------------------------------------------

    def _note(self, key: tuple[str, str, int], whose: dict[str, str]) -> None:
        self._refused.pop(key, None)
        if whose:
            while len(self._refused) >= MOST_TOLD:
                del self._refused[next(iter(self._refused))]
            self._refused[key] = _words(*key, whose)
        self._tell()

    def _tell(self) -> None:
        self._report.refuse(PART, tuple(self._refused.values()))


def _words(kind: str, host: str, port: int, whose: dict[str, str]) -> str:
    at = " and ".join(f"{address}, which is {why}" for address, why in list(whose.items())[:3])
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"the {kind} server {where} is not used at {at}"


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
