"""``meshloom netcheck``, ``doctor`` and ``debug``: looking for faults, also where no daemon runs."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshloom_agent.cli.client import unreachable
from meshloom_agent.cli.exits import FAILED
from meshloom_agent.cli.options import address_option, anonymize_option, json_option, option, state_dir_option

if TYPE_CHECKING:
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
    return (found if found.stuns else from_files(Path(state_dir)) if not management_url else found).at(management_url)


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
