"""``meshloom status``."""

import os
import sys
from typing import Any

import click

from meshloom.terminal import say
from meshloom_agent.cli.client import daemon
from meshloom_agent.cli.exits import FAILED, LOGIN_NEEDED, fail
from meshloom_agent.cli.options import address_option, anonymize_option

LOGIN_HINTS = {
    "NeedsLogin": "This machine is not known to the server. Join with: meshloom up --setup-key KEY",
    "LoginFailed": "This machine is not known to the server. Join with: meshloom up --setup-key KEY",
    "SessionExpired": "The session has expired. Join again with: meshloom up --setup-key KEY",
}
NEVER_JOINED = "Not joined. meshloom up --management-url URL --setup-key KEY"
PEER_STATES = click.Choice(["idle", "connecting", "connected"], case_sensitive=False)
CONNECTION_TYPES = click.Choice(["P2P", "Relayed"], case_sensitive=False)


def _split(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Values may be given one by one, or with commas."""
    return tuple(part.strip() for each in given for part in each.split(",") if part.strip())


@click.command()
@click.option("-d", "--detail", is_flag=True, help="With each peer.")
@click.option("-j", "--json", "as_json", is_flag=True, help="As JSON, in NetBird's keys.")
@click.option("-y", "--yaml", "as_yaml", is_flag=True, help="As YAML, in NetBird's keys.")
@click.option("-4", "--ipv4", "only", flag_value="netbirdIp", help="Only this machine's IPv4 address.")
@click.option("-6", "--ipv6", "only", flag_value="netbirdIpv6", help="Only this machine's IPv6 address.")
@click.option(
    "-I",
    "--filter-by-ips",
    "ips",
    multiple=True,
    metavar="ADDRESS",
    callback=_split,
    help="Only peers of these addresses.",
)
@click.option(
    "-N", "--filter-by-names", "names", multiple=True, metavar="NAME", callback=_split, help="Only names that begin so."
)
@click.option("-S", "--filter-by-status", "state", type=PEER_STATES, help="Only peers in this state.")
@click.option("-T", "--filter-by-connection-type", "kind", type=CONNECTION_TYPES, help="Only peers so connected.")
@click.option(
    "-C",
    "--check",
    "wanted",
    type=click.Choice(["live", "ready", "startup"]),
    help="Print nothing but what is missing; exit code 0 where the daemon is live, ready, or has started up.",
)
@anonymize_option
@address_option
def status(
    daemon_addr: str,
    *,
    detail: bool,
    as_json: bool,
    as_yaml: bool,
    only: str | None,
    ips: tuple[str, ...],
    names: tuple[str, ...],
    state: str | None,
    kind: str | None,
    wanted: str | None,
    anonymize: bool,
) -> None:
    """Show how this machine and its peers are connected."""
    from meshloom.rpc import daemon_pb2 as pb
    from meshloom_agent.cli import render

    with daemon(daemon_addr) as stub:
        request = pb.StatusRequest(getFullPeerStatus=True, shouldRunProbes=not (only or wanted))
        answer = stub.Status(request, timeout=10)
    if wanted:
        if missing := render.missing(answer, wanted):
            fail(FAILED, missing)
        return
    chosen = render.PeerFilter(ips, names, state or "", kind or "")
    content = render.content(answer, chosen)
    hint = LOGIN_HINTS.get(answer.status, "") if content["management"]["url"] else NEVER_JOINED
    if anonymize:
        content = _anonymized(content)
    if only:
        say(content.get(only, "").partition("/")[0])
    elif as_json:
        say(render.as_json(content))
    elif as_yaml:
        say(*render.as_yaml(content).split("\n"))
    elif hint:
        say(*(each["userMessage"] for each in content["events"]), hint)
        if content["netbirdIp"]:  # the mesh goes on without the server
            say("", *render.as_text(content, detail=detail or chosen.chooses).split("\n"))
    else:
        say(*render.as_text(content, detail=detail or chosen.chooses).split("\n"))
    if hint:
        sys.exit(LOGIN_NEEDED)


def _anonymized(content: dict[str, Any]) -> dict[str, Any]:
    from meshloom_agent.diagnostics.anonymize import Anonymizer

    anonymizer = Anonymizer(os.urandom(16))
    anonymizer.learn([content["fqdn"], *(peer["fqdn"] for peer in content["peers"]["details"] or [])])
    made: dict[str, Any] = anonymizer.value(content)
    return made
