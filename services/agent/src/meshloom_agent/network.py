"""A network map as the agent uses it; entries that cannot be are left out and said, never a reason to fall."""

import logging
from collections.abc import Collection, Sequence
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_network
from typing import TypeVar
from urllib.parse import parse_qs

import attrs

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol.relay_address import RelayAddress
from meshloom.protocol.relay_token import join_token
from meshloom.rpc import management_pb2 as pb
from meshloom.text import printable
from meshloom.tunnel import IPInterface
from meshloom_agent.channel import ServerAddress
from meshloom_agent.mesh import RemotePeer, place_of
from meshloom_agent.relays import RelayTokens
from meshloom_agent.trust import (
    LONGEST_NAME,
    LONGEST_VERSION,
    MOST_PEERS,
    MOST_SERVERS,
    AllowedAddresses,
    MapRefused,
    Refusals,
    Surroundings,
    check_overlay,
    host_and_port,
    shown_name,
)
from meshloom_agent.turn import TurnServer

_log = logging.getLogger(__name__)

MTUS = range(1280, 0x10000)
"""What an interface with IPv6 takes (RFC 8200 section 5); another one that management says counts as none."""

T = TypeVar("T")
OLDER_FIX = "if the server was restored, accept that with: meshloom up --accept-server-key"


@attrs.frozen
class OwnAddress:
    """What this machine is in the mesh.

    Args:
        mtu: Of the tunnel's interface; 0 where management says none that can be.
        lazy: Whether peers without traffic sleep.
    """

    addresses: tuple[IPInterface, ...] = ()
    fqdn: str = ""
    mtu: int = 0
    lazy: bool = False


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
    mtu = config.mtu if config.mtu in MTUS else 0
    return OwnAddress(tuple(addresses), printable(config.fqdn, LONGEST_NAME), mtu, config.LazyConnectionEnabled)


def mtu_refusal(config: pb.PeerConfig) -> tuple[str, ...]:
    """Returns what is to be said of an MTU that no interface takes; nothing where there is none, or one that can be."""
    if not config.mtu or config.mtu in MTUS:
        return ()
    return (f"the MTU {config.mtu} is not used: {MTUS.start} to {MTUS.stop - 1} can be",)


def remote_peers(
    network_map: pb.NetworkMap,
    key: PublicKey,
    own: Collection[IPInterface],
    refusals: Refusals | None = None,
    *,
    around: Surroundings | None = None,
) -> dict[PublicKey, RemotePeer]:
    """Returns the peers to connect with, each with the addresses that are its own.

    Args:
        network_map: The newest one.
        key: This machine's, which is left out.
        own: This machine's addresses in the mesh; without one of a version, peers have none of it either.
        refusals: Where to note what is not used.
        around: Addresses that no peer may have.
    """
    refusals = refusals or Refusals()
    versions = {each.version for each in own}
    allowed = AllowedAddresses(own, around or Surroundings())
    found: dict[PublicKey, RemotePeer] = {}
    for entry in network_map.remotePeers:
        try:
            peer = PublicKey.parse(entry.wgPubKey)
            networks = [ip_network(text, strict=False) for text in entry.allowedIps]
        except (ProtocolError, ValueError) as error:
            refusals.add(f"the peer {entry.fqdn} is left out: {error}")
            continue
        if peer == key:
            continue
        name = shown_name(entry.fqdn, refusals, f"the peer {peer}")
        usable = allowed.of(name or peer.text, [each for each in networks if each.version in versions], refusals)
        if usable:
            found[peer] = RemotePeer(usable, name, printable(entry.agentVersion, LONGEST_VERSION))
    return found


def signal_address(config: pb.NetbirdConfig, refusals: Refusals | None = None) -> ServerAddress | None:
    """Returns where signal is; None where management names none, or what is not a host and a port."""
    if not config.signal.uri:
        return None
    if host_and_port(config.signal.uri) is None:
        (refusals or Refusals()).add(f"the signal server {config.signal.uri} is not used: it is not host:port")
        return None
    return ServerAddress(config.signal.uri, config.signal.protocol == pb.HostConfig.HTTPS)


def stun_servers(config: pb.NetbirdConfig, refusals: Refusals | None = None) -> list[tuple[str, int]]:
    """Returns hosts and ports of the STUN servers."""
    refusals, found = refusals or Refusals(), []
    for entry in bounded(config.stuns, "STUN servers", refusals):
        server = host_and_port(entry.uri.removeprefix("stun:").partition("?")[0])
        if server is not None:
            found.append(server)
        else:
            refusals.add(f"the STUN server {entry.uri} is not used: its URI is stun:host:port")
    return found


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


def relays(config: pb.NetbirdConfig, refusals: Refusals | None = None) -> ToldRelays:
    """Returns the relays of a configuration, and the tokens that they accept; empty where there are none."""
    told, refusals = config.relay, refusals or Refusals()
    if not (urls := _relay_urls(told.urls, refusals)):
        return ToldRelays()
    try:
        classic = join_token(told.tokenPayload, told.tokenSignature)
    except ProtocolError as error:
        refusals.add(f"management's relays are not used: {error}")
        return ToldRelays()
    naming = _relay_urls(told.named.urls, refusals)
    try:
        named = join_token(told.named.payload, told.named.signature) if naming else b""
    except ProtocolError as error:
        refusals.add(f"management's token with this machine's name is not used: {error}")
        named = b""
    known = tuple(dict.fromkeys((*urls, *naming)))
    return ToldRelays(urls, known, RelayTokens(classic, named, frozenset(map(place_of, naming))))


def _relay_urls(texts: Sequence[str], refusals: Refusals) -> tuple[str, ...]:
    """Returns those that are addresses of relays, each once, and not too many."""
    found: dict[str, None] = {}
    for text in bounded(texts, "relays", refusals):
        try:
            found[str(RelayAddress.parse(text))] = None
        except ProtocolError as error:
            refusals.add(f"the relay {text} is not used: {error}")
    return tuple(found)


def named_servers(config: pb.NetbirdConfig) -> set[tuple[str, int]]:
    """Returns hosts and ports of all servers that a configuration names."""
    found = {*stun_servers(config), *((each.host, each.port) for each in turn_servers(config))}
    found |= {(each.host, each.port) for each in map(RelayAddress.parse, relays(config).known)}
    if (signal := signal_address(config)) is not None and (parted := host_and_port(signal.target)) is not None:
        found.add(parted)
    return found


def turn_servers(config: pb.NetbirdConfig, refusals: Refusals | None = None) -> list[TurnServer]:
    """Returns the TURN servers, each with its credentials."""
    refusals, found = refusals or Refusals(), []
    for entry in bounded(config.turns, "TURN servers", refusals):
        scheme, _, rest = entry.hostConfig.uri.partition(":")
        where, _, query = rest.partition("?")
        server = host_and_port(where)
        transport = parse_qs(query).get("transport", ["tcp" if scheme == "turns" else "udp"])[0]
        if scheme in ("turn", "turns") and server is not None and transport in ("udp", "tcp"):
            tls = scheme == "turns"
            found.append(TurnServer(*server, "tcp" if tls else transport, tls, entry.user, entry.password))
        else:
            refusals.add(f"the TURN server {where} is not used: its URI is turn:host:port?transport=udp or tcp")
    return found


def bounded(servers: Sequence[T], kind: str, refusals: Refusals) -> Sequence[T]:
    """Returns the first :data:`MOST_SERVERS`; that there are more is noted."""
    if len(servers) > MOST_SERVERS:
        refusals.add(f"of {len(servers)} {kind} only the first {MOST_SERVERS} are used")
    return servers[:MOST_SERVERS]


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


def usable(kept: pb.SyncResponse, around: Surroundings, refusals: Refusals | None = None) -> pb.SyncResponse | None:
    """Returns the map of the last run, unless this machine must not have the addresses in it; that is noted then."""
    try:
        check_overlay(own_address(kept.NetworkMap.peerConfig).addresses, around)
    except (MapRefused, ProtocolError) as error:
        (refusals or Refusals()).add(f"the kept network map is not used: {error}")
        return None
    return kept


def is_refused(old: pb.NetworkMap | None, new: pb.NetworkMap, serial: int) -> str:
    """Why a map is not applied; empty where it is.

    One that takes most peers away is believed only when it is newer, and one that takes all only when it says so on
    purpose, too: a management with a fault of its own must not take the mesh down.

    Args:
        old: The map that is applied; None where there is none.
        new: The map that came.
        serial: That of the newest map that was applied; 0 where any may follow, as on a stream that is known to be no
            recording: a server that was restored from a backup counts from there.
    """
    if new.Serial < serial:
        return f"its serial {new.Serial} is older than {serial}; {OLDER_FIX}"
    before, after = len(old.remotePeers) if old is not None else 0, len(new.remotePeers)
    if after > MOST_PEERS:
        return f"it has {after} peers; at most {MOST_PEERS}"
    if after * 2 >= before:
        return ""
    if serial and new.Serial == serial:
        return f"it has {after} peers instead of {before}, but is no newer (serial {serial})"
    if not after and not new.remotePeersIsEmpty:
        return "it has no peers, but does not say that this is meant"
    return ""
