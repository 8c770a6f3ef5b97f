"""What we tell one other agent of ourselves: offers, answers, and each candidate once for each offer."""

from collections.abc import Callable, Iterable

import attrs

from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import Candidate, CandidateKind
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage
from meshloom.protocol.stun import Address
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.mesh.relay import HomeRelay

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def new_credentials(entropy: Callable[[int], bytes]) -> Credentials:
    """Of an agent that starts, for its sessions with one other (RFC 8445 section 5.3)."""
    return Credentials(*("".join(chr(LETTERS[byte % len(LETTERS)]) for byte in entropy(size)) for size in (16, 32)))


@attrs.define
class Introduction:
    """Drain ``signals`` after each call.

    Attributes:
        moved: Whether our session began because this host's network is another one.
    """

    other: PublicKey
    credentials: Credentials
    options: MeshOptions
    listen_port: int = 0
    home: HomeRelay | None = None
    moved: bool = False
    signals: list[SignalMessage] = attrs.field(factory=list)
    _told: set[Address] = attrs.field(factory=set, init=False)

    def describe(self, kind: SignalKind, session_id: bytes) -> None:
        """An offer or an answer."""
        direct = not self.options.force_relay
        self.signals.append(
            SignalMessage(
                kind,
                self.other,
                credentials=self.credentials if direct else None,
                session_id=session_id if direct else None,
                wg_listen_port=self.listen_port,
                version=self.options.version,
                relay_address=self.home.url if self.home is not None else None,
                relay_ip=self.home.ip if self.home is not None else None,
                moved=self.moved,
            )
        )

    @property
    def goodbye(self) -> SignalMessage:
        """Returns what to say when this agent ends; it says nothing of the agent that comes after it."""
        return SignalMessage(SignalKind.HEARTBEAT, self.other, goodbye=self.credentials.ufrag)

    def tell(self, candidates: Iterable[Candidate], *, relayed: bool) -> None:
        """Those that the other was not told of yet; the *relayed* ones only where they are wanted."""
        for candidate in () if self.options.force_relay else candidates:
            wanted = relayed if candidate.kind is CandidateKind.RELAY else not (relayed and self.options.turn_only)
            if wanted and candidate.address not in self._told:
                self._told.add(candidate.address)
                self.signals.append(SignalMessage(SignalKind.CANDIDATE, self.other, candidate=candidate.line()))

    def repeat(self) -> None:
        """The other may have forgotten all candidates."""
        self._told.clear()
