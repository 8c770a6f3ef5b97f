"""Everything that helps others to find a fault, in one archive without any secret."""

import base64
import io
import os
import re
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from meshloom import __version__
from meshloom.rpc import daemon_pb2 as pb
from meshloom.rpc import management_pb2 as management
from meshloom.text import json_text, printable_lines
from meshloom_agent.diagnostics import checks, netcheck_text
from meshloom_agent.diagnostics.anonymize import USERINFO, Anonymizer
from meshloom_agent.diagnostics.facts import Facts
from meshloom_agent.diagnostics.host import read, run
from meshloom_agent.diagnostics.known import parted
from meshloom_agent.files import AgentSettings

LEFT_OUT = "(left out)"
SECRET_NAME = re.compile(
    r"pass|secret|token|private|preshared|psk|credential|jwt|signature|payload|^user$", re.IGNORECASE
)
SECRET_FILES = ("private.key", "preshared.key")
ABOUT = """What the agent of a machine saw, to find a fault with. It holds no keys and no passwords.

status.json       the daemon's status, in the form of its own protocol
settings.json     what the user told the daemon
network_map.json  what management told it; credentials are left out
daemon.log        the newest lines of its log, from debug on
doctor.txt        common faults, checked one by one
netcheck.json     what the network lets through; netcheck.txt is the same for people
network.json      interfaces, routes and rules of this machine; nft.json its firewall
versions.json     of the programs
"""

Content = Mapping[str, Any]
"""Files by their names: texts, or values to be written as JSON."""


@attrs.frozen
class Told:
    """What only the daemon knows, as far as it could be asked."""

    status: pb.StatusResponse | None = None
    settings: AgentSettings | None = None
    sync: management.SyncResponse | None = None
    log: str = ""


def contents(facts: Facts, told: Told) -> dict[str, Any]:
    """The files of a bundle; with names and addresses, without secrets."""
    network = facts.network
    made: dict[str, Any] = {
        "README.txt": ABOUT,
        "doctor.txt": checks.as_text(checks.examine(facts)) + "\n",
        "netcheck.json": netcheck_text.as_value(facts.netcheck),
        "netcheck.txt": netcheck_text.as_text(facts.netcheck) + "\n",
        "network.json": {
            "interfaces": [attrs.asdict(each) for each in network.interfaces],
            "routes": [attrs.asdict(each) | {"network": str(each.network)} for each in network.routes],
            "rules": list(network.rules),
        },
        "resolv.conf": network.resolv_conf,
        "versions.json": {
            "meshloom": __version__,
            "daemon": facts.known.daemon_version,
            "wireguard-go": facts.wireguard_go,
            "kernel": (run("uname", "-srvm") or "").strip(),
            "system": read("/etc/os-release"),
        },
    }
    if network.ruleset is not None:
        made["nft.json"] = network.ruleset
    if told.status is not None:
        made["status.json"] = _message(told.status)
    if told.settings is not None:
        made["settings.json"] = attrs.asdict(told.settings)
    if told.sync is not None:
        made["network_map.json"] = without_secrets(_message(told.sync))
    if told.log:
        made["daemon.log"] = told.log
    return made


def without_secrets(value: Any) -> Any:
    """The value without what is named like a secret; whether something was there is still seen."""
    if isinstance(value, dict):
        return {
            key: LEFT_OUT if SECRET_NAME.search(key) and each else without_secrets(each) for key, each in value.items()
        }
    return [without_secrets(each) for each in value] if isinstance(value, list) else value


def anonymized(files: Content, facts: Facts, names: Iterable[str], key: bytes) -> dict[str, Any]:
    """The same with names, addresses and domains replaced, consistently over all files."""
    anonymizer = Anonymizer(key)
    urls = (facts.known.management_url, facts.known.signal_url, *facts.known.relays)
    anonymizer.learn([*names, *(urlsplit(url).hostname or "" for url in urls)])
    anonymizer.learn(parted(each)[0] for each in facts.known.stuns)
    return {
        name: content if name in ("README.txt", "versions.json") else anonymizer.value(content)
        for name, content in files.items()
    }


def names_of(told: Told) -> list[str]:
    """Names of machines that the daemon knows."""
    found = [told.settings.hostname] if told.settings else []
    if told.status is not None:
        full = told.status.fullStatus
        found += [full.localPeerState.fqdn, *(peer.fqdn for peer in full.peers)]
    if told.sync is not None:
        network = told.sync.NetworkMap
        found += [network.peerConfig.fqdn, *(peer.fqdn for peer in (*network.remotePeers, *network.offlinePeers))]
    return [name for name in found if name]


def packed(files: Content, secrets: Iterable[str] = ()) -> bytes:
    """A tar.gz of the files; should one of the *secrets*, or a URL's password, stand in them, it is struck out."""
    struck = sorted(filter(None, secrets), key=len, reverse=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in sorted(files.items()):
            text = printable_lines(content.expandtabs()) if isinstance(content, str) else json_text(content, 1) + "\n"
            for secret in struck:
                text = text.replace(secret, LEFT_OUT)
            data = USERINFO.sub("://", text).encode(errors="replace")
            entry = tarfile.TarInfo(f"meshloom-debug/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def write_private(file: Path, data: bytes) -> None:
    """Write a file for its owner alone, in place of one that was there.

    Raises:
        OSError: It cannot be written.
    """
    draft = file.with_name(file.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
    draft.replace(file)


def secrets_of(state_dir: Path) -> list[str]:
    """The secrets of the daemon's folder in the forms in which they might be written; none where it may not be read."""
    found = []
    for name in SECRET_FILES:
        text = read(str(state_dir / name)).strip()
        if text:
            found.append(text)
            try:
                found.append(base64.b64decode(text, validate=True).hex())
            except ValueError:
                continue
    return found


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return made
