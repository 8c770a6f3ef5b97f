"""What policies say beyond who is connected with whom: this agent does not enforce it, and says so."""

from typing import Final

from meshloom.rpc import management_pb2 as pb

BEGINNING: Final = "not enforced by this machine yet: "
"""How the warning begins: ``doctor`` knows it by that."""
_EVERYBODY: Final = "0.0.0.0"
_WITHOUT_PROTOCOL: Final = (pb.RuleProtocol.ALL, pb.RuleProtocol.UNKNOWN)


def unenforced(network_map: pb.NetworkMap) -> tuple[str, ...]:
    """Returns what a person should know of a map's rules for the firewall; nothing where they allow everything."""
    protocols: set[int] = set()
    limited = denied = False
    inbound: set[str] = set()
    outbound: set[str] = set()
    for rule in network_map.FirewallRules:
        protocol = rule.Protocol
        protocols.add(protocol)
        if protocol not in _WITHOUT_PROTOCOL and not limited:
            limited = bool(rule.Port) or rule.PortInfo.port > 0 or rule.PortInfo.range.start > 0
        if rule.Action == pb.RuleAction.DROP:
            denied = True
        else:
            (outbound if rule.Direction == pb.RuleDirection.OUT else inbound).add(rule.PeerIP)
    parts = {
        "ports": limited,
        "protocols": not protocols <= set(_WITHOUT_PROTOCOL),
        "directions": _EVERYBODY not in inbound and not outbound <= inbound,
        "denials": denied,
    }
    named = [name for name, is_there in parts.items() if is_there]
    if not named:
        return ()
    return (f"{BEGINNING}{' and '.join(named)} of policies; peers that it is connected with reach everything on it",)
