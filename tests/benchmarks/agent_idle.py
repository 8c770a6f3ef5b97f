"""An agent that has nothing to do: two peers connected, the others never come."""

import os
import sys
import time
from pathlib import Path

from account import set_lazy
from server import Process

from meshloom.testing.deployment import AgentProgram, ServerProgram, is_direct
from meshloom.testing.namespaces import Internet, missing_programs, wait_until

ABSENT = 98
SETTLE, SECONDS = 240.0, 60.0
"""Peers that never come are taken for absent after two minutes, and then offered to ever more seldom."""


def programs(host):
    """The agent's daemon, and the tunnel program that it runs."""
    found = {}
    for pid in host.processes():
        line = Path(f"/proc/{pid}/cmdline").read_text()
        if "wireguard-go" in line:
            found["wireguard-go"] = Process(pid)
        elif "service\0run" in line:
            found["agent"] = Process(pid)
    return found


def rows():
    if os.geteuid() != 0 or missing_programs():
        yield "idle agent", "not measured: needs root and network namespaces", "", ""
        return
    with Internet() as net:
        server = ServerProgram(net.host("server"), net.folder / "server")
        server.start()
        server.set_up()
        key = server.setup_key()
        script = Path(__file__).with_name("absent.py")
        server.host.run(sys.executable, script, str(server.host.address), "80", key, str(ABSENT))
        set_lazy(server, False)
        agents = [AgentProgram(net.host(name), net.folder / name) for name in ("one", "two", "three")]
        for agent in agents:
            agent.start()
            agent.up(server.url, key)

        def connected():
            return [peer for peer in agents[0].status()["peers"]["details"] if is_direct(peer)]

        wait_until(lambda: len(connected()) == 2, 60, "two peers are connected", every=0.5)
        time.sleep(SETTLE)
        yield from measure(agents[0].host, "lazy connections off: 100 peers known, 2 connected, 98 wanted")
        set_lazy(server, True)
        for agent in agents[1:]:
            assert agents[0].ping(agent.address, timeout=30)
        yield from measure(agents[0].host, "lazy connections on: 100 peers known, 2 connected, 98 asleep")


def measure(host, what):
    measured = programs(host)
    before = {name: process.cpu() for name, process in measured.items()}
    time.sleep(SECONDS)
    for name, goals in (("agent", ("<= 0.5", "<= 100")), ("wireguard-go", ("", ""))):
        process = measured[name]
        spent = (process.cpu() - before[name]) / SECONDS * 100
        yield f"{name} idle, {what}", spent, f"% CPU in {SECONDS:.0f} s", goals[0]
        yield f"{name} idle, {what}", process.memory(), f"MB resident, {process.share():.0f} of them its own", goals[1]
