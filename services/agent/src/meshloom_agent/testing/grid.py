"""Which networks connect directly: every NAT with every other, and the arrangements that have a name.

``python -m meshloom_agent.testing.grid`` prints the table of the documentation.
"""

from collections.abc import Callable

import attrs

from meshloom.testing.lab import BEHAVIOURS, OPEN, Conditions, Filtering, Host, Lab, Mapping, Nat, can_be_direct
from meshloom_agent.mesh import PathStatus
from meshloom_agent.testing.mesh import SimulatedMesh

WITHIN = 20.0
"""Virtual seconds after which two agents that have not connected never will without a relay."""

CONE = Nat(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
SYMMETRIC = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
FIREWALL = Nat(filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT, translates=False)
BLOCKED = Nat(blocks_udp=True)

Place = Callable[[Lab], tuple[Host, Host]]


@attrs.frozen
class Outcome:
    """What became of two agents.

    Args:
        connected: Seconds until both were connected; None where they were not.
        ping: Seconds for the first ping thereafter, handshake included.
        path: How the first one sees it.
    """

    connected: float | None
    ping: float | None
    path: PathStatus

    @property
    def is_direct(self) -> bool:
        """Whether a ping went over a direct path."""
        return self.ping is not None


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
    try:
        connected = mesh.time_to_connect(one, other, within=WITHIN)
        return Outcome(connected, mesh.time_to_ping(one, other, within=WITHIN), one.path_to(other))
    except AssertionError:
        return Outcome(None, None, one.path_to(other))


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


def _no_hairpin(nat: Nat) -> Nat:
    return attrs.evolve(nat, hairpin=False)


ARRANGEMENTS: tuple[Arrangement, ...] = (
    Arrangement("both on the internet", lambda lab: (lab.internet.host(), lab.internet.host()), is_direct=True),
    Arrangement("same LAN, symmetric NAT", _same_lan(SYMMETRIC), is_direct=True),
    Arrangement("same LAN, UDP blocked to the outside", _same_lan(BLOCKED), is_direct=True),
    Arrangement("cone NAT and open", behind(CONE, OPEN), is_direct=True),
    Arrangement("symmetric NAT and open", behind(SYMMETRIC, OPEN), is_direct=True),
    Arrangement("symmetric NAT and a firewall without NAT", behind(SYMMETRIC, FIREWALL), is_direct=False),
    Arrangement("cone NAT and a firewall without NAT", behind(CONE, FIREWALL), is_direct=True),
    Arrangement("double cone NAT and cone NAT", _double(CONE, CONE, CONE), is_direct=True),
    Arrangement("cone NAT behind a symmetric one, and cone NAT", _double(SYMMETRIC, CONE, CONE), is_direct=False),
    Arrangement("two networks behind one carrier's NAT that hairpins", _shared_outer(CONE, CONE), is_direct=True),
    Arrangement(
        "two networks behind one carrier's NAT that does not",
        _shared_outer(_no_hairpin(CONE), CONE),
        is_direct=False,
    ),
    Arrangement("symmetric NATs, and IPv6 behind firewalls", _two_stacks(SYMMETRIC, SYMMETRIC), is_direct=True),
    Arrangement("UDP blocked and open", behind(BLOCKED, OPEN), is_direct=False),
)


def matrix() -> list[list[Outcome]]:
    """Each of the nine behaviours with each."""
    return [[try_out(behind(one, other)) for other in BEHAVIOURS] for one in BEHAVIOURS]


def expected(one: Nat, other: Nat) -> bool:
    """What reasoning says of a field of the matrix."""
    return can_be_direct(one, other)


def document() -> str:
    """The page of the documentation."""
    short = {"endpoint-independent": "E", "address-dependent": "A", "address-and-port-dependent": "AP"}
    names = [f"{short[nat.mapping]}/{short[nat.filtering]}" for nat in BEHAVIOURS]
    lines = [
        "# Which networks connect directly",
        "",
        "Made by `python -m meshloom_agent.testing.grid` from the simulated network, with 10 ms from host to host; a",
        "test compares it. The code that finds the paths is the agent's own.",
        "",
        "A router's *mapping* says for which destinations a host behind it keeps one outer address, its *filtering*",
        "from whom packets to that address are let in ([RFC 4787](https://www.rfc-editor.org/rfc/rfc4787)): of all (E,",
        "endpoint-independent), by address (A), by address and port (AP). `E/AP` is the common port-restricted cone,",
        "`AP/AP` the symmetric NAT. A number is the milliseconds from the second agent's start to the connection on",
        "both sides; a dash stands where no direct path can exist and a relay is needed.",
        "",
        f"| mapping/filtering | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for name, row in zip(names, matrix(), strict=True):
        lines.append(f"| {name} | {' | '.join(map(_cell, row))} |")
    lines += ["", "| arrangement | direct | over |", "|---|---|---|"]
    for each in ARRANGEMENTS:
        outcome = try_out(each.place, ipv6="IPv6" in each.name)
        over = f"{outcome.path.local_kind} to {outcome.path.remote_kind}" if outcome.is_direct else outcome.path.reason
        lines.append(f"| {each.name} | {_cell(outcome)} | {over} |")
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome) -> str:
    return "-" if outcome.connected is None else f"{outcome.connected * 1000:.0f}"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - its purpose
