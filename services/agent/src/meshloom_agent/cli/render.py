"""The status as text, JSON and YAML; keys and words are NetBird's, so that scripts go on working."""

import json
import platform
from datetime import UTC, datetime
from typing import Any

from meshloom import __version__
from meshloom.rpc import daemon_pb2 as pb

ZERO_TIME = "0001-01-01T00:00:00Z"


def content(answer: pb.StatusResponse) -> dict[str, Any]:
    """All that the status tells."""
    full = answer.fullStatus
    own = full.localPeerState
    details = [peer(each) for each in sorted(full.peers, key=lambda each: _order(each.IP))]
    made: dict[str, Any] = {
        "peers": {
            "total": len(details),
            "connected": sum(each["status"] == "Connected" for each in details),
            "details": details or None,
        },
        "cliVersion": __version__,
        "daemonVersion": answer.daemonVersion,
        "daemonStatus": answer.status,
        "management": _server(full.managementState),
        "signal": _server(full.signalState),
        "relays": {"total": 0, "available": 0, "details": None},
        "netbirdIp": own.IP,
        "publicKey": own.pubKey,
        "usesKernelInterface": own.kernelInterface,
        "wireguardPort": own.wgPort,
        "fqdn": own.fqdn,
        "quantumResistance": False,
        "quantumResistancePermissive": False,
        "networks": None,
        "forwardingRules": 0,
        "dnsServers": [],
        "events": [_event(each) for each in full.events],
        "lazyConnectionEnabled": full.lazyConnectionEnabled,
        "profileName": "default",
        "sshServer": {"enabled": False, "sessions": []},
    }
    if own.ipv6:
        made["netbirdIpv6"] = own.ipv6
    return made


def peer(state: pb.PeerState) -> dict[str, Any]:
    """One peer."""
    connected = state.connStatus == "Connected"
    made: dict[str, Any] = {
        "fqdn": state.fqdn,
        "netbirdIp": state.IP,
        "publicKey": state.pubKey,
        "status": state.connStatus,
        "lastStatusUpdate": _time(state.connStatusUpdate),
        "connectionType": "P2P" if connected else "-",
        "iceCandidateType": {"local": state.localIceCandidateType, "remote": state.remoteIceCandidateType},
        "iceCandidateEndpoint": {
            "local": state.localIceCandidateEndpoint,
            "remote": state.remoteIceCandidateEndpoint,
        },
        "relayAddress": "",
        "lastWireguardHandshake": _time(state.lastWireguardHandshake),
        "transferReceived": state.bytesRx,
        "transferSent": state.bytesTx,
        "latency": state.latency.ToNanoseconds(),
        "quantumResistance": False,
        "networks": None,
    }
    if state.ipv6:
        made["netbirdIpv6"] = state.ipv6
    return made


def as_json(status: dict[str, Any]) -> str:
    """On one line."""
    return json.dumps(status, separators=(",", ":"))


def as_yaml(status: dict[str, Any]) -> str:
    """The same keys."""
    import yaml

    return str(yaml.safe_dump(status, sort_keys=False)).rstrip()


def as_text(status: dict[str, Any], reasons: dict[str, str], *, detail: bool) -> str:
    """For people; *reasons* say of peers why they are not connected."""
    lines: list[str] = []
    if detail:
        lines.append("Peers detail:")
        for each in status["peers"]["details"] or []:
            lines += _peer_lines(each, reasons.get(each["fqdn"], ""))
        lines.append("")
    lines += [
        f"OS: linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
        f"Daemon version: {status['daemonVersion']}",
        f"CLI version: {status['cliVersion']}",
        f"Profile: {status['profileName']}",
        f"Management: {_connected(status['management'], detail=detail)}",
        f"Signal: {_connected(status['signal'], detail=detail)}",
        f"FQDN: {status['fqdn'] or '-'}",
        f"NetBird IP: {status['netbirdIp'] or '-'}",
    ]
    if "netbirdIpv6" in status:
        lines.append(f"NetBird IPv6: {status['netbirdIpv6']}")
    kind = "Kernel" if status["usesKernelInterface"] else "Userspace"
    lines += [
        f"Interface type: {kind if status['netbirdIp'] else 'N/A'}",
        f"Wireguard port: {status['wireguardPort'] or '-'}",
        f"Peers count: {status['peers']['connected']}/{status['peers']['total']} Connected",
    ]
    return "\n".join(lines)


def _peer_lines(each: dict[str, Any], reason: str) -> list[str]:
    local, remote = each["iceCandidateType"], each["iceCandidateEndpoint"]
    values = [
        ("NetBird IP", each["netbirdIp"]),
        *([("NetBird IPv6", each["netbirdIpv6"])] if "netbirdIpv6" in each else []),
        ("Public key", each["publicKey"]),
        ("Status", f"{each['status']}{f', {reason}' if reason else ''}"),
        ("-- detail --", None),
        ("Connection type", each["connectionType"]),
        ("ICE candidate (Local/Remote)", f"{local['local'] or '-'}/{local['remote'] or '-'}"),
        ("ICE candidate endpoints (Local/Remote)", f"{remote['local'] or '-'}/{remote['remote'] or '-'}"),
        ("Last connection update", _ago(each["lastStatusUpdate"])),
        ("Last WireGuard handshake", _ago(each["lastWireguardHandshake"])),
        ("Transfer status (received/sent)", f"{_size(each['transferReceived'])}/{_size(each['transferSent'])}"),
        ("Latency", f"{each['latency'] / 1e6:.3f} ms"),
    ]
    return [f" {each['fqdn']}:"] + [
        f"  {name}: {value}" if value is not None else f"  {name}" for name, value in values
    ]


def _server(state: Any) -> dict[str, Any]:
    return {"url": state.URL, "connected": state.connected, "error": state.error}


def _connected(server: dict[str, Any], *, detail: bool) -> str:
    if server["connected"]:
        return f"Connected to {server['url']}" if detail else "Connected"
    return f"Disconnected, reason: {server['error']}" if server["error"] else "Disconnected"


def _event(event: pb.SystemEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "severity": pb.SystemEvent.Severity.Name(event.severity),
        "category": pb.SystemEvent.Category.Name(event.category),
        "message": event.message,
        "userMessage": event.userMessage,
        "timestamp": _time(event.timestamp),
        "metadata": dict(event.metadata),
    }


def _time(stamp: Any) -> str:
    return str(stamp.ToJsonString()) if stamp.seconds else ZERO_TIME


def _ago(text: str) -> str:
    if text == ZERO_TIME:
        return "-"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    if seconds < 1:
        return "now"
    return f"{seconds} second{'s' * (seconds != 1)} ago" if seconds < 120 else f"{seconds // 60} minutes ago"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""


def _order(ip: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ip.split(".") if part.isdecimal())
