"""The metrics of one server, as JSON: it is started on free ports of loopback, asked, and stopped.

Usage: python tools/reference/metrics_of.py PROGRAM
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from workspace import programs

import meshloom_front.monitoring
import meshloom_front.running

collectors: list[Any] = []


class Noted(CollectorRegistry):
    """A registry of which the collectors are known."""

    def register(self, collector: Any) -> None:
        """Also noted here."""
        collectors.append(collector)
        super().register(collector)


def rows() -> Iterator[tuple[str, str, list[str], str]]:
    """Name, kind, labels and meaning of each metric of ours."""
    for collector in collectors:
        is_metric = hasattr(collector, "_labelnames")
        for family in collector.collect():
            if family.name.startswith("meshloom_"):
                labels = (collector if is_metric else family)._labelnames  # noqa: SLF001 - the library shows them nowhere
                name = family.name + ("_total" if family.type == "counter" else "")
                yield name, family.type, list(labels), family.documentation


def tell() -> None:
    """In the place of telling the service manager: the server serves now, and its tasks have begun soon."""
    asyncio.get_running_loop().call_later(0.3, show)


def show() -> None:
    """Print them, and stop."""
    json.dump(list(rows()), sys.stdout)
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGTERM)


def main(name: str) -> None:
    """Run the program until it is ready."""
    setattr(meshloom_front.monitoring, "CollectorRegistry", Noted)  # noqa: B010 - they are names imported there
    setattr(meshloom_front.running, "tell_ready", tell)  # noqa: B010
    (command,) = (program.command for program in programs() if program.name == name)
    with tempfile.TemporaryDirectory() as folder:
        options = {"listen": "127.0.0.1:0", "metrics": "127.0.0.1:0", "stun-port": "0", "data-dir": f"{folder}/data"}
        options |= {"public-url": "http://127.0.0.1", "log-level": "error"}
        command.main([f"--{option}={value}" for option, value in options.items()], standalone_mode=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
