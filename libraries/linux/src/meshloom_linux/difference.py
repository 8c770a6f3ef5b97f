"""What of a tunnel's peers has to be told to the device: the difference of two desired states."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import attrs

from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey
from meshloom.tunnel import Address, IPNetwork, TunnelPeer


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


@attrs.frozen
class FoundPeer:
    """The configuration of a peer as the device has it.

    Args:
        keepalive: In seconds, 0 for off.
        preshared_key: None where there is none, which WireGuard tells as zeros.
    """

    allowed_ips: frozenset[IPNetwork] = frozenset()
    keepalive: int = 0
    preshared_key: PresharedKey | None = None


@attrs.frozen
class FoundDevice:
    """The configuration of a device as it is now."""

    listen_port: int = 0
    private_key: PrivateKey | None = None
    fwmark: int = 0
    peers: Mapping[PublicKey, FoundPeer] = attrs.field(factory=dict)


@attrs.frozen
class DeviceUpkeep:
    """What a device must be told so that it is again what it was.

    Attributes:
        said: What is different, in words.
    """

    said: tuple[str, ...]
    new_key: bool
    new_port: bool
    new_mark: bool
    peers: Sequence[PeerChange]


def device_upkeep(
    found: FoundDevice, private_key: PrivateKey, port: int, fwmark: int, peers: Mapping[PublicKey, TunnelPeer]
) -> DeviceUpkeep:
    """Compares a device with its wanted private key, port, mark and peers; endpoints are WireGuard's own."""
    present = {key: _as_wanted(each, peers.get(key)) for key, each in found.peers.items()}
    changes = list(peer_changes(present, peers))
    # WireGuard keeps a private key with some bits cleared: only the public keys can be compared.
    new_key = found.private_key is None or found.private_key.public != private_key.public
    new_port, new_mark = found.listen_port != port, found.fwmark != fwmark
    said = [f"WireGuard's port was {found.listen_port} instead of {port}"] if new_port else []
    said += ["WireGuard's private key was another"] if new_key else []
    said += ["WireGuard's mark was another"] if new_mark else []
    gone, strangers = len(peers.keys() - present.keys()), len(present.keys() - peers.keys())
    changed = sum(change.new is not None and change.key in present for change in changes)
    for count, one, many in (
        (gone, "peer was gone", "peers were gone"),
        (changed, "peer was changed", "peers were changed"),
        (strangers, "peer was there that is not ours", "peers were there that are not ours"),
    ):
        if count:
            said.append(f"{count} {one if count == 1 else many}")
    return DeviceUpkeep(tuple(said), new_key, new_port, new_mark, changes)


def _as_wanted(found: FoundPeer, wanted: TunnelPeer | None) -> TunnelPeer:
    """Returns the peer that was found, with the wanted values of what a device does not tell."""
    wanted = wanted or TunnelPeer(frozenset())
    keepalive, key = wanted.persistent_keepalive, wanted.preshared_key
    if found.keepalive != (int(keepalive.total_seconds()) if keepalive else 0):
        keepalive = timedelta(seconds=found.keepalive)
    if found.preshared_key != (key if key and any(key.raw) else None):
        key = found.preshared_key
    return attrs.evolve(wanted, allowed_ips=found.allowed_ips, persistent_keepalive=keepalive, preshared_key=key)
