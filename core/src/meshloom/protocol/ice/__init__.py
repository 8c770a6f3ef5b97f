"""ICE (RFC 8445) for one component on one UDP port that all connections of a host share.

The port is bound to all of a host's addresses and the kernel picks the source by its routes, so that a pair of
candidates is told by its remote side alone; which local candidate a check left from is learned from the address that
the response says it came from (section 7.2.5.3.1). Relayed candidates of our own (RFC 8656) are other ways out, and the
pairs that go through one are told by it, too.
"""

from meshloom.protocol.ice.agent import AgentState, IceAgent, Outgoing
from meshloom.protocol.ice.candidate import Candidate, CandidateKind, parse_candidate
from meshloom.protocol.ice.discovery import AddressDiscovery
from meshloom.protocol.ice.pair import Pair, PairState
from meshloom.protocol.ice.timers import Timers

__all__ = [
    "AddressDiscovery",
    "AgentState",
    "Candidate",
    "CandidateKind",
    "IceAgent",
    "Outgoing",
    "Pair",
    "PairState",
    "Timers",
    "parse_candidate",
]
