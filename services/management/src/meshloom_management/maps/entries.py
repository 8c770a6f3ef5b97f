"""The messages that maps show other peers with: what they say for one receiver."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import attrs

from meshloom.model.peer import Peer
from meshloom.model.policy import Action, Protocol, Rule
from meshloom.netmap.reach import EffectiveRule
from meshloom.netmap.ssh import SSH_PORT, covers_port
from meshloom.netmap.versions import OWN_SSH_PORT, PORT_RANGES, version_at_least
from meshloom.rpc import management_pb2 as pb
from meshloom_management.maps.encoding import compact, field

IN, OUT = pb.RuleDirection.IN, pb.RuleDirection.OUT
RECORD_TTL = 300
A, AAAA = 1, 28
AGENTS_SSH_PORT = 22022

PROTOCOLS = {
    Protocol.ALL: pb.RuleProtocol.ALL,
    Protocol.TCP: pb.RuleProtocol.TCP,
    Protocol.UDP: pb.RuleProtocol.UDP,
    Protocol.ICMP: pb.RuleProtocol.ICMP,
    Protocol.NETBIRD_SSH: pb.RuleProtocol.TCP,
}


@attrs.frozen
class Profile:
    """What of its receiver a map's entries depend on.

    Args:
        ipv6: It has an IPv6 overlay address.
        ranges: Its version understands ranges of ports.
        serves_ssh: It runs the agent's own SSH server, which listens on another port behind port 22.
    """

    ipv6: bool
    ranges: bool
    serves_ssh: bool


def profile_of(peer: Peer) -> Profile:
    """The profile of a receiver."""
    version = peer.meta.agent_version
    return Profile(
        ipv6=peer.ipv6 is not None,
        ranges=version_at_least(version, PORT_RANGES),
        serves_ssh=peer.ssh_enabled and peer.meta.flags.server_ssh_allowed and version_at_least(version, OWN_SSH_PORT),
    )


def remote_entry(peer: Peer, domain: str, *, ipv6: bool) -> bytes:
    """The entry of ``NetworkMap.remotePeers``."""
    addresses = [f"{peer.ip}/32"]
    if ipv6 and peer.ipv6:
        addresses.append(f"{peer.ipv6}/128")
    message = pb.RemotePeerConfig(
        wgPubKey=peer.key.text,
        allowedIps=addresses,
        sshConfig=pb.SSHConfig(sshPubKey=peer.ssh_key.encode()),
        fqdn=f"{peer.dns_label}.{domain}",
        agentVersion=peer.meta.agent_version,
    )
    return field(3, message.SerializeToString())


def record_entries(peer: Peer, domain: str, *, ipv6: bool) -> bytes:
    """Entries of ``CustomZone.Records``."""
    out = b""
    for label in dict.fromkeys((peer.dns_label, *peer.extra_dns_labels)):  # a machine may be renamed to its extra label
        addresses = [(A, peer.ip), (AAAA, peer.ipv6)] if ipv6 and peer.ipv6 else [(A, peer.ip)]
        for type_, address in addresses:
            message = pb.SimpleRecord(
                Name=f"{label}.{domain}", Type=type_, Class="IN", TTL=RECORD_TTL, RData=str(address)
            )
            out += field(2, message.SerializeToString())
    return out


def rule_entries(effective: EffectiveRule, direction: int, peer: Peer, profile: Profile) -> bytes:
    """Entries of ``NetworkMap.FirewallRules`` for traffic with one remote peer."""
    addresses: list[IPv4Address | IPv6Address] = [peer.ip]
    if profile.ipv6 and peer.ipv6:
        addresses.append(peer.ipv6)
    out = b""
    for address in addresses:
        for message in _firewall_rules(effective, direction, address, profile):
            out += field(8, message.SerializeToString())
    return out


def _firewall_rules(
    effective: EffectiveRule, direction: int, address: IPv4Address | IPv6Address, profile: Profile
) -> list[pb.FirewallRule]:
    """One rule towards one address: a message for each port, or one for all."""
    rule = effective.rule

    def message(**ports: Any) -> pb.FirewallRule:
        made = pb.FirewallRule(
            PeerIP=str(address),
            Protocol=PROTOCOLS[rule.protocol],
            PolicyID=effective.policy.encode(),
            sourcePrefixes=[compact(address, address.max_prefixlen)],
            **ports,
        )
        made.Direction = direction  # type: ignore[assignment]
        made.Action = pb.RuleAction.DROP if rule.action is Action.DROP else pb.RuleAction.ACCEPT
        return made

    if rule.protocol in (Protocol.ALL, Protocol.ICMP):
        return [message()]
    if not (rule.ports or rule.port_ranges):
        return [message(PortInfo=pb.PortInfo(range=pb.PortInfo.Range()))]
    found = [message(Port=port) for port in rule.ports]
    for span in () if rule.ports else rule.port_ranges:
        if profile.ranges:
            found.append(message(PortInfo=pb.PortInfo(range=pb.PortInfo.Range(start=span.start, end=span.end))))
        elif span.start == span.end:
            found.append(message(Port=str(span.start)))
    if direction == IN and profile.serves_ssh and _needs_agents_ssh(rule):
        found.append(message(Port=str(AGENTS_SSH_PORT)))
    return found


def _needs_agents_ssh(rule: Rule) -> bool:
    tcp = rule.protocol in (Protocol.TCP, Protocol.NETBIRD_SSH)
    return tcp and covers_port(rule, SSH_PORT) and not covers_port(rule, AGENTS_SSH_PORT)
