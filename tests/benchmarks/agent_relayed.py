"""The relayed path: how soon it is there, what it carries and costs, and what a change to the direct one loses."""

import json
import os
import re
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from account import set_lazy
from agent_connect import RUNS, once

from meshloom.testing.deployment import AgentProgram, ServerProgram, is_direct, is_relayed
from meshloom.testing.namespaces import NAT, Internet, missing_programs, wait_until

SECONDS = 8
PAYLOAD = 1228
"""Bytes of a TCP segment in a tunnel of MTU 1280."""
TICK = os.sysconf("SC_CLK_TCK")


def cpu(host, words):
    """CPU seconds of the host's programs whose command line has these words."""
    total = 0.0
    for pid in host.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if words in command and "nsenter" not in command:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICK
    return total


def pair(net, server, nat):
    key = server.setup_key()
    agents = []
    for name in ("one", "two"):
        kind = nat.name.lower().replace("_", "-")
        router = net.router(f"router-{name}-{kind}")
        host = router.host(f"{name}-{kind}")
        router.translate(nat)
        agent = AgentProgram(host, net.folder / host.name)
        agent.start()
        agent.up(server.url, key)
        agents.append(agent)
    return agents


def stream(server, one, two):
    """Mbit/s of one TCP stream, and CPU us a packet of the sending and receiving agent and of the server."""
    address = two.address
    two.host.start("iperf3", "--server", "--one-off", "--bind", address)
    wait_until(lambda: "5201" in two.host.run("ss", "-Hltn"), 5, "iperf3 listens")
    programs = ((one.host, "service run"), (two.host, "service run"), (server.host, "meshloom-server"))
    before = [cpu(*each) for each in programs]
    ended = json.loads(one.host.run("iperf3", "--client", address, "--time", str(SECONDS), "--json"))["end"]
    spent = [cpu(*each) - start for each, start in zip(programs, before, strict=True)]
    packets = ended["sum_received"]["bytes"] / PAYLOAD
    return ended["sum_received"]["bits_per_second"] / 1e6, [each / packets * 1e6 for each in spent]


def transition(net, server):
    """Pings lost, and the longest silence, while the path becomes a direct one."""
    one, two = pair(net, server, NAT.PORT_RESTRICTED)
    log = net.folder / "pings"
    ping = one.host.start("ping", "-n", "-D", "-i", "0.01", two.address, log=log)
    wait_until(lambda: is_direct(one.peer(two.host.name)), 20, "is direct", every=0.05)
    time.sleep(6)  # the other side learns its endpoint within 5 s
    ping.terminate()
    ping.wait()
    found = re.findall(r"^\[([\d.]+)\] \d+ bytes from .* icmp_seq=(\d+)", log.read_text(), re.MULTILINE)
    times = [float(at) for at, _ in found]
    first, last = int(found[0][1]), int(found[-1][1])
    return last - first + 1 - len(found), max(after - before for before, after in pairwise(times))


def rows():
    if os.geteuid() != 0 or missing_programs():
        yield "relayed path", "not measured: needs root and network namespaces", "", ""
        return
    with Internet() as net:
        server = ServerProgram(net.host("server"), net.folder / "server")
        server.start()
        server.set_up()
        set_lazy(server, False)
        key = server.setup_key()
        firsts = [once(net, server, key, number, NAT.UDP_BLOCKED, direct=False)[0] for number in range(RUNS)]
        figure = f"{median(firsts):.2f} (longest of {RUNS}: {max(firsts):.2f})"
        yield "`up` until first ping by relay, UDP blocked on both sides", figure, "s", "<= 0.4 after `up`"
        lost, silence = transition(net, server)
        yield "pings lost while relayed becomes direct, one each 10 ms", lost, "", "0"
        yield "the longest silence meanwhile", silence * 1000, "ms", "<= 20 besides the interval"
        one, two = pair(net, server, NAT.UDP_BLOCKED)
        assert one.ping(two.address, timeout=20)
        wait_until(lambda: is_relayed(one.peer(two.host.name)), 10, "is relayed")
        rate, (sending, receiving, relay) = stream(server, one, two)
        yield "one TCP stream, relayed over WebSocket, all on this machine", rate, "Mbit/s", ">= 300"
        yield "CPU of the sending agent, of the receiving one", f"{sending:.1f}, {receiving:.1f}", "us a packet", ""
        yield "CPU of the server meanwhile", relay, "us a packet", "<= 10"
