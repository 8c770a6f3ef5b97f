"""``meshloom ping``."""

import sys

import click

from meshloom.terminal import say
from meshloom.text import readable
from meshloom_agent.cli.client import daemon_channel, refusals
from meshloom_agent.cli.exits import FAILED, TIMEOUT
from meshloom_agent.cli.options import address_option

ROUNDS, ROUNDS_UNTIL_DIRECT = 4, 10
ANSWERS_WITHIN = 30.0
"""Seconds for the daemon, besides those of the rounds."""


@click.command()
@click.argument("peer")
@click.option("-c", "--count", type=click.IntRange(1, 100_000), help="How often. [default: 4; 10 with --until-direct]")
@click.option("--until-direct", is_flag=True, help="End with the first answer over a direct path.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.01, 60),
    default=5.0,
    show_default=True,
    help="Seconds to wait for an answer.",
)
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(0.01, 60),
    default=1.0,
    show_default=True,
    help="Seconds between two requests.",
)
@address_option
def ping(
    daemon_addr: str, peer: str, count: int | None, *, until_direct: bool, timeout: float, interval: float
) -> None:
    """Ping a PEER of the mesh by name, address or key, and say over which path.

    The exit code is 0 where an answer came, and with --until-direct where one came over a direct path; 1 without any
    answer; 5 where answers came, but none over a direct path.
    """
    from meshloom.rpc import diagnostics_pb2 as pb
    from meshloom.rpc.diagnostics_pb2_grpc import DiagnosticsStub
    from meshloom_agent.diagnostics.ping import Summary, line

    rounds = count or (ROUNDS_UNTIL_DIRECT if until_direct else ROUNDS)
    request = pb.PingRequest(peer=readable(peer), count=rounds, until_direct=until_direct)
    request.timeout.FromNanoseconds(int(timeout * 1e9))
    request.interval.FromNanoseconds(int(interval * 1e9))
    within = ANSWERS_WITHIN + rounds * (timeout + interval)
    answers: list[pb.PingReply] = []
    with daemon_channel(daemon_addr) as channel, refusals():
        try:
            for answer in DiagnosticsStub(channel).Ping(request, timeout=within):  # type: ignore[no-untyped-call]
                if not answers:
                    say(f"{answer.fqdn} ({answer.address})")
                answers.append(answer)
                say(line(answer))
        except KeyboardInterrupt:
            say("")
    summary = Summary.of(answers)
    say(*summary.text.split("\n"))
    if not summary.times:
        sys.exit(FAILED)
    if until_direct and not summary.is_direct:
        sys.exit(TIMEOUT)
