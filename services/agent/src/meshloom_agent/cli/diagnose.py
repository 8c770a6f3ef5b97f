"""``meshloom netcheck``, ``doctor`` and ``debug``: looking for faults, also where no daemon runs."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshloom_agent.cli.client import unreachable
from meshloom_agent.cli.exits import FAILED, OK, WARNED
from meshloom_agent.cli.options import address_option, anonymize_option, json_option, option, state_dir_option

if TYPE_CHECKING:
    from meshloom_agent.diagnostics.facts import Facts
    from meshloom_agent.diagnostics.known import Known

management_option = option("-m", "--management-url", default="", help="Look at this server in place of the daemon's.")


def known(daemon_addr: str, state_dir: str, management_url: str = "") -> "Known":
    """What the daemon, or else its files, know of this machine's mesh."""
    from meshloom_agent.diagnostics.known import from_daemon, from_files

    if unreachable(daemon_addr):
        return from_files(Path(state_dir)).at(management_url)
    import grpc

    from meshloom.rpc import diagnostics_pb2 as pb
    from meshloom.rpc.diagnostics_pb2_grpc import DiagnosticsStub

    with grpc.insecure_channel(f"unix:{daemon_addr.removeprefix('unix://')}") as channel:
        try:
            told = DiagnosticsStub(channel).Servers(pb.ServersRequest(), timeout=10)  # type: ignore[no-untyped-call]
        except grpc.RpcError:  # an older daemon, or one that hangs
            return from_files(Path(state_dir)).at(management_url)
    found = from_daemon(told)
    if not found.stuns:  # it is down, or was told none
        found = found.completed(from_files(Path(state_dir)))
    return found.at(management_url)


gateway_option = click.option(
    "--ask-gateway/--no-ask-gateway", default=True, help="Whether to ask the gateway if it opens ports."
)


@click.command()
@management_option
@gateway_option
@json_option
@anonymize_option
@state_dir_option
@address_option
def netcheck(
    daemon_addr: str, state_dir: str, management_url: str, *, ask_gateway: bool, as_json: bool, anonymize: bool
) -> None:
    """Show what this machine's network lets through, and what its NAT does.

    Works without the daemon. The exit code is 1 where neither UDP nor the server gets through.
    """
    import json
    import os

    import anyio

    from meshloom_agent.diagnostics.anonymize import Anonymizer
    from meshloom_agent.diagnostics.netcheck import check
    from meshloom_agent.diagnostics.netcheck_text import as_text, as_value

    found = anyio.run(partial(check, known(daemon_addr, state_dir, management_url), ask_gateway=ask_gateway))
    text = json.dumps(as_value(found), separators=(",", ":")) if as_json else as_text(found)
    click.echo(Anonymizer(os.urandom(16)).text(text) if anonymize else text)
    if not found.udp and not any(each.latency for each in found.servers):
        sys.exit(FAILED)


@click.command()
@management_option
@gateway_option
@json_option
@anonymize_option
@state_dir_option
@address_option
def doctor(
    daemon_addr: str, state_dir: str, management_url: str, *, ask_gateway: bool, as_json: bool, anonymize: bool
) -> None:
    """Check one by one what commonly breaks, and say how to mend it.

    The exit code says the worst: 0 for nothing, 6 for warnings, 1 for errors.
    """
    import json
    import os

    import anyio

    from meshloom_agent.diagnostics.anonymize import Anonymizer
    from meshloom_agent.diagnostics.checks import Level, as_text, examine

    facts = anyio.run(partial(facts_of, daemon_addr, state_dir, management_url, ask_gateway=ask_gateway))
    found = examine(facts)
    if as_json:
        rows = [{"name": x.name, "level": x.level.name.lower(), "text": x.text, "fix": x.fix} for x in found]
        text = json.dumps(rows, separators=(",", ":"))
    else:
        text = as_text(found)
    if anonymize:
        anonymizer = Anonymizer(os.urandom(16))
        anonymizer.learn(facts.names)
        text = anonymizer.text(text)
    click.echo(text)
    worst = max(each.level for each in found)
    sys.exit({Level.ERROR: FAILED, Level.WARNING: WARNED}.get(worst, OK))


async def facts_of(daemon_addr: str, state_dir: str, management_url: str, *, ask_gateway: bool) -> "Facts":
    """What there is to judge, with what the daemon says of itself."""
    import attrs

    from meshloom_agent.diagnostics.facts import gather

    trouble = unreachable(daemon_addr)
    facts = await gather(known(daemon_addr, state_dir, management_url), trouble, ask_gateway=ask_gateway)
    if trouble:
        return facts
    import grpc

    from meshloom.rpc import daemon_pb2 as pb
    from meshloom.rpc.daemon_pb2_grpc import DaemonServiceStub

    async with grpc.aio.insecure_channel(f"unix:{daemon_addr.removeprefix('unix://')}") as channel:
        try:
            stub = DaemonServiceStub(channel)  # type: ignore[no-untyped-call]
            answer = await stub.Status(pb.StatusRequest(getFullPeerStatus=True), timeout=10)
        except grpc.RpcError as error:
            return attrs.evolve(facts, daemon_trouble=f"the daemon does not answer: {error.code().name}")
    events = answer.fullStatus.events
    return attrs.evolve(facts, state=answer.status, waiting=events[-1].userMessage if events else "")
