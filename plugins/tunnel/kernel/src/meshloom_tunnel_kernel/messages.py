"""Messages of the generic netlink family ``wireguard`` (linux/wireguard.h), without I/O.

What is set travels in messages of bounded size: the kernel works through one before it answers, and nothing else of the
agent runs meanwhile.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import attrs

from meshloom.errors import ProtocolError
from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey
from meshloom.tunnel import Address, IPNetwork, PeerStats
from meshloom_linux.difference import FoundDevice, FoundPeer, PeerChange
from meshloom_tunnel_kernel.attributes import attribute, attributes, nest

GET_DEVICE, SET_DEVICE = 0, 1
INTERFACE, PRIVATE_KEY, LISTEN_PORT, FWMARK, PEERS = 2, 3, 6, 7, 8
PUBLIC_KEY, PRESHARED_KEY, FLAGS, ENDPOINT, KEEPALIVE, HANDSHAKE, RX, TX, ALLOWED_IPS = range(1, 10)
FAMILY, ADDRESS, PREFIX = 1, 2, 3
REMOVE, REPLACE_ALLOWED_IPS = 1, 2

LONGEST_PEERS = 16384
"""Bytes of peers in one message: some hundred of them, whose keys take the kernel some milliseconds."""
MOST_ALLOWED_IPS = 256
"""In one part of a peer; the next part goes on with it."""

U16, U32, U64 = struct.Struct("=H"), struct.Struct("=I"), struct.Struct("=Q")
TIME = struct.Struct("=qq")
SOCKADDR_4, SOCKADDR_6 = struct.Struct("=H2s4s8x"), struct.Struct("=H2s4x16s4x")


@attrs.frozen
class Device:
    """What the kernel says of a device; its private key is not kept.

    Args:
        is_blank: It has neither a key nor peers.
    """

    listen_port: int
    is_blank: bool
    peers: dict[PublicKey, PeerStats]


def get_device(interface: str) -> bytes:
    """Ask for the device and its peers."""
    return attribute(INTERFACE, interface.encode() + b"\0")


def set_device(
    interface: str,
    private_key: PrivateKey | None = None,
    listen_port: int | None = None,
    fwmark: int | None = None,
    peers: Iterable[bytes] = (),
) -> bytes:
    """Set what is given; None leaves a value as it is."""
    parts = [get_device(interface)]
    if fwmark is not None:
        parts.append(attribute(FWMARK, U32.pack(fwmark)))
    if listen_port is not None:
        parts.append(attribute(LISTEN_PORT, U16.pack(listen_port)))
    if private_key is not None:
        parts.append(attribute(PRIVATE_KEY, private_key.raw))
    listed = [nest(0, [peer]) for peer in peers]
    if listed:
        parts.append(nest(PEERS, listed))
    return b"".join(parts)


def set_peers(interface: str, changes: Iterable[PeerChange]) -> Iterator[bytes]:
    """Messages that carry the changes in their order."""
    waiting: list[bytes] = []
    size = 0
    for change in changes:
        for part in peer_parts(change):
            if waiting and size + len(part) > LONGEST_PEERS:
                yield set_device(interface, peers=waiting)
                waiting, size = [], 0
            waiting.append(part)
            size += len(part)
    if waiting:
        yield set_device(interface, peers=waiting)


def peer_parts(change: PeerChange) -> Iterator[bytes]:
    """The attributes of a changed peer, in as many parts as its allowed IPs need."""
    key = attribute(PUBLIC_KEY, change.key.raw)
    peer = change.new
    if peer is None:
        yield key + attribute(FLAGS, U32.pack(REMOVE))
        return
    parts = [key]
    if change.rest:
        parts.append(attribute(PRESHARED_KEY, peer.preshared_key.raw if peer.preshared_key else bytes(32)))
    if change.endpoint and peer.endpoint is not None:
        parts.append(attribute(ENDPOINT, _sockaddr(peer.endpoint)))
    if change.rest:
        seconds = int(peer.persistent_keepalive.total_seconds()) if peer.persistent_keepalive else 0
        parts.append(attribute(KEEPALIVE, U16.pack(seconds)))
    if not change.allowed_ips:
        yield b"".join(parts)
        return
    parts.append(attribute(FLAGS, U32.pack(REPLACE_ALLOWED_IPS)))
    networks = [nest(0, _allowed_ip(network)) for network in sorted(peer.allowed_ips, key=str)]
    yield b"".join([*parts, nest(ALLOWED_IPS, networks[:MOST_ALLOWED_IPS])])
    for start in range(MOST_ALLOWED_IPS, len(networks), MOST_ALLOWED_IPS):
        yield key + nest(ALLOWED_IPS, networks[start : start + MOST_ALLOWED_IPS])


def parse_device(answers: Iterable[bytes]) -> Device:
    """The device from all parts of the answer; a peer may go on from one part to the next.

    Raises:
        ProtocolError: It is no such answer.
    """
    listen_port, is_blank, peers = 0, True, dict[PublicKey, PeerStats]()
    for answer in answers:
        for kind, value in attributes(answer):
            if kind == LISTEN_PORT:
                listen_port = _number(U16, value)
            elif kind == PRIVATE_KEY:
                is_blank &= not any(value)
            elif kind == PEERS:
                for _, peer in attributes(value):
                    key, stats = _peer(peer)
                    peers.setdefault(key, stats)
    return Device(listen_port, is_blank and not peers, peers)


def parse_configuration(answers: Iterable[bytes]) -> FoundDevice:
    """The configuration of the device from all parts of the answer; a peer may go on from one part to the next.

    Raises:
        ProtocolError: It is no such answer.
    """
    listen_port, fwmark, private_key = 0, 0, None
    peers: dict[PublicKey, FoundPeer] = {}
    for answer in answers:
        for kind, value in attributes(answer):
            if kind == LISTEN_PORT:
                listen_port = _number(U16, value)
            elif kind == FWMARK:
                fwmark = _number(U32, value)
            elif kind == PRIVATE_KEY:
                private_key = PrivateKey.of(value) if any(value) else None
            elif kind == PEERS:
                for _, peer in attributes(value):
                    key, found = _found_peer(peer)
                    if (before := peers.get(key)) is not None:
                        found = attrs.evolve(before, allowed_ips=before.allowed_ips | found.allowed_ips)
                    peers[key] = found
    return FoundDevice(listen_port, private_key, fwmark, peers)


def _found_peer(data: bytes) -> tuple[PublicKey, FoundPeer]:
    values = dict(attributes(data))
    if PUBLIC_KEY not in values:
        raise ProtocolError("the kernel names a peer without its public key")
    preshared = values.get(PRESHARED_KEY, b"")
    return PublicKey.of(values[PUBLIC_KEY]), FoundPeer(
        frozenset(_network(each) for _, each in attributes(values.get(ALLOWED_IPS, b""))),
        _number(U16, values[KEEPALIVE]) if KEEPALIVE in values else 0,
        PresharedKey(preshared) if any(preshared) else None,
    )


def _network(data: bytes) -> IPNetwork:
    values = dict(attributes(data))
    try:
        return ip_network((values[ADDRESS], values[PREFIX][0]))
    except (KeyError, IndexError, ValueError) as error:
        raise ProtocolError("the kernel names an allowed address of no known kind") from error


def _peer(data: bytes) -> tuple[PublicKey, PeerStats]:
    values = dict(attributes(data))
    if PUBLIC_KEY not in values:
        raise ProtocolError("the kernel names a peer without its public key")
    return PublicKey.of(values[PUBLIC_KEY]), PeerStats(
        endpoint=_endpoint(values[ENDPOINT]) if ENDPOINT in values else None,
        latest_handshake=_moment(values[HANDSHAKE]) if HANDSHAKE in values else None,
        rx_bytes=_number(U64, values[RX]) if RX in values else 0,
        tx_bytes=_number(U64, values[TX]) if TX in values else 0,
    )


def _allowed_ip(network: IPNetwork) -> list[bytes]:
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    return [
        attribute(FAMILY, U16.pack(family)),
        attribute(ADDRESS, network.network_address.packed),
        attribute(PREFIX, bytes([network.prefixlen])),
    ]


def _sockaddr(address: Address) -> bytes:
    host, port = ip_address(address[0]), address[1].to_bytes(2)
    if host.version == 4:
        return SOCKADDR_4.pack(socket.AF_INET, port, host.packed)
    return SOCKADDR_6.pack(socket.AF_INET6, port, host.packed)


def _endpoint(value: bytes) -> Address | None:
    for family, form in ((socket.AF_INET, SOCKADDR_4), (socket.AF_INET6, SOCKADDR_6)):
        if value[:2] == U16.pack(family) and len(value) >= form.size:
            _, port, host = form.unpack_from(value)
            return str(ip_address(host)), int.from_bytes(port)
    raise ProtocolError("the kernel names an endpoint of no known kind")


def _moment(value: bytes) -> datetime | None:
    if len(value) != TIME.size:
        raise ProtocolError("the kernel tells a time of another size")
    seconds, nanos = TIME.unpack(value)
    try:
        return datetime.fromtimestamp(seconds + nanos / 1e9, UTC) if seconds else None
    except (OverflowError, OSError, ValueError) as error:
        raise ProtocolError("the kernel tells a time out of range") from error


def _number(form: struct.Struct, value: bytes) -> int:
    if len(value) != form.size:
        raise ProtocolError(f"the kernel tells a number of {len(value)} bytes instead of {form.size}")
    return int(form.unpack(value)[0])
