"""What a NAT does with UDP, found out by asking a STUN server that has other ports and addresses (RFC 5780).

Both sides are here: :func:`behaviour_answer` for the server, :class:`NatDiscovery` for the host behind the NAT.

A request asks for this by CHANGE-REQUEST, also where it wants no change; plain requests are answered as ever. So that
nobody is sent more than was sent in his name, a server answers such a request in full only where the answer is no
longer than the request. Requests are therefore filled up with a long SOFTWARE attribute: PADDING (RFC 5780 section
7.6) would make other servers answer with a padding of their own.
"""

from collections.abc import Callable
from enum import StrEnum

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.stun import (
    HEADER,
    MAX_MESSAGE,
    Address,
    Attribute,
    Kind,
    encode,
    pack_address,
    pack_plain_address,
    parse,
)

CHANGE_IP, CHANGE_PORT = 0x04, 0x02
FULL_ANSWER = 100
"""Bytes of the longest answer: three IPv6 addresses and FINGERPRINT."""
REPEAT_AFTER = (0.0, 0.2, 0.5)
GIVE_UP_AFTER = 1.0
SLOWEST = 2.5
"""Seconds that a first answer may take besides; later ones get as long as that took."""
UNKNOWN_ATTRIBUTE = 420


class Behaviour(StrEnum):
    """Kinds of mapping and of filtering, in RFC 4787's words (sections 4.1 and 5)."""

    UNKNOWN = "unknown"
    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    NOT_PORT_DEPENDENT = "endpoint-independent or address-dependent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


@attrs.frozen
class Origin:
    """The address that an answer leaves from, and the ones that it could leave from.

    Args:
        here: Where the request came to.
        other_address: The server's other IP address, ``here``'s own where it has one only.
        other_port: Its other port.
    """

    here: Address
    other_address: str
    other_port: int


def wanted_change(request: bytes) -> int | None:
    """The flags of CHANGE-REQUEST of a binding request (section 7.2), None where it has none."""
    at, end = HEADER, min(len(request), MAX_MESSAGE)
    while at + 8 <= end:
        size = int.from_bytes(request[at + 2 : at + 4])
        if request[at : at + 2] == b"\x00\x03":
            return int.from_bytes(request[at + 4 : at + 8]) & (CHANGE_IP | CHANGE_PORT) if size == 4 else None
        at += 4 + size + -size % 4
    return None


def behaviour_answer(request: bytes, source: Address, origin: Origin, flags: int) -> tuple[bytes, Address] | None:
    """The answer to a binding request with CHANGE-REQUEST, and the address to send it from.

    None where it would be longer than the request, or where there is no such other address to send it from: the
    requester takes silence for a filter, and so must not be told by anybody else.

    Args:
        request: A well-formed binding request.
        source: Where it came from.
        origin: Where it came to.
        flags: What :func:`wanted_change` found.
    """
    host, port = origin.here
    if flags & CHANGE_IP:
        if origin.other_address == host:
            return None
        host = origin.other_address
    if flags & CHANGE_PORT:
        port = origin.other_port
    transaction = request[8:20]
    answer = encode(
        Kind.SUCCESS,
        transaction,
        [
            (Attribute.XOR_MAPPED_ADDRESS, pack_address(source, transaction)),
            (Attribute.RESPONSE_ORIGIN, pack_plain_address((host, port))),
            (Attribute.OTHER_ADDRESS, pack_plain_address((origin.other_address, origin.other_port))),
        ],
    )
    return (answer, (host, port)) if len(answer) <= len(request) else None


def behaviour_request(transaction: bytes, flags: int = 0, size: int = FULL_ANSWER) -> bytes:
    """A request for :func:`behaviour_answer` of at least *size* bytes."""
    filling = max(0, size - HEADER - 8 - 4 - 8)
    return encode(
        Kind.REQUEST,
        transaction,
        [(Attribute.CHANGE_REQUEST, flags.to_bytes(4)), (Attribute.SOFTWARE, b"meshloom".ljust(filling))],
    )


@attrs.frozen
class NatReport:
    """What was found out with one server.

    Args:
        mapped: Our address as the server sees it; None where it did not answer.
        latency: Round trip in seconds to it.
        changes_address: Whether the server has two IP addresses; with one, mappings and filters by address alone
            cannot be told apart from those that have no condition.
    """

    server: Address
    mapped: Address | None = None
    latency: float = 0.0
    mapping: Behaviour = Behaviour.UNKNOWN
    filtering: Behaviour = Behaviour.UNKNOWN
    changes_address: bool = False


@attrs.define(eq=False)
class _Test:
    """One request until its answer, or until it is given up."""

    destination: Address
    flags: int
    transaction: bytes
    began: float
    tries: int = 0
    answered: bool = False
    gone: bool = False
    refused: bool = False
    source: Address | None = None
    mapped: Address | None = None
    other: Address | None = None
    latency: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.answered or self.gone


class NatDiscovery:
    """Asks one server, from one socket that has sent nothing to it before. Sans-IO.

    Drain ``datagrams()`` after each call, wake it at ``deadline()``; ``report`` is whole once ``is_done``. Filters are
    tested before mappings, whose test opens the filters.

    Args:
        local: The addresses of this host with the socket's port: where the server sees one of them, there is no NAT.
    """

    def __init__(self, server: Address, local: frozenset[Address], entropy: Callable[[int], bytes], now: float) -> None:
        self.report = NatReport(server)
        self.is_done = False
        self._server, self._local, self._entropy = server, local, entropy
        self._tests: list[_Test] = []
        self._then: Callable[[float], None] = self._after_first
        self._slack = SLOWEST
        self._out: list[tuple[bytes, Address]] = []
        self._alternate: Address | None = None
        self._ask(now, (server, 0))

    def datagrams(self) -> list[tuple[bytes, Address]]:
        """What to send now, to whom."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        return min((self._due(test) for test in self._tests if not test.is_over), default=None)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """A datagram that came to the socket; what answers no request of ours is ignored."""
        test = next((each for each in self._tests if not each.is_over and each.transaction == data[8:20]), None)
        if test is None:
            return
        try:
            message = parse(data)
            mapped, other = message.mapped_address, message.plain_address(Attribute.OTHER_ADDRESS)
        except ProtocolError:
            return
        if message.kind == Kind.ERROR:
            test.answered, test.refused = True, message.error_code == UNKNOWN_ATTRIBUTE
        elif message.kind == Kind.SUCCESS and mapped is not None:
            test.answered, test.source, test.mapped, test.other = True, source, mapped, other
            test.latency = now - test.began - REPEAT_AFTER[0] if test.tries == 1 else 0.0
            self._slack = min(self._slack, now - test.began)
        else:
            return
        self._go_on(now)

    def handle_timer(self, now: float) -> None:
        """Repeat what is due, give up what waited long enough."""
        for test in self._tests:
            if test.is_over or self._due(test) > now:
                continue
            if test.tries >= len(REPEAT_AFTER):
                test.gone = True
            else:
                self._send(test)
        self._go_on(now)

    # -- the tests, in their order -----------------------------------------------------------------------------

    def _after_first(self, now: float) -> None:
        """Section 4.2: whether there is UDP and a NAT, and what the server can do."""
        (first,) = self._tests
        if first.refused:  # knows no CHANGE-REQUEST, but what our address is
            self._then = self._after_plain
            self._ask(now, (self._server, None))
            return
        self._take(first)
        if self.report.mapped is None or first.other is None or first.other[1] == self._server[1]:
            self._end()
            return
        self._alternate = first.other
        two = first.other[0] != self._server[0]
        self.report = attrs.evolve(self.report, changes_address=two)
        self._then = self._after_filters
        asked: list[tuple[Address, int | None]] = [(self._server, CHANGE_PORT)]
        self._ask(now, *asked, *([(self._server, CHANGE_PORT | CHANGE_IP)] if two else []))

    def _after_plain(self, _now: float) -> None:
        self._take(self._tests[0])
        self._end()

    def _after_filters(self, now: float) -> None:
        """Section 4.4."""
        alternate = self._alternate or self._server
        port_changed = self._came_from(self._tests[0], (self._server[0], alternate[1]))
        two = len(self._tests) > 1
        if two and self._came_from(self._tests[1], alternate):
            filtering = Behaviour.ENDPOINT_INDEPENDENT
        elif port_changed:
            filtering = Behaviour.ADDRESS_DEPENDENT if two else Behaviour.NOT_PORT_DEPENDENT
        else:
            filtering = Behaviour.ADDRESS_AND_PORT_DEPENDENT
        self.report = attrs.evolve(self.report, filtering=filtering)
        if self.report.mapping is Behaviour.NONE:
            self._end()
            return
        self._then = self._after_mappings
        others = [(self._server[0], alternate[1]), *([(alternate[0], self._server[1])] if two else [])]
        self._ask(now, *((other, 0) for other in others))

    def _after_mappings(self, _now: float) -> None:
        """Section 4.3, with the alternate port at the same address in place of both changed: two facts, no third."""
        mapped = self.report.mapped
        by_port, *more = [test.mapped for test in self._tests]
        by_address = more[0] if more else None
        mapping = Behaviour.UNKNOWN
        if by_port is not None and by_port != mapped:
            mapping = Behaviour.ADDRESS_AND_PORT_DEPENDENT
        elif by_address == mapped:
            mapping = Behaviour.ENDPOINT_INDEPENDENT
        elif by_port is not None:
            mapping = Behaviour.NOT_PORT_DEPENDENT if by_address is None else Behaviour.ADDRESS_DEPENDENT
        self.report = attrs.evolve(self.report, mapping=mapping)
        self._end()

    # -- inside ------------------------------------------------------------------------------------------------

    def _take(self, test: _Test) -> None:
        mapping = Behaviour.NONE if test.mapped in self._local else Behaviour.UNKNOWN
        self.report = attrs.evolve(self.report, mapped=test.mapped, latency=test.latency, mapping=mapping)

    @staticmethod
    def _came_from(test: _Test, source: Address) -> bool:
        return test.mapped is not None and test.source == source

    def _ask(self, now: float, *asked: tuple[Address, int | None]) -> None:
        """Begin tests; flags of None stand for a plain request."""
        self._tests = [
            _Test(destination, -1 if flags is None else flags, self._entropy(12), now) for destination, flags in asked
        ]
        for test in self._tests:
            self._send(test)

    def _send(self, test: _Test) -> None:
        plain_one = test.flags < 0
        data = encode(Kind.REQUEST, test.transaction) if plain_one else behaviour_request(test.transaction, test.flags)
        self._out.append((data, test.destination))
        test.tries += 1

    def _go_on(self, now: float) -> None:
        if not self.is_done and all(test.is_over for test in self._tests):
            self._then(now)

    def _end(self) -> None:
        self._tests, self.is_done = [], True

    def _due(self, test: _Test) -> float:
        if test.tries < len(REPEAT_AFTER):
            return test.began + REPEAT_AFTER[test.tries]
        return test.began + GIVE_UP_AFTER + self._slack


def across_servers(reports: list[NatReport]) -> Behaviour:
    """The kind of mapping that several servers' views tell together, where one of them alone could not.

    The reports must come from one socket.
    """
    told = [report.mapping for report in reports if report.mapped is not None]
    for sure in (Behaviour.NONE, Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_DEPENDENT):
        if sure in told:
            return sure
    if Behaviour.ADDRESS_AND_PORT_DEPENDENT in told:
        return Behaviour.ADDRESS_AND_PORT_DEPENDENT
    views = {report.server[0]: report.mapped for report in reports if report.mapped is not None}
    if len(views) > 1:
        same = len(set(views.values())) == 1
        if same:
            return Behaviour.ENDPOINT_INDEPENDENT
        return Behaviour.ADDRESS_DEPENDENT if Behaviour.NOT_PORT_DEPENDENT in told else Behaviour.UNKNOWN
    return Behaviour.NOT_PORT_DEPENDENT if Behaviour.NOT_PORT_DEPENDENT in told else Behaviour.UNKNOWN
