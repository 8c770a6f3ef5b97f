"""Prove that an agent and a server, each installed from wheels alone, reach one another's machines through the relay.

Usage: python -I tools/distributions/relayed_ping.py SERVERS_PROGRAMS   (needs root: it makes network namespaces)

It is run by the Python of the environment in which the agent is installed, and given the folder of the programs of the
one in which the server is.
"""

import os
import sys
from pathlib import Path

from meshloom.testing.deployment import AgentProgram, ServerProgram, is_relayed
from meshloom.testing.namespaces import Internet, missing_programs

FLAGS = ("--interface-name", "ml0", "--force-relay")


def main(servers_programs: str) -> None:
    """Ends with a sentence where there is no answer, or none through the relay."""
    if lacking := [*(["root"] if os.geteuid() else []), *missing_programs()]:
        print(f"skipped: needs {', '.join(lacking)}")
        return
    with Internet() as net:
        server = ServerProgram(net.host("server"), net.folder / "server", programs=Path(servers_programs).resolve())
        server.start()
        server.set_up()
        key = server.setup_key()
        agents = [AgentProgram(net.host(name), net.folder / name) for name in ("laptop", "desktop")]
        for agent in agents:
            agent.start()
            agent.up(server.url, key, *FLAGS)
        laptop, desktop = agents
        if not laptop.ping(desktop.address, count=3, timeout=30):
            raise SystemExit(f"no answer through the relay: {laptop.run('status', '-d')}")
        laptop.wait_for("desktop", is_relayed, 10, "is reached through the relay")
        print(f"answered through the relay by {laptop.peer('desktop')['relayTransport']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
