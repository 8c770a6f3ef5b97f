"""What of a tunnel's peers has to be told to the device: the difference of two desired states."""

from collections.abc import Iterator, Mapping

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import Address, TunnelPeer


@attrs.frozen
class PeerChange:
    """One peer that the device must be told of.

    Args:
        new: What it shall be; None to remove it.
        endpoint: Whether its endpoint is to be set; otherwise WireGuard keeps what it has learned.
        allowed_ips: Whether its prefixes are to be replaced.
        rest: Whether keepalive and preshared key are to be set.
    """

    key: PublicKey
    new: TunnelPeer | None
    endpoint: bool = False
    allowed_ips: bool = False
    rest: bool = False


def peer_changes(old: Mapping[PublicKey, TunnelPeer], new: Mapping[PublicKey, TunnelPeer]) -> Iterator[PeerChange]:
    """Removals first, since a prefix may move from one peer to another."""
    for key in old.keys() - new.keys():
        yield PeerChange(key, None)
    for key, peer in new.items():
        before = old.get(key)
        if before is peer or before == peer:
            continue
        if before is not None and before.session != peer.session:
            yield PeerChange(key, None)
            before = None
        if before is None:
            yield PeerChange(key, peer, endpoint=peer.endpoint is not None, allowed_ips=True, rest=True)
        else:
            yield PeerChange(
                key,
                peer,
                endpoint=peer.endpoint is not None and peer.endpoint != before.endpoint,
                allowed_ips=peer.allowed_ips != before.allowed_ips,
                rest=(peer.persistent_keepalive, peer.preshared_key)
                != (before.persistent_keepalive, before.preshared_key),
            )


def endpoint_changes(
    peers: Mapping[PublicKey, TunnelPeer], endpoints: Mapping[PublicKey, Address]
) -> Iterator[PeerChange]:
    """Endpoints alone, of peers that the device has."""
    for key, endpoint in endpoints.items():
        if (peer := peers.get(key)) is not None:
            yield PeerChange(key, attrs.evolve(peer, endpoint=endpoint), endpoint=True)
