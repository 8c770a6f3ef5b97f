"""Rounds of ``meshloom ping``: how long each took, over which path, and what they say together."""

import math
from collections.abc import Sequence

import attrs

from meshloom.rpc import diagnostics_pb2 as pb
from meshloom_agent.report import PeerReport, Report
from meshloom_agent.shown import shown_transport


def found_peer(peers: Sequence[PeerReport], name: str) -> PeerReport | None:
    """The peer of that name, with its domain or without, overlay address or public key; a whole name goes first."""
    wanted = name.strip().rstrip(".").lower()
    for peer in peers:
        addresses = {str(network.network_address) for network in peer.remote.allowed_ips if network.num_addresses == 1}
        if wanted in (peer.remote.fqdn.lower(), *addresses) or name.strip() == peer.key.text:
            return peer
    short = [peer for peer in peers if peer.remote.fqdn.lower().partition(".")[0] == wanted]
    return short[0] if len(short) == 1 else None


def is_own(report: Report, name: str) -> bool:
    """Tells whether a name, address or key is this machine's."""
    wanted = name.strip().rstrip(".").lower()
    own = {report.fqdn.lower(), *(str(address.ip) for address in report.addresses)}
    return bool(wanted) and (
        wanted in own or name.strip() == report.public_key or wanted == report.fqdn.lower().partition(".")[0]
    )


def reply(peer: PeerReport, sequence: int, round_trip: float | None) -> pb.PingReply:
    """One round, as the protocol tells it."""
    made = pb.PingReply(fqdn=peer.remote.fqdn, sequence=sequence, reason=peer.path.reason)
    if peer.path.state != "Connected":
        made.path = pb.PingReply.NONE
        if round_trip is not None:
            made.reason = ""  # a peer that answers is neither offline nor waited for
    elif peer.path.is_relayed:
        made.path, made.relay, made.transport = pb.PingReply.RELAYED, peer.relay, peer.transport
    else:
        made.path = pb.PingReply.DIRECT
        if peer.path.remote_address:
            host, port = peer.path.remote_address
            made.endpoint = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if round_trip is not None:
        made.round_trip.FromNanoseconds(int(round_trip * 1e9))
    return made


def line(answer: pb.PingReply) -> str:
    """One round for people."""
    match answer.path:
        case pb.PingReply.DIRECT:
            way = f"direct, {answer.endpoint}" if answer.endpoint else "direct"
        case pb.PingReply.RELAYED:
            way = (
                "relayed"
                + (f" through {answer.relay}" if answer.relay else "")
                + (f" by {shown_transport(answer.transport)}" if answer.transport else "")
            )
        case _ if answer.HasField("round_trip"):
            return f"{answer.sequence}: {_milliseconds(answer):.1f} ms, over a path that WireGuard found by itself"
        case _:
            way = "no path"
    why = f" ({answer.reason})" if answer.reason and answer.path != pb.PingReply.DIRECT else ""
    took = f"{_milliseconds(answer):.1f} ms" if answer.HasField("round_trip") else "no answer"
    return f"{answer.sequence}: {took}, {way}{why}"


@attrs.frozen
class Summary:
    """All rounds together."""

    sent: int
    times: tuple[float, ...]
    is_direct: bool

    @classmethod
    def of(cls, answers: Sequence[pb.PingReply]) -> "Summary":
        """Of what came; direct where the last round that was answered was."""
        answered = [answer for answer in answers if answer.HasField("round_trip")]
        direct = bool(answered) and answered[-1].path == pb.PingReply.DIRECT
        return cls(len(answers), tuple(map(_milliseconds, answered)), direct)

    @property
    def text(self) -> str:
        """In the form that ping(8) has."""
        lost = 100 * (self.sent - len(self.times)) / self.sent if self.sent else 0
        head = f"{self.sent} sent, {len(self.times)} answered, {lost:.0f}% lost"
        if not self.times:
            return head
        mean = sum(self.times) / len(self.times)
        spread = math.sqrt(sum((each - mean) ** 2 for each in self.times) / len(self.times))
        return f"{head}\nrtt min/avg/max/mdev = {min(self.times):.1f}/{mean:.1f}/{max(self.times):.1f}/{spread:.1f} ms"


def _milliseconds(answer: pb.PingReply) -> float:
    return answer.round_trip.ToNanoseconds() / 1e6
