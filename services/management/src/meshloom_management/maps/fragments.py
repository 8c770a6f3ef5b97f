"""Entries of maps, each encoded once for the entity that it shows."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import attrs

from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.policy import Action, Protocol, Rule
from meshloom.netmap.reach import EffectiveRule
from meshloom.rpc import management_pb2 as pb

IN, OUT = pb.RuleDirection.IN, pb.RuleDirection.OUT
RECORD_TTL = 300
A, AAAA = 1, 28

PROTOCOLS = {
    Protocol.ALL: pb.RuleProtocol.ALL,
    Protocol.TCP: pb.RuleProtocol.TCP,
    Protocol.UDP: pb.RuleProtocol.UDP,
    Protocol.ICMP: pb.RuleProtocol.ICMP,
    Protocol.NETBIRD_SSH: pb.RuleProtocol.TCP,
}
SSH_PORT, OWN_SSH_PORT = "22", "22022"


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


def version_at_least(version: str, least: tuple[int, int]) -> bool:
    """Whether an agent's version is that new; what is no number is a build of its developers, newer than all."""
    parts = version.lstrip("v").split("-")[0].split(".")
    try:
        return (int(parts[0]), int(parts[1])) >= least
    except (ValueError, IndexError):
        return True


def profile_of(peer: Peer) -> Profile:
    """The profile of a receiver."""
    serves_ssh = peer.ssh_enabled and peer.meta.flags.server_ssh_allowed
    version = peer.meta.agent_version
    return Profile(
        ipv6=peer.ipv6 is not None,
        ranges=version_at_least(version, (0, 48)),
        serves_ssh=serves_ssh and version_at_least(version, (0, 60)),
    )


def varint(number: int) -> bytes:
    """Protobuf's encoding of a number."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def compact(address: IPv4Address | IPv6Address, prefix: int) -> bytes:
    """An address and a prefix length as the protocol packs them."""
    return address.packed + bytes([prefix])


class Fragments:
    """Encoded entries, kept while the entity that they show is the same object."""

    def __init__(self) -> None:
        self._remotes: dict[tuple[PeerID, bool, str], tuple[Peer, bytes]] = {}
        self._records: dict[tuple[PeerID, bool, str], tuple[Peer, bytes]] = {}
        self._rules: dict[Any, tuple[Peer, Rule, bytes]] = {}

    def forget(self, peer: PeerID) -> None:
        """Drop what shows a peer that is gone."""
        for cache in (self._remotes, self._records, self._rules):
            for key in [key for key in cache if key[0] == peer]:
                del cache[key]

    def remote(self, peer: Peer, domain: str, profile: Profile) -> bytes:
        """An entry of ``NetworkMap.remotePeers``."""
        key = peer.id, profile.ipv6, domain
        known = self._remotes.get(key)
        if known is None or known[0] is not peer:
            addresses = [f"{peer.ip}/32"]
            if profile.ipv6 and peer.ipv6:
                addresses.append(f"{peer.ipv6}/128")
            message = pb.RemotePeerConfig(
                wgPubKey=peer.key.text,
                allowedIps=addresses,
                sshConfig=pb.SSHConfig(sshPubKey=peer.ssh_key.encode()),
                fqdn=f"{peer.dns_label}.{domain}",
                agentVersion=peer.meta.agent_version,
            )
            known = self._remotes[key] = peer, field(3, message.SerializeToString())
        return known[1]

    def record(self, peer: Peer, domain: str, profile: Profile) -> bytes:
        """Entries of ``CustomZone.Records``."""
        key = peer.id, profile.ipv6, domain
        known = self._records.get(key)
        if known is None or known[0] is not peer:
            out = b""
            for label in (peer.dns_label, *peer.extra_dns_labels):
                addresses = [(A, peer.ip), (AAAA, peer.ipv6)] if profile.ipv6 and peer.ipv6 else [(A, peer.ip)]
                for type_, address in addresses:
                    message = pb.SimpleRecord(
                        Name=f"{label}.{domain}", Type=type_, Class="IN", TTL=RECORD_TTL, RData=str(address)
                    )
                    out += field(2, message.SerializeToString())
            known = self._records[key] = peer, out
        return known[1]

    def rule(self, effective: EffectiveRule, direction: int, peer: Peer, profile: Profile) -> bytes:
        """Entries of ``NetworkMap.FirewallRules`` for traffic with one remote peer."""
        key = peer.id, effective.policy, effective.rule.id, direction, profile
        known = self._rules.get(key)
        if known is None or known[0] is not peer or known[1] is not effective.rule:
            addresses: list[IPv4Address | IPv6Address] = [peer.ip]
            if profile.ipv6 and peer.ipv6:
                addresses.append(peer.ipv6)
            out = b""
            for address in addresses:
                for message in firewall_rules(effective, direction, address, profile):
                    out += field(8, message.SerializeToString())
            known = self._rules[key] = peer, effective.rule, out
        return known[2]


def firewall_rules(
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
    if rule.protocol is Protocol.NETBIRD_SSH or not (rule.ports or rule.port_ranges):
        return [message(PortInfo=pb.PortInfo(range=pb.PortInfo.Range()))]
    if not rule.ports:
        ranges = [span for span in rule.port_ranges if profile.ranges or span.start == span.end]
        return [
            message(PortInfo=pb.PortInfo(range=pb.PortInfo.Range(start=span.start, end=span.end)))
            if profile.ranges
            else message(Port=str(span.start))
            for span in ranges
        ]
    ports = list(rule.ports)
    behind_ssh = direction == IN and profile.serves_ssh and rule.protocol is Protocol.TCP
    if behind_ssh and SSH_PORT in ports and OWN_SSH_PORT not in ports:
        ports.append(OWN_SSH_PORT)
    return [message(Port=port) for port in ports]
