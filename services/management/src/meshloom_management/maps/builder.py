"""Whole maps of one snapshot: entries that many peers share are joined once, and one's own is cut out by its place."""

from collections.abc import Callable
from datetime import datetime

import attrs

from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom.netmap.reach import NOBODY, Peers, Reach
from meshloom.rpc import management_pb2 as pb
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.maps.fragments import IN, OUT, Fragments, Profile, compact, field, profile_of, varint

DNS_FORWARDER_PORT = 22054
USER_ID_CLAIM = "sub"
TRUE = b"\x01"


@attrs.frozen
class Joined:
    """Entries one after the other, and where each peer's begin and end."""

    data: bytes
    places: dict[PeerID, tuple[int, int]]

    def without(self, peer: PeerID) -> list[bytes]:
        """All but a peer's own."""
        place = self.places.get(peer)
        return [self.data] if place is None else [self.data[: place[0]], self.data[place[1] :]]


@attrs.frozen
class BuiltMap:
    """A peer's map, ready for sending but for its serial.

    Args:
        content: All fields of the map but the serial; two that are equal need not both be sent.
    """

    content: bytes = attrs.field(repr=False)
    settings: bytes

    def sync_response(self, serial: int, config: bytes) -> bytes:
        """The whole ``SyncResponse``, encoded."""
        numbered = b"\x08" + varint(serial)
        head = field(1, config) + field(2, self.settings) + b"\x2a" + varint(len(numbered) + len(self.content))
        return b"".join((head, numbered, self.content, field(7, b"")))


class MapBuilder:
    """Builds the maps of one snapshot."""

    def __init__(self, state: AccountState, fragments: Fragments, default_domain: str) -> None:
        self.state = state
        self.reach = Reach(state)
        self._fragments = fragments
        self._domain = state.account.settings.dns_domain or default_domain
        self._joined: dict[tuple[object, ...], tuple[Peers, Joined]] = {}

    def build(self, id: PeerID) -> BuiltMap:
        """A peer's map."""
        peer = self.state.peers[id]
        profile = profile_of(peer)
        parts: list[bytes] = []
        visible = NOBODY
        for reached in self.reach.of(id):
            effective = reached.effective
            for direction, peers in ((OUT, reached.outbound), (IN, reached.inbound)):
                if not peers:
                    continue
                visible = self.reach.union(visible, peers)
                key = (id_of(effective), direction, profile)
                encode: Callable[[Peer], bytes] = lambda other, e=effective, d=direction: self._fragments.rule(  # type: ignore[misc]  # noqa: E731
                    e, d, other, profile
                )
                parts += self._entries(key, peers, encode).without(id)
        rules = b"".join(parts)
        remotes = b"".join(
            self._entries(
                ("remote", profile.ipv6), visible, lambda p: self._fragments.remote(p, self._domain, profile)
            ).without(id)
        )
        settings = self.peer_config(peer)
        content = b"".join(
            (
                field(2, settings),
                remotes or b"\x20" + TRUE,
                field(6, self._dns(peer, visible, profile)),
                rules or b"\x48" + TRUE,
                b"\x58" + TRUE,
                field(13, field(1, USER_ID_CLAIM.encode())),
            )
        )
        return BuiltMap(content, settings)

    def peer_config(self, peer: Peer) -> bytes:
        """What a peer is told of itself; the same in login and map."""
        settings = self.state.account.settings
        message = pb.PeerConfig(
            address=f"{peer.ip}/{settings.network_range.prefixlen}",
            fqdn=f"{peer.dns_label}.{self._domain}",
            sshConfig=pb.SSHConfig(sshEnabled=peer.ssh_enabled and peer.meta.flags.server_ssh_allowed),
            RoutingPeerDnsResolutionEnabled=settings.routing_peer_dns_resolution_enabled,
            LazyConnectionEnabled=settings.lazy_connection_enabled,
            autoUpdate=pb.AutoUpdateSettings(
                version=settings.auto_update_version, alwaysUpdate=settings.auto_update_always
            ),
        )
        if peer.ipv6:
            message.address_v6 = compact(peer.ipv6, settings.network_range_v6.prefixlen)
        return message.SerializeToString()

    def _dns(self, peer: Peer, visible: Peers, profile: Profile) -> bytes:
        records = self._entries(
            ("record", profile.ipv6), visible, lambda p: self._fragments.record(p, self._domain, profile)
        )
        own = self._fragments.record(peer, self._domain, profile)
        zone = b"".join((field(1, f"{self._domain}.".encode()), own, *records.without(PeerID(peer.id))))
        return b"\x08\x01" + field(3, zone) + b"\x20" + varint(DNS_FORWARDER_PORT)

    def _entries(self, kind: tuple[object, ...], peers: Peers, encode: Callable[[Peer], bytes]) -> Joined:
        key = (*kind, id(peers))
        known = self._joined.get(key)
        if known is None:
            items: list[bytes] = []
            places: dict[PeerID, tuple[int, int]] = {}
            at = 0
            for peer in peers:
                if peer in self.state.peers:
                    item = encode(self.state.peers[peer])
                    items.append(item)
                    places[peer] = at, at + len(item)
                    at += len(item)
            known = self._joined[key] = peers, Joined(b"".join(items), places)
        return known[1]


def id_of(thing: object) -> int:
    """Identity; the builder keeps what it is asked for alive as long as itself."""
    return id(thing)


def netbird_config(addresses: ServiceAddresses, *, metrics: bool, now: datetime) -> bytes:
    """Where a peer finds the other services, encoded."""
    message = pb.NetbirdConfig(
        stuns=[pb.HostConfig(uri=uri, protocol=pb.HostConfig.UDP) for uri in addresses.stun],
        signal=pb.HostConfig(
            uri=addresses.signal, protocol=pb.HostConfig.HTTPS if addresses.signal_tls else pb.HostConfig.HTTP
        ),
        metrics=pb.MetricsConfig(enabled=metrics),
    )
    if addresses.relay is not None:
        payload, signature = addresses.relay.token(now)
        message.relay.urls.extend(addresses.relay.urls)
        message.relay.tokenPayload, message.relay.tokenSignature = payload, signature
    return message.SerializeToString()
