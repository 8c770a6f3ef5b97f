"""The status as text, JSON and YAML; keys and words are NetBird's, so that scripts go on working."""

from typing import Any

import attrs

from meshloom import __version__
from meshloom.rpc import daemon_pb2 as pb
from meshloom.text import json_text
from meshloom_agent.cli.text import as_text

__all__ = ["PeerFilter", "as_json", "as_text", "as_yaml", "content", "missing"]

ZERO_TIME = "0001-01-01T00:00:00Z"


@attrs.frozen
class PeerFilter:
    """Which peers are shown and counted; what is empty chooses nothing.

    Args:
        names: Beginnings of full names.
        state: ``Idle``, ``Connecting`` or ``Connected``, in any case.
        kind: ``P2P`` or ``Relayed``, in any case.
    """

    ips: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    state: str = ""
    kind: str = ""

    @property
    def chooses(self) -> bool:
        """Whether there is any condition."""
        return bool(self.ips or self.names or self.state or self.kind)

    def has(self, peer: dict[str, Any]) -> bool:
        """Whether a peer of the status meets all conditions."""
        return (
            (not self.ips or peer["netbirdIp"] in self.ips or peer.get("netbirdIpv6") in self.ips)
            and (not self.names or peer["fqdn"].lower().startswith(tuple(name.lower() for name in self.names)))
            and (not self.state or peer["status"].lower() == self.state.lower())
            and (not self.kind or peer["connectionType"].lower() == self.kind.lower())
        )


def content(answer: pb.StatusResponse, chosen: PeerFilter | None = None) -> dict[str, Any]:
    """All that the status tells, of the peers that are chosen."""
    full = answer.fullStatus
    own = full.localPeerState
    details = [peer(each) for each in sorted(full.peers, key=lambda each: _order(each.IP))]
    details = [each for each in details if chosen is None or chosen.has(each)]
    ssh = full.sshServerState
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
        "relays": {
            "total": len(full.relays),
            "available": sum(each.available for each in full.relays),
            "details": [_relay(each) for each in full.relays] or None,
        },
        "netbirdIp": own.IP,
        "publicKey": own.pubKey,
        "usesKernelInterface": own.kernelInterface,
        "wireguardPort": own.wgPort,
        "fqdn": own.fqdn,
        "quantumResistance": own.rosenpassEnabled,
        "quantumResistancePermissive": own.rosenpassPermissive,
        "networks": list(own.networks) or None,
        "forwardingRules": full.NumberOfForwardingRules,
        "dnsServers": [
            {
                "servers": list(each.servers),
                "domains": list(each.domains) or None,
                "enabled": each.enabled,
                "error": each.error,
            }
            for each in full.dns_servers
        ],
        "events": [_event(each) for each in full.events],
        "lazyConnectionEnabled": full.lazyConnectionEnabled,
        "profileName": "default",
        "sshServer": {"enabled": ssh.enabled, "sessions": [_session(each) for each in ssh.sessions]},
    }
    if own.ipv6:
        made["netbirdIpv6"] = own.ipv6
    if answer.HasField("sessionExpiresAt"):
        made["sessionExpiresAt"] = _time(answer.sessionExpiresAt)
    return made


def peer(state: pb.PeerState) -> dict[str, Any]:
    """One peer; ``reason``, ``lastSeen`` and ``relayTransport`` are our own, and there where they say something."""
    connected = state.connStatus == "Connected"
    kind = ("Relayed" if state.relayed else "P2P") if connected else "-"
    made: dict[str, Any] = {
        "fqdn": state.fqdn,
        "netbirdIp": state.IP,
        "publicKey": state.pubKey,
        "status": state.connStatus,
        "lastStatusUpdate": _time(state.connStatusUpdate),
        "connectionType": kind,
        "iceCandidateType": {"local": state.localIceCandidateType, "remote": state.remoteIceCandidateType},
        "iceCandidateEndpoint": {
            "local": state.localIceCandidateEndpoint,
            "remote": state.remoteIceCandidateEndpoint,
        },
        "relayAddress": state.relayAddress,
        "lastWireguardHandshake": _time(state.lastWireguardHandshake),
        "transferReceived": state.bytesRx,
        "transferSent": state.bytesTx,
        "latency": state.latency.ToNanoseconds(),
        "quantumResistance": state.rosenpassEnabled,
        "networks": list(state.networks) or None,
    }
    if state.ipv6:
        made["netbirdIpv6"] = state.ipv6
    if state.reason and kind != "P2P":
        made["reason"] = state.reason
    if state.HasField("lastSeen"):
        made["lastSeen"] = _time(state.lastSeen)
    if state.relayTransport:
        made["relayTransport"] = state.relayTransport
    return made


def missing(answer: pb.StatusResponse, wanted: str) -> str:
    """What is missing for the daemon to be ``live``, ``ready`` or ``startup``; empty where nothing is."""
    if wanted == "live":
        return ""
    if wanted == "ready":
        good = answer.status in ("Idle", "Connecting", "Connected")
        return "" if good else f"the daemon's state is {answer.status}: see `meshloom status`"
    full = answer.fullStatus
    for name, server in (("management", full.managementState), ("signal", full.signalState)):
        if not server.connected:
            return f"{name} is not connected{f': {server.error}' if server.error else ''}"
    relays = [each for each in full.relays if each.URI.startswith("rel")]
    if relays and not any(each.available for each in relays):
        return f"no relay is available: {relays[0].URI}{f': {relays[0].error}' if relays[0].error else ''}"
    return ""


def as_json(status: dict[str, Any]) -> str:
    """On one line."""
    return json_text(status)


def as_yaml(status: dict[str, Any]) -> str:
    """The same keys."""
    import yaml

    return str(yaml.safe_dump(status, sort_keys=False)).rstrip()


def _server(state: Any) -> dict[str, Any]:
    return {"url": state.URL, "connected": state.connected, "error": state.error}


def _relay(state: pb.RelayState) -> dict[str, Any]:
    made = {"uri": state.URI, "available": state.available, "error": state.error}
    return made | ({"transport": state.transport} if state.transport else {})


def _session(session: pb.SSHSessionInfo) -> dict[str, Any]:
    made: dict[str, Any] = {
        "username": session.username,
        "remoteAddress": session.remoteAddress,
        "command": session.command,
    }
    if session.jwtUsername:
        made["jwtUsername"] = session.jwtUsername
    if session.portForwards:
        made["portForwards"] = list(session.portForwards)
    return made


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


def _order(ip: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ip.split(".") if part.isdecimal())
