"""Whole maps of one snapshot: entries that many peers share are joined once, and one's own is cut out by its place."""

import hashlib
from datetime import datetime
from functools import cached_property
from typing import Self

import attrs

from meshloom.model.ids import PeerID, UserID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change
from meshloom.netmap.reach import NOBODY, EffectiveRule, Peers, Reach
from meshloom.netmap.ssh import SSHAccess, ssh_access
from meshloom.netmap.versions import dns_forwarder_port
from meshloom.rpc import management_pb2 as pb
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.maps.encoding import compact, field, number_field, varint
from meshloom_management.maps.entries import IN, OUT, profile_of
from meshloom_management.maps.fragments import Fragments, Table
from meshloom_management.maps.joined import Joined, JoinedEntries, Part

USER_ID_CLAIM = "sub"
NETWORK_MAP = varint(5 << 3 | 2)
"""The tag of the map in ``SyncResponse``; its length follows."""
NO_EXPIRY = field(7, b"")
"""The login on the peer does not end."""


@attrs.frozen
class BuiltMap:
    """A peer's map, ready for sending but for its serial.

    Args:
        parts: One after the other, all fields of the map but the serial.
        settings: What the peer is told of itself; also part of the map.
        digest: Of two maps with the same, one need not be sent.
    """

    parts: tuple[Part, ...]
    settings: bytes
    digest: int

    @property
    def content(self) -> bytes:
        """All fields of the map but the serial."""
        return b"".join(piece for part in self.parts for piece in part.pieces())

    def sync_response(self, serial: int, config: bytes, more: bytes = b"") -> bytes:
        """The whole ``SyncResponse``, encoded, with *more* fields of it at the end."""
        numbered = number_field(1, serial)
        size = len(numbered) + sum(map(len, self.parts))
        head = field(1, config), field(2, self.settings), NETWORK_MAP, varint(size), numbered
        return b"".join((*head, *(piece for part in self.parts for piece in part.pieces()), NO_EXPIRY, more))


class MapBuilder:
    """Builds the maps of one snapshot.

    Args:
        default_domain: Of the peers' names, where the account sets none.
        joined: What an earlier snapshot with the same peers has joined.
    """

    def __init__(
        self, state: AccountState, fragments: Fragments, default_domain: str, joined: JoinedEntries | None = None
    ) -> None:
        self.state = state
        self.reach = Reach(state)
        self._fragments, self._default_domain = fragments, default_domain
        self._domain = state.account.settings.dns_domain or default_domain
        self._joined = joined if joined is not None else JoinedEntries()

    def following(self, state: AccountState, change: Change) -> Self:
        """For the snapshot after a change; what is joined already stays joined but for the peers that changed."""
        joined = self._joined
        if change.peers:
            joined = joined.following(change.peers, [group.peers for group in state.groups.values()])
        return type(self)(state, self._fragments, self._default_domain, joined)

    def build(self, id: PeerID) -> BuiltMap:
        """A peer's map."""
        peer = self.state.peers[id]
        profile = profile_of(peer)
        rules: list[Part] = []
        towards: list[EffectiveRule] = []
        visible = NOBODY
        for reached in self.reach.of(id):
            if id in reached.effective.destinations:
                towards.append(reached.effective)
            for direction, peers in ((OUT, reached.outbound), (IN, reached.inbound)):
                if peers:
                    visible = self.reach.union(visible, peers)
                    table = self._fragments.rules(reached.effective, direction, profile)
                    rules.append(self._entries(table, peers).without(id))
        remotes = self._entries(self._fragments.remotes(self._domain, ipv6=profile.ipv6), visible).without(id)
        records = self._fragments.records(self._domain, ipv6=profile.ipv6)
        ssh = ssh_access(self.state, peer, towards)
        settings = self._peer_config(peer, ssh)
        others, own = self._entries(records, visible).without(id), records.entry(peer)
        auth = _ssh_auth(ssh)
        parts = (
            Part(field(2, settings)),
            remotes if len(remotes) else Part(number_field(4, 1)),
            *self._dns(own, others),
            *(rules if any(map(len, rules)) else (Part(number_field(9, 1)),)),
            Part(number_field(11, 1) + field(13, auth)),
        )
        sums = remotes.digest, others.digest, sum(part.digest for part in rules)
        digest = hash((settings, own, auth, self._domain, self._forwarder_port, *sums))
        return BuiltMap(parts, settings, digest)

    def peer_config(self, peer: Peer) -> bytes:
        """What a peer is told of itself; the same in login and map."""
        towards = [rule for rule in self.reach.rules if peer.id in rule.destinations]
        return self._peer_config(peer, ssh_access(self.state, peer, towards))

    def _peer_config(self, peer: Peer, ssh: SSHAccess) -> bytes:
        settings = self.state.account.settings
        message = pb.PeerConfig(
            address=f"{peer.ip}/{settings.network_range.prefixlen}",
            fqdn=f"{peer.dns_label}.{self._domain}",
            sshConfig=pb.SSHConfig(sshEnabled=ssh.enabled),
            RoutingPeerDnsResolutionEnabled=settings.routing_peer_dns_resolution_enabled,
            LazyConnectionEnabled=settings.lazy_connection_enabled,
            autoUpdate=pb.AutoUpdateSettings(
                version=settings.auto_update_version, alwaysUpdate=settings.auto_update_always
            ),
        )
        if peer.ipv6:
            message.address_v6 = compact(peer.ipv6, settings.network_range_v6.prefixlen)
        return message.SerializeToString()

    def _dns(self, own: bytes, others: Part) -> tuple[Part, Part, Part]:
        """``DNSConfig`` with the zone of peers' names, around the records that are shared."""
        name = field(1, f"{self._domain}.".encode())
        zone = varint(3 << 3 | 2) + varint(len(name) + len(own) + len(others)) + name + own
        before, after = number_field(1, 1) + zone, number_field(4, self._forwarder_port)
        size = len(before) + len(others) + len(after)
        return Part(varint(6 << 3 | 2) + varint(size) + before), others, Part(after)

    @cached_property
    def _forwarder_port(self) -> int:
        return dns_forwarder_port(self.state)

    def _entries(self, table: Table, peers: Peers) -> Joined:
        return self._joined.get(table, peers) or self._joined.keep(table, peers, self._join(table, peers))

    def _join(self, table: Table, peers: Peers) -> Joined:
        begun = self._joined.begun(table, peers)
        further = [self.state.peers[id] for id in sorted(peers - begun.places.keys()) if id in self.state.peers]
        return begun.followed_by([(PeerID(peer.id), table.entry(peer)) for peer in further])


def _ssh_auth(ssh: SSHAccess) -> bytes:
    people = sorted({user for users in ssh.logins.values() for user in users})
    message = pb.SSHAuth(UserIDClaim=USER_ID_CLAIM, AuthorizedUsers=[_user_hash(user) for user in people])
    for login, users in sorted(ssh.logins.items()):
        message.machine_users[login].indexes.extend(people.index(user) for user in sorted(users))
    return message.SerializeToString(deterministic=True)


def _user_hash(user: UserID) -> bytes:
    """What agents compare a token's user with."""
    return hashlib.blake2b(user.encode(), digest_size=16).digest()


def config_only(config: bytes, more: bytes = b"") -> bytes:
    """A ``SyncResponse`` that leaves the map as it is, with *more* fields of it at the end."""
    return field(1, config) + more


def netbird_config(addresses: ServiceAddresses, peer: Peer, *, metrics: bool, now: datetime) -> bytes:
    """Where a peer finds the other services, encoded."""
    message = pb.NetbirdConfig(
        stuns=[pb.HostConfig(uri=uri, protocol=pb.HostConfig.UDP) for uri in addresses.stun],
        signal=pb.HostConfig(
            uri=addresses.signal, protocol=pb.HostConfig.HTTPS if addresses.signal_tls else pb.HostConfig.HTTP
        ),
        metrics=pb.MetricsConfig(enabled=metrics),
    )
    if addresses.relay is not None:
        relay = message.relay
        relay.urls.extend(addresses.relay.urls_for(peer.id))
        relay.tokenPayload, relay.tokenSignature = addresses.relay.token(peer.id, now)
        if peer.proves and addresses.relay.naming:
            relay.named.urls.extend(sorted(addresses.relay.naming))
            relay.named.payload, relay.named.signature = addresses.relay.named_token(peer, now)
    if addresses.turn is not None:
        user, password = addresses.turn.for_peer(peer.id, now)
        for uri in addresses.turn.urls:
            tcp = "transport=udp" not in uri
            kind = pb.HostConfig.TCP if tcp else pb.HostConfig.UDP
            message.turns.add(hostConfig=pb.HostConfig(uri=uri, protocol=kind), user=user, password=password)
    return message.SerializeToString()
