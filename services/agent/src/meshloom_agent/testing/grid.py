"""Which networks connect directly, and which through a relay: every NAT with every other, and what has a name.

``python -m meshloom_agent.testing.grid`` prints the table of the documentation.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from itertools import pairwise

import attrs

from meshloom.testing.lab import BEHAVIOURS, OPEN, Conditions, Filtering, Host, Lab, Mapping, Nat, can_be_direct
from meshloom_agent.mesh import PathStatus
from meshloom_agent.testing.agent import SimulatedAgent
from meshloom_agent.testing.mesh import SimulatedMesh

WITHIN = 20.0
"""Virtual seconds after which two agents that have not connected never will without a relay."""

CONE = Nat(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
SYMMETRIC = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
STRICT_FIREWALL = Nat(filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT, translates=False)
BLOCKED = Nat(blocks_udp=True)
USUAL = IPv4Network("192.168.1.0/24")
NEEDS_RELAY = "a relay is needed"

Place = Callable[[Lab], tuple[Host, Host]]


@attrs.frozen
class Outcome:
    """What became of two agents.

    Args:
        connected: Seconds until both were connected; None where they were not.
        ping: Seconds for the first ping thereafter, handshake included.
        told: Seconds until the status of both said that a relay is needed; None where it did not.
        path: How the first one sees it.
    """

    connected: float | None
    ping: float | None
    told: float | None
    path: PathStatus

    @property
    def is_direct(self) -> bool:
        """Whether a ping went over a direct path."""
        return self.ping is not None


@attrs.frozen
class Relayed:
    """What became of two agents that have a relay.

    Args:
        ping: Seconds from the start of the second one to the answer to the first ping, by whatever path.
        later: Seconds for a ping when all has been tried.
        is_direct: Whether neither says then that its packets go through the relay.
        changes: How often either has passed from one path to the other.
    """

    ping: float
    later: float
    is_direct: bool
    changes: int


@attrs.frozen
class Arrangement:
    """Two hosts in networks that people have, and whether they can reach each other directly."""

    name: str
    place: Place
    is_direct: bool


def try_out(place: Place, seed: int = 1, *, ipv6: bool = False) -> Outcome:
    """Start an agent on each of the two hosts that *place* makes."""
    mesh = SimulatedMesh(seed, Conditions(delay=0.01), ipv6=ipv6)
    one, other = map(mesh.agent, place(mesh.lab))
    told: list[float] = []

    def is_over() -> bool:
        if not told and all(_needs_relay(*each) for each in ((one, other), (other, one))):
            told.append(mesh.clock.now)
        return mesh.are_connected(one, other)

    try:
        connected = mesh.clock.run_until(is_over, within=WITHIN)
        ping = mesh.time_to_ping(one, other, within=WITHIN)
    except AssertionError:
        return Outcome(None, None, told[0] if told else None, one.path_to(other))
    return Outcome(connected, ping, None, one.path_to(other))


def try_with_relay(place: Place, seed: int = 1, *, ipv6: bool = False) -> Relayed:
    """The same where there is a relay, which both reach over TCP.

    Raises:
        AssertionError: They are not connected, or no ping passes.
    """
    mesh = SimulatedMesh(seed, Conditions(delay=0.01), ipv6=ipv6, relays=1)
    agents = one, other = [mesh.agent(host) for host in place(mesh.lab)]
    ways: list[list[bool]] = [[], []]

    def follow(agent: SimulatedAgent) -> None:
        number = agents.index(agent)
        peer = agents[1 - number]
        if agent.is_connected(peer):
            ways[number].append(agent.path_to(peer).is_relayed)

    for agent in agents:
        agent.after_each_step = follow
    ping = mesh.time_to_connect(one, other, within=WITHIN) + mesh.time_to_ping(one, other, within=WITHIN)
    mesh.clock.run_for(WITHIN)
    return Relayed(
        ping,
        mesh.time_to_ping(other, one, within=WITHIN),
        not (one.path_to(other).is_relayed or other.path_to(one).is_relayed),
        sum(before is not after for way in ways for before, after in pairwise(way)),
    )


def _needs_relay(one: SimulatedAgent, other: SimulatedAgent) -> bool:
    return other.key in one.known and NEEDS_RELAY in one.path_to(other).reason


def behind(one: Nat, other: Nat) -> Place:
    """Each behind a router of its own."""
    return lambda lab: (lab.behind(one).host(), lab.behind(other).host())


def _same_lan(nat: Nat) -> Place:
    def place(lab: Lab) -> tuple[Host, Host]:
        site = lab.behind(nat)
        return site.host(), site.host()

    return place


def _shared_outer(outer: Nat, inner: Nat) -> Place:
    def place(lab: Lab) -> tuple[Host, Host]:
        site = lab.behind(outer)
        return site.behind(inner).host(), site.behind(inner).host()

    return place


def _double(outer: Nat, inner: Nat, other: Nat) -> Place:
    return lambda lab: (lab.behind(outer).behind(inner).host(), lab.behind(other).host())


def _two_stacks(one: Nat, other: Nat) -> Place:
    return lambda lab: (lab.behind(one, ipv6=True).host(), lab.behind(other, ipv6=True).host())


def _only_ipv6(one: Nat, other: Nat) -> Place:
    return lambda lab: (
        lab.behind(one, ipv4=False, ipv6=True).host(),
        lab.behind(other, ipv4=False, ipv6=True).host(),
    )


def _six_and_two_stacks(one: Nat, other: Nat) -> Place:
    return lambda lab: (lab.behind(one, ipv4=False, ipv6=True).host(), lab.behind(other, ipv6=True).host())


def _apart(nat: Nat) -> Place:
    return lambda lab: (lab.behind(nat, ipv4=False, ipv6=True).host(), lab.behind(nat).host())


def _alike(one: Nat, other: Nat) -> Place:
    """The same addresses in both networks, as routers come from the shop."""
    return lambda lab: (lab.behind(one, ipv4=USUAL).host(), lab.behind(other, ipv4=USUAL).host())


def _no_hairpin(nat: Nat) -> Nat:
    return attrs.evolve(nat, hairpin=False)


ARRANGEMENTS: tuple[Arrangement, ...] = (
    Arrangement("both on the internet", lambda lab: (lab.internet.host(), lab.internet.host()), is_direct=True),
    Arrangement("same LAN, symmetric NAT", _same_lan(SYMMETRIC), is_direct=True),
    Arrangement("same LAN, UDP blocked to the outside", _same_lan(BLOCKED), is_direct=True),
    Arrangement("cone NAT and open", behind(CONE, OPEN), is_direct=True),
    Arrangement("symmetric NAT and open", behind(SYMMETRIC, OPEN), is_direct=True),
    Arrangement("symmetric NAT and a firewall without NAT", behind(SYMMETRIC, STRICT_FIREWALL), is_direct=False),
    Arrangement("cone NAT and a firewall without NAT", behind(CONE, STRICT_FIREWALL), is_direct=True),
    Arrangement("double cone NAT and cone NAT", _double(CONE, CONE, CONE), is_direct=True),
    Arrangement("cone NAT behind a symmetric one, and cone NAT", _double(SYMMETRIC, CONE, CONE), is_direct=False),
    Arrangement("two networks behind one carrier's NAT that hairpins", _shared_outer(CONE, CONE), is_direct=True),
    Arrangement(
        "two networks behind one carrier's NAT that does not",
        _shared_outer(_no_hairpin(CONE), CONE),
        is_direct=False,
    ),
    Arrangement("cone NATs, both hosts with the same inner address", _alike(CONE, CONE), is_direct=True),
    Arrangement("IPv6 alone, behind firewalls", _only_ipv6(CONE, CONE), is_direct=True),
    Arrangement("IPv6 alone and IPv4 alone", _apart(CONE), is_direct=False),
    Arrangement("IPv6 alone and both IPv4 and IPv6", _six_and_two_stacks(CONE, SYMMETRIC), is_direct=True),
    Arrangement("symmetric NATs, and IPv6 behind firewalls", _two_stacks(SYMMETRIC, SYMMETRIC), is_direct=True),
    Arrangement("UDP blocked and open", behind(BLOCKED, OPEN), is_direct=False),
    Arrangement("only port 443 through a proxy, and cone NAT", behind(BLOCKED, CONE), is_direct=False),
    Arrangement("only port 443 through a proxy, both", behind(BLOCKED, BLOCKED), is_direct=False),
)


@attrs.frozen
class Field:
    """One of the outcomes, and whether it should be direct, by reasoning."""

    name: str
    outcome: Outcome
    relayed: Relayed
    should_be_direct: bool


def matrix() -> list[list[Field]]:
    """Each of the nine behaviours with each."""
    return [
        [
            Field(
                f"{_short(one)} with {_short(other)}",
                try_out(behind(one, other)),
                try_with_relay(behind(one, other)),
                can_be_direct(one, other),
            )
            for other in BEHAVIOURS
        ]
        for one in BEHAVIOURS
    ]


def arrangements() -> Iterator[Field]:
    """Those that have a name."""
    for each in ARRANGEMENTS:
        ipv6 = "IPv6" in each.name
        yield Field(each.name, try_out(each.place, ipv6=ipv6), try_with_relay(each.place, ipv6=ipv6), each.is_direct)


def document(rows: list[list[Field]], named: list[Field]) -> str:
    """The page of the documentation."""
    names = [_short(nat) for nat in BEHAVIOURS]
    hopeless = [field.outcome.told for row in [*rows, named] for field in row if field.outcome.told is not None]
    lines = [
        "# Which networks connect directly",
        "",
        "Made by `python -m meshloom_agent.testing.grid` from the simulated network, with 10 ms from host to host; a",
        "test compares it. The code that finds the paths is the agent's own.",
        "",
        "A router's *mapping* says for which destinations a host behind it keeps one outer address, its *filtering*",
        "from whom packets to that address are let in ([RFC 4787](https://www.rfc-editor.org/rfc/rfc4787)): of all (E,",
        "endpoint-independent), by address (A), by address and port (AP). `E/AP` is the common port-restricted cone,",
        "`AP/AP` the symmetric NAT.",
        "",
        "The first number is the milliseconds from the second agent's start to the direct connection on both sides,",
        "without any relay; a dash stands where no direct path can exist and a relay is needed, which the status says",
        f"after {max(hopeless):.1f} s at the latest. The second number is from a mesh with a relay: the milliseconds",
        "from the second agent's start to the answer to the first ping, WireGuard's handshake included, by whatever",
        "path was there first. Whoever has a first number changes to the direct path, once; the others stay with the",
        "relay.",
        "",
        f"| mapping/filtering | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for name, row in zip(names, rows, strict=True):
        lines.append(f"| {name} | {' | '.join(map(_cell, row))} |")
    lines += ["", "| arrangement | direct / ping | over |", "|---|---|---|"]
    for field in named:
        path = field.outcome.path
        over = f"{path.local_kind} to {path.remote_kind}" if field.outcome.is_direct else path.reason
        lines.append(f"| {field.name} | {_cell(field)} | {over if field.relayed.is_direct else 'relay'} |")
    return "\n".join(lines) + "\n"


def _short(nat: Nat) -> str:
    short = {"endpoint-independent": "E", "address-dependent": "A", "address-and-port-dependent": "AP"}
    return f"{short[nat.mapping]}/{short[nat.filtering]}"


def _cell(field: Field) -> str:
    direct = "-" if field.outcome.connected is None else f"{field.outcome.connected * 1000:.0f}"
    return f"{direct} / {field.relayed.ping * 1000:.0f}"


if __name__ == "__main__":
    print(document(matrix(), list(arrangements())), end="")  # noqa: T201 - its purpose
