"""The status as text: labels in NetBird's order, and lines of our own only where they say something."""

import platform
from datetime import UTC, datetime
from typing import Any

from meshloom.text import printable_value
from meshloom_agent.shown import shown_transport

NEVER = "0001-01-01T00:00:00Z"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def as_text(status: dict[str, Any], *, detail: bool) -> str:
    """For people; what servers and peers say is made printable first."""
    status = printable_value(status)
    lines: list[str] = []
    if detail:
        lines.append("Peers detail:")
        for each in status["peers"]["details"] or []:
            lines += _peer_lines(each)
        lines += ["", *_event_lines(status["events"]), ""]
    kind = "Kernel" if status["usesKernelInterface"] else "Userspace"
    values = [
        ("OS", f"linux/{MACHINES.get(platform.machine(), platform.machine())}"),
        ("Daemon version", status["daemonVersion"]),
        ("CLI version", status["cliVersion"]),
        ("Profile", status["profileName"]),
        ("Management", _connected(status["management"], detail=detail)),
        ("Signal", _connected(status["signal"], detail=detail)),
        ("Relays", _relays(status["relays"], detail=detail)),
        ("Nameservers", _nameservers(status["dnsServers"], detail=detail)),
        ("FQDN", status["fqdn"] or "-"),
        ("IP", status["netbirdIp"] or "-"),
        ("IPv6", status.get("netbirdIpv6", "")),
        ("Interface type", kind if status["netbirdIp"] else "N/A"),
        ("Wireguard port", str(status["wireguardPort"] or "-")),
        ("Lazy connection", _flag(status["lazyConnectionEnabled"])),
        ("SSH Server", _ssh(status["sshServer"])),
        ("Networks", ", ".join(status["networks"] or []) or "-"),
        ("Forwarding rules", str(status["forwardingRules"] or "")),
        ("Session expires", _until(status.get("sessionExpiresAt", ""))),
        ("Peers count", _count(status)),
    ]
    said = [
        f"{each['severity'].capitalize()}: {each['userMessage']}"
        for severity in ("ERROR", "WARNING")
        for each in status["events"]
        if each["severity"] == severity
    ]
    return "\n".join(lines + [f"{name}: {value}" for name, value in values if value] + said)


def _peer_lines(each: dict[str, Any]) -> list[str]:
    kinds, endpoints = each["iceCandidateType"], each["iceCandidateEndpoint"]
    values = [
        ("IP", each["netbirdIp"]),
        ("IPv6", each.get("netbirdIpv6")),
        ("Public key", each["publicKey"]),
        ("Status", each["status"]),
        ("-- detail --", ""),
        ("Connection type", each["connectionType"]),
        ("Reason", each.get("reason")),
        ("ICE candidate (Local/Remote)", f"{kinds['local'] or '-'}/{kinds['remote'] or '-'}"),
        ("ICE candidate endpoints (Local/Remote)", f"{endpoints['local'] or '-'}/{endpoints['remote'] or '-'}"),
        ("Relay server address", each["relayAddress"] or None),
        ("Relay transport", shown_transport(each.get("relayTransport") or "") or None),
        ("Last connection update", _ago(each["lastStatusUpdate"])),
        ("Last WireGuard handshake", _ago(each["lastWireguardHandshake"])),
        ("Transfer status (received/sent)", f"{_size(each['transferReceived'])}/{_size(each['transferSent'])}"),
        ("Networks", ", ".join(each["networks"] or []) or "-"),
        ("Latency", f"{each['latency'] / 1e6:.3f} ms" if each["latency"] else "-"),
    ]
    return [f" {each['fqdn']}:"] + [
        f"  {name}: {value}" if value else f"  {name}" for name, value in values if value is not None
    ]


def _event_lines(events: list[dict[str, Any]]) -> list[str]:
    if not events:
        return ["Events: No events recorded"]
    lines = ["Events:"]
    for each in events:
        lines.append(f"  [{each['severity']}] {each['category']}")
        lines.append(f"    Message: {each['userMessage'] or each['message']}")
        if each["timestamp"] != NEVER:
            lines.append(f"    Time: {_ago(each['timestamp'])}")
    return lines


def _connected(server: dict[str, Any], *, detail: bool) -> str:
    if server["connected"]:
        return f"Connected to {server['url']}" if detail else "Connected"
    return f"Disconnected, reason: {server['error']}" if server["error"] else "Disconnected"


def _relays(relays: dict[str, Any], *, detail: bool) -> str:
    if not detail:
        return f"{relays['available']}/{relays['total']} Available"
    lines = [""]
    for each in relays["details"] or []:
        if each["available"]:
            state = "is Available" + (f" by {shown_transport(each['transport'])}" if each.get("transport") else "")
        elif each["error"]:
            state = f"is Unavailable, reason: {each['error']}"
        else:
            state = "is Checking..."
        lines.append(f"  [{each['uri']}] {state}")
    return "\n".join(lines) if len(lines) > 1 else "-"


def _nameservers(groups: list[dict[str, Any]], *, detail: bool) -> str:
    if not detail:
        good = sum(each["enabled"] and not each["error"] for each in groups)
        return f"{good}/{len(groups)} Available"
    lines = [""]
    for each in groups:
        good = each["enabled"] and not each["error"]
        state = "Available" if good else "Unavailable" + (f", reason: {each['error']}" if each["error"] else "")
        lines.append(f"  [{', '.join(each['servers'])}] for [{', '.join(each['domains'] or ['.'])}] is {state}")
    return "\n".join(lines) if groups else "-"


def _count(status: dict[str, Any]) -> str:
    """Returns how many peers are connected; those that sleep until there is traffic are not missing."""
    peers = status["peers"]
    offline = sum("lastSeen" in each for each in peers["details"] or [])
    asleep = sum(each["status"] == "Idle" and "lastSeen" not in each for each in peers["details"] or [])
    more = f", {offline} offline" if offline else ""
    if status["daemonStatus"] != "Connected" or not status["lazyConnectionEnabled"] or not asleep:
        return f"{peers['connected']}/{peers['total']} Connected{more}"
    awake = peers["total"] - asleep
    return f"{peers['connected']}/{awake} Connected, {asleep} asleep{more}" if awake else f"{asleep} asleep"


def _ssh(server: dict[str, Any]) -> str:
    count = len(server["sessions"])
    if not server["enabled"]:
        return "Disabled"
    return f"Enabled ({count} active session{'s' * (count != 1)})" if count else "Enabled"


def _until(text: str) -> str:
    if not text:
        return ""
    seconds = int((datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds())
    return f"{text} (in {seconds // 3600}h{seconds // 60 % 60}m)" if seconds > 0 else f"{text} (expired)"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _ago(text: str) -> str:
    if text == NEVER:
        return "-"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    if seconds < 1:
        return "now"
    if seconds < 120:
        return f"{seconds} second{'s' * (seconds != 1)} ago"
    return f"{seconds // 60} minutes ago" if seconds < 7200 else f"{seconds // 3600} hours ago"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""
