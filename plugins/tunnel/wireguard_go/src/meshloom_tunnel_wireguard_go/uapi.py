"""The text protocol of WireGuard programs' control sockets (wireguard.com/xplatform)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_network

from meshloom.errors import ProtocolError, TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey
from meshloom.tunnel import Address, PeerStats
from meshloom_linux.difference import FoundDevice, FoundPeer, PeerChange

LONGEST_LINE = 512


def set_command(
    changes: Iterable[PeerChange], private_key: PrivateKey | None, listen_port: int | None, fwmark: int | None
) -> bytes:
    """A ``set`` of what changed; None leaves a value as it is."""
    lines = ["set=1"]
    if private_key is not None:
        lines.append(f"private_key={private_key.raw.hex()}")
    if listen_port is not None:
        lines.append(f"listen_port={listen_port}")
    if fwmark is not None:
        lines.append(f"fwmark={fwmark}")
    for change in changes:
        lines.append(f"public_key={change.key.raw.hex()}")
        peer = change.new
        if peer is None:
            lines.append("remove=true")
            continue
        if change.rest:
            lines.append(f"preshared_key={(peer.preshared_key.raw if peer.preshared_key else bytes(32)).hex()}")
        if change.endpoint and peer.endpoint is not None:
            lines.append(f"endpoint={_text(peer.endpoint)}")
        if change.rest:
            keepalive = int(peer.persistent_keepalive.total_seconds()) if peer.persistent_keepalive else 0
            lines.append(f"persistent_keepalive_interval={keepalive}")
        if change.allowed_ips:
            lines.append("replace_allowed_ips=true")
            lines += [f"allowed_ip={network}" for network in sorted(peer.allowed_ips, key=str)]
    return ("\n".join(lines) + "\n\n").encode()


def parse_get(data: bytes) -> tuple[dict[str, str], dict[PublicKey, PeerStats]]:
    """The device's values and its peers' from the answer to ``get``; secrets are left out.

    Raises:
        ProtocolError: It is no such answer.
    """
    device: dict[str, str] = {}
    peers: dict[PublicKey, PeerStats] = {}
    current: dict[str, str] = {}
    key: PublicKey | None = None
    try:
        lines = data.decode("ascii").split("\n")
        for line in lines:
            name, equals, value = line.partition("=")
            if not equals or len(line) > LONGEST_LINE:
                if line:
                    raise ValueError("a line without a value")
                continue
            if name == "public_key":
                if key is not None:
                    peers[key] = _stats(current)
                key, current = PublicKey.of(bytes.fromhex(value)), {}
            elif name in ("private_key", "preshared_key"):
                continue
            elif key is None or name == "errno":
                device[name] = value
            else:
                current[name] = value
        if key is not None:
            peers[key] = _stats(current)
    except ValueError as error:
        raise ProtocolError(f"the WireGuard program's answer cannot be read: {error}") from error
    return device, peers


def parse_configuration(data: bytes) -> FoundDevice:
    """The configuration of the device from the answer to ``get``.

    Raises:
        ProtocolError: It is no such answer.
    """
    device: dict[str, str] = {}
    peers: dict[PublicKey, dict[str, str]] = {}
    allowed: dict[PublicKey, list[str]] = {}
    key: PublicKey | None = None
    try:
        for line in data.decode("ascii").split("\n"):
            name, _, value = line.partition("=")
            if name == "public_key":
                key = PublicKey.of(bytes.fromhex(value))
                peers[key], allowed[key] = {}, []
            elif key is None:
                device[name] = value
            elif name == "allowed_ip":
                allowed[key].append(value)
            else:
                peers[key][name] = value
        secret = bytes.fromhex(device.get("private_key", ""))
        return FoundDevice(
            int(device.get("listen_port", 0)),
            PrivateKey.of(secret) if any(secret) else None,
            int(device.get("fwmark", 0)),
            {key: _found_peer(values, allowed[key]) for key, values in peers.items()},
        )
    except ValueError as error:
        raise ProtocolError("the WireGuard program's answer cannot be read") from error  # it may hold secrets


def _found_peer(values: dict[str, str], allowed: list[str]) -> FoundPeer:
    secret = bytes.fromhex(values.get("preshared_key", ""))
    return FoundPeer(
        frozenset(ip_network(each) for each in allowed),
        int(values.get("persistent_keepalive_interval", 0)),
        PresharedKey(secret) if any(secret) else None,
    )


def check_errno(answer: bytes, what: str) -> None:
    """Raises TunnelError where the answer to ``set`` is not success."""
    device, _ = parse_get(answer)
    number = device.get("errno", "")
    if number != "0":
        reasons = {"-98": "the UDP port is taken", "-13": "it is not allowed"}
        raise TunnelError(f"{what}: {reasons.get(number, f'the WireGuard program answers errno={number}')}")


def _stats(values: dict[str, str]) -> PeerStats:
    seconds, nanos = int(values.get("last_handshake_time_sec", 0)), int(values.get("last_handshake_time_nsec", 0))
    try:
        handshake = datetime.fromtimestamp(seconds + nanos / 1e9, UTC) if seconds else None
    except (OverflowError, OSError) as error:
        raise ValueError("a time out of range") from error
    return PeerStats(
        endpoint=_address(values["endpoint"]) if "endpoint" in values else None,
        latest_handshake=handshake,
        rx_bytes=int(values.get("rx_bytes", 0)),
        tx_bytes=int(values.get("tx_bytes", 0)),
    )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
