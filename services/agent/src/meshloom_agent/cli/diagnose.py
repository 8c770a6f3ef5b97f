"""``meshloom netcheck``, ``doctor`` and ``debug``: looking for faults, also where no daemon runs."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshloom.log_levels import LEVELS
from meshloom.terminal import say
from meshloom.text import json_text
from meshloom_agent.cli.client import FROZEN, daemon_channel, refusals, unreachable
from meshloom_agent.cli.exits import FAILED, OK, USAGE, WARNED, fail
from meshloom_agent.cli.options import address_option, anonymize_option, json_option, option, state_dir_option

if TYPE_CHECKING:
    from meshloom_agent.diagnostics.facts import Facts
    from meshloom_agent.diagnostics.known import Known

BUNDLE_WITHIN = 60.0
"""Seconds for the daemon to look at everything and pack it up."""

management_option = option("-m", "--management-url", default="", help="Look at this server in place of the daemon's.")


def known(daemon_addr: str, state_dir: str, management_url: str = "", extra_roots: Path | None = None) -> "Known":
    """What the daemon, or else its files, know of this machine's mesh."""
    import attrs

    from meshloom.errors import ConfigError
    from meshloom_agent.channel import parse_url

    try:
        if management_url:
            parse_url(management_url)
    except ConfigError as error:
        fail(USAGE, error)
    found = _known(daemon_addr, state_dir, management_url)
    if extra_roots is None:
        return found
    try:
        return attrs.evolve(found, extra_roots=extra_roots.read_bytes())
    except OSError as error:
        fail(USAGE, f"--extra-roots {extra_roots}: cannot be read: {error.strerror}")


def _known(daemon_addr: str, state_dir: str, management_url: str) -> "Known":
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


roots_option = option(
    "--extra-roots",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of certificates (PEM) trusted besides the system's. [default: the daemon's]",
)
gateway_option = click.option(
    "--ask-gateway/--no-ask-gateway", default=True, help="Whether to ask the gateway if it opens ports."
)


@click.command()
@management_option
@roots_option
@gateway_option
@json_option
@anonymize_option
@state_dir_option
@address_option
def netcheck(
    daemon_addr: str,
    state_dir: str,
    management_url: str,
    extra_roots: Path | None,
    *,
    ask_gateway: bool,
    as_json: bool,
    anonymize: bool,
) -> None:
    """Show what this machine's network lets through, and what its NAT does.

    Works without the daemon. The exit code is 1 where neither UDP nor the server gets through.
    """
    import os

    import anyio

    from meshloom_agent.diagnostics.anonymize import Anonymizer
    from meshloom_agent.diagnostics.netcheck import check
    from meshloom_agent.diagnostics.netcheck_text import as_text, as_value

    found = anyio.run(
        partial(check, known(daemon_addr, state_dir, management_url, extra_roots), ask_gateway=ask_gateway)
    )
    text = json_text(as_value(found)) if as_json else as_text(found)
    say(*(Anonymizer(os.urandom(16)).text(text) if anonymize else text).split("\n"))
    if not found.udp and not any(each.latency for each in found.servers):
        sys.exit(FAILED)


@click.command()
@management_option
@roots_option
@gateway_option
@json_option
@anonymize_option
@state_dir_option
@address_option
def doctor(
    daemon_addr: str,
    state_dir: str,
    management_url: str,
    extra_roots: Path | None,
    *,
    ask_gateway: bool,
    as_json: bool,
    anonymize: bool,
) -> None:
    """Check one by one what commonly breaks, and say how to mend it.

    The exit code says the worst: 0 for nothing, 6 for warnings, 1 for errors.
    """
    import os

    import anyio

    from meshloom_agent.diagnostics.anonymize import Anonymizer
    from meshloom_agent.diagnostics.checks import Level, as_text, examine

    there = known(daemon_addr, state_dir, management_url, extra_roots)
    facts = anyio.run(partial(facts_of, daemon_addr, there, ask_gateway=ask_gateway))
    found = examine(facts)
    if as_json:
        rows = [{"name": x.name, "level": x.level.name.lower(), "text": x.text, "fix": x.fix} for x in found]
        text = json_text(rows)
    else:
        text = as_text(found)
    if anonymize:
        anonymizer = Anonymizer(os.urandom(16))
        anonymizer.learn(facts.names)
        text = anonymizer.text(text)
    say(*text.split("\n"))
    worst = max(each.level for each in found)
    sys.exit({Level.ERROR: FAILED, Level.WARNING: WARNED}.get(worst, OK))


async def facts_of(daemon_addr: str, there: "Known", *, ask_gateway: bool) -> "Facts":
    """What there is to judge, with what the daemon says of itself."""
    import attrs

    from meshloom_agent.diagnostics.facts import gather
    from meshloom_agent.events import waiting, warnings

    trouble = unreachable(daemon_addr)
    facts = await gather(there, trouble, ask_gateway=ask_gateway)
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
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return attrs.evolve(facts, daemon_trouble=FROZEN if late else f"the daemon refuses: {error.details()}")
    return attrs.evolve(facts, state=answer.status, waiting=waiting(answer), warnings=warnings(answer))


@click.group()
def debug() -> None:
    """What helps others to find a fault."""


@debug.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@gateway_option
@anonymize_option
@state_dir_option
@address_option
def bundle(daemon_addr: str, state_dir: str, file: Path | None, *, ask_gateway: bool, anonymize: bool) -> None:
    """Pack up logs, status, settings, network and checks into FILE (a tar.gz), without secrets.

    Where no daemon runs or answers, the bundle has what can be seen without one, and the exit code is 6.
    """
    from datetime import datetime

    from meshloom_agent.diagnostics.bundle import write_private

    path = file or Path(f"meshloom-debug-{datetime.now().astimezone():%Y%m%d-%H%M%S}.tar.gz")
    if path.exists():
        fail(FAILED, f"{path} is there already: give another name")
    data, objection = _daemons_bundle(daemon_addr, ask_gateway=ask_gateway, anonymize=anonymize)
    if objection:
        say(f"warning: {objection}; the bundle is without the daemon's part", error=True)
        data = _own_bundle(daemon_addr, state_dir, ask_gateway=ask_gateway, anonymize=anonymize)
    try:
        write_private(path, data)
    except OSError as error:
        fail(FAILED, f"{path}: cannot be written: {error.strerror}")
    say(str(path))
    if objection:
        sys.exit(WARNED)


def _daemons_bundle(daemon_addr: str, *, ask_gateway: bool, anonymize: bool) -> tuple[bytes, str]:
    """What the daemon packs up, or why there is nothing of it."""
    if objection := unreachable(daemon_addr):
        return b"", objection
    import grpc

    from meshloom.rpc import diagnostics_pb2 as pb
    from meshloom.rpc.diagnostics_pb2_grpc import DiagnosticsStub

    with daemon_channel(daemon_addr) as channel, refusals():
        request = pb.BundleRequest(anonymize=anonymize, ask_gateway=ask_gateway)
        try:
            chunks = DiagnosticsStub(channel).Bundle(request, timeout=BUNDLE_WITHIN)  # type: ignore[no-untyped-call]
            return b"".join(chunk.data for chunk in chunks), ""
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            return b"", FROZEN


def _own_bundle(daemon_addr: str, state_dir: str, *, ask_gateway: bool, anonymize: bool) -> bytes:
    """What can be seen without a daemon."""
    import os

    import anyio

    from meshloom_agent.diagnostics.bundle import Told, anonymized, contents, packed, secrets_of

    facts = anyio.run(partial(facts_of, daemon_addr, known(daemon_addr, state_dir), ask_gateway=ask_gateway))
    files = contents(facts, Told())
    if anonymize:
        files = anonymized(files, facts, [os.uname().nodename], os.urandom(16))
    return packed(files, secrets_of(Path(state_dir)))


@debug.group()
def log() -> None:
    """The daemon's log."""


@log.command()
@click.argument("level", type=click.Choice(list(LEVELS), case_sensitive=False))
@address_option
def level(daemon_addr: str, level: str) -> None:
    """Log from LEVEL on, until the daemon ends."""
    from meshloom.rpc import daemon_pb2 as pb
    from meshloom_agent.cli.client import daemon

    name = "WARN" if level.lower() == "warning" else level.upper()  # the protocol has one name for it
    with daemon(daemon_addr) as stub:
        stub.SetLogLevel(pb.SetLogLevelRequest(level=name), timeout=10)
    say(f"Log level set to {level.lower()}")
