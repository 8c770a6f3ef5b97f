"""A network map as the agent uses it; entries that cannot be are left out and said, never a reason to fall."""

import logging
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_network
from urllib.parse import parse_qs

import attrs

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol.relay_address import RelayAddress
from meshloom.protocol.relay_token import join_token
from meshloom.rpc import management_pb2 as pb
from meshloom.tunnel import IPInterface
from meshloom_agent.channel import ServerAddress
from meshloom_agent.mesh import RemotePeer, place_of
from meshloom_agent.relays import RelayTokens
from meshloom_agent.turn import TurnServer

_log = logging.getLogger(__name__)

MAX_PORT = 0xFFFF
MOST_RELAYS = 64
"""Relays that management may tell of; further ones are ignored."""


@attrs.frozen
class OwnAddress:
    """What this machine is in the mesh."""

    addresses: tuple[IPInterface, ...]
    fqdn: str
    mtu: int


def own_address(config: pb.PeerConfig) -> OwnAddress:
    """From what management says of this machine.

    Raises:
        ProtocolError: There is no address in it.
    """
    try:
        addresses: list[IPInterface] = [IPv4Interface(config.address)]
        if len(config.address_v6) == 17:
            addresses.append(IPv6Interface((IPv6Address(config.address_v6[:16]), config.address_v6[16])))
    except ValueError as error:
        raise ProtocolError(f"management gave no overlay address: {error}") from error
    return OwnAddress(tuple(addresses), config.fqdn, config.mtu)


def remote_peers(network_map: pb.NetworkMap, own: PublicKey, *, ipv6: bool) -> dict[PublicKey, RemotePeer]:
    """The peers to connect with."""
    found: dict[PublicKey, RemotePeer] = {}
    for entry in network_map.remotePeers:
        try:
            key = PublicKey.parse(entry.wgPubKey)
            networks = tuple(ip_network(text, strict=False) for text in entry.allowedIps)
        except (ProtocolError, ValueError) as error:
            _log.error("a peer of the network map is left out (%s): %s", entry.fqdn, error)
            continue
        usable = tuple(network for network in networks if ipv6 or network.version == 4)
        if key != own and usable:
            found[key] = RemotePeer(usable, entry.fqdn, entry.agentVersion)
    return found


def signal_address(config: pb.NetbirdConfig) -> ServerAddress | None:
    """Where signal is."""
    if not config.signal.uri:
        return None
    return ServerAddress(config.signal.uri, config.signal.protocol == pb.HostConfig.HTTPS)


def stun_servers(config: pb.NetbirdConfig) -> list[tuple[str, int]]:
    """Hosts and ports of the STUN servers."""
    found = []
    for entry in config.stuns:
        host, _, port = entry.uri.removeprefix("stun:").partition("?")[0].rpartition(":")
        if host and port.isdecimal() and 0 < int(port) <= MAX_PORT and _is_name(host):
            found.append((host.strip("[]"), int(port)))
    return found


def _is_name(host: str) -> bool:
    """Whether the host's address can be asked for: what cannot be encoded raises what no lookup does."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


@attrs.frozen
class ToldRelays:
    """The relays that management tells of.

    Args:
        urls: Those to be at home at, best first.
        known: All at which peers may be at home.
    """

    urls: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    tokens: RelayTokens = RelayTokens()


def relays(config: pb.NetbirdConfig) -> ToldRelays:
    """The relays of a configuration, and the tokens that they accept; empty where there are none."""
    told = config.relay
    if not (urls := _relay_urls(told.urls)):
        return ToldRelays()
    try:
        classic = join_token(told.tokenPayload, told.tokenSignature)
    except ProtocolError as error:
        _log.error("management's relays are not used: %s", error)
        return ToldRelays()
    naming = _relay_urls(told.named.urls)
    try:
        named = join_token(told.named.payload, told.named.signature) if naming else b""
    except ProtocolError as error:
        _log.error("management's token with this machine's name is not used: %s", error)
        named = b""
    known = tuple(dict.fromkeys((*urls, *naming)))
    return ToldRelays(urls, known, RelayTokens(classic, named, frozenset(map(place_of, naming))))


def _relay_urls(texts: Iterable[str]) -> tuple[str, ...]:
    """Those that are addresses of relays, each once, and no more than :data:`MOST_RELAYS`."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            found[str(RelayAddress.parse(text))] = None
        except ProtocolError as error:
            _log.error("a relay that management tells of is not used: %s", error)
        if len(found) >= MOST_RELAYS:
            break
    return tuple(found)


def turn_servers(config: pb.NetbirdConfig) -> list[TurnServer]:
    """The TURN servers, each with its credentials."""
    found = []
    for entry in config.turns:
        scheme, _, rest = entry.hostConfig.uri.partition(":")
        where, _, query = rest.partition("?")
        host, _, port = where.rpartition(":")
        transport = parse_qs(query).get("transport", ["tcp" if scheme == "turns" else "udp"])[0]
        if scheme in ("turn", "turns") and host and port.isdecimal() and transport in ("udp", "tcp"):
            tls = scheme == "turns"
            found.append(
                TurnServer(host.strip("[]"), int(port), "tcp" if tls else transport, tls, entry.user, entry.password)
            )
        else:
            _log.error("the TURN server %s is not used: its URI is turn:host:port?transport=udp or tcp", where)
    return found


def external_addresses(mapped: Sequence[str], interfaces: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Addresses of routers that hand our port on to us, each with ours behind it (empty where it is any).

    Args:
        mapped: ``outer``, or ``outer/inner`` with an address or the name of an interface.
        interfaces: Our addresses, each with its interface's name.
    """
    found = []
    for text in mapped:
        outer, _, inner = text.partition("/")
        family = [(address, name) for address, name in interfaces if (":" in address) == (":" in outer)]
        behind = [address for address, name in family if inner in ("", address, name)]
        if behind:
            found.append((outer, behind[0]))
        else:
            _log.warning("--external-ip-map %s: this machine has no such address or interface now", text)
    return found


def is_refused(old: pb.NetworkMap | None, new: pb.NetworkMap, serial: int) -> str:
    """Why a map is not applied; empty where it is.

    One that takes most peers away is believed only when it is newer, and one that takes all only when it says so on
    purpose, too: a management with a fault of its own must not take the mesh down.
    """
    if new.Serial < serial:
        return f"its serial {new.Serial} is older than {serial}"
    before, after = len(old.remotePeers) if old is not None else 0, len(new.remotePeers)
    if after * 2 >= before:
        return ""
    if serial and new.Serial == serial:
        return f"it has {after} peers instead of {before}, but is no newer (serial {serial})"
    if not after and not new.remotePeersIsEmpty:
        return "it has no peers, but does not say that this is meant"
    return ""
