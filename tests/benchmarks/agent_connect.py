"""How long a machine takes to reach another that is online: to the first answer to a ping, and until direct.

Also how long after its ``up`` has returned a ping is answered that begins only then.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import grpc
from account import set_lazy

from meshloom.rpc import daemon_pb2 as pb
from meshloom.rpc.daemon_pb2_grpc import DaemonServiceStub
from meshloom.testing.deployment import AgentProgram, ServerProgram
from meshloom.testing.namespaces import NAT, Internet, missing_programs, wait_until

RUNS = 5
WITHIN = 30.0
PING = """
import socket, struct, sys, time
target, deadline = sys.argv[1], time.monotonic() + float(sys.argv[2])
probe = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
probe.settimeout(0.005)
request = struct.pack("!BBHHH", 8, 0, 0, 0xBE, 1)
request = struct.pack("!BBHHH", 8, 0, ~sum(struct.unpack("!4H", request)) & 0xFFFF, 0xBE, 1)
print("ready", flush=True)
if len(sys.argv) > 3:
    sys.stdin.readline()
began = time.monotonic()
while time.monotonic() < deadline:
    try:
        probe.sendto(request, (target, 0))
        answer, (source, _) = probe.recvfrom(256)
    except OSError:
        time.sleep(0.002)
        continue
    if source == target and answer[20] == 0:
        print(began, time.monotonic())
        break
"""
"""Asks every few milliseconds until it is answered, and prints when it began and when it was answered.

With a third argument it begins when it is told to. The clock is one for all processes.
"""


@contextmanager
def first_answer(host, address):
    """A function that waits for the first answer of the address, and tells when it came."""
    asking = subprocess.Popen(
        host.command(sys.executable, "-c", PING, address, str(WITHIN)), stdout=subprocess.PIPE, text=True
    )
    asking.stdout.readline()

    def when():
        return float((asking.communicate(timeout=WITHIN + 5)[0].split() or ["nan"])[-1])

    yield when
    asking.kill()
    asking.wait()


def direct_since(agent):
    """When the daemon says that its only peer is reached directly."""
    with grpc.insecure_channel(f"unix:{agent.socket}") as channel:
        stub = DaemonServiceStub(channel)
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            status = stub.Status(pb.StatusRequest(getFullPeerStatus=True), timeout=WITHIN).fullStatus
            if any(peer.connStatus == "Connected" and not peer.relayed for peer in status.peers):
                return time.monotonic()
            time.sleep(0.02)
    return float("nan")


def machine(net, name, nat):
    if nat is None:
        return net.host(name)
    router = net.router(f"router-{name}")
    host = router.host(name)
    router.translate(nat, host)
    return host


def once(net, server, key, number, nat, *, direct=True):
    """Seconds from ``up`` to the first answer, and until *direct* where that is waited for."""
    there = AgentProgram(machine(net, f"there{number}", nat), net.folder / f"there{number}")
    here = AgentProgram(machine(net, f"here{number}", nat), net.folder / f"here{number}")
    for agent in (there, here):
        agent.start()
    there.up(server.url, key)
    wait_until(lambda: there.status()["signal"]["connected"], WITHIN, "the other is online", every=0.1)
    address = there.address
    with first_answer(here.host, address) as answered:
        started = time.monotonic()
        flags = ("--management-url", server.url, "--setup-key", key, "--hostname", here.host.name)
        command = [Path(sys.executable).parent / "meshloom", "up", *flags, "--daemon-addr", f"unix://{here.socket}"]
        up = subprocess.Popen(here.host.command(*command), stdout=subprocess.DEVNULL)
        since = direct_since(here) if direct else float("nan")
        first = answered()
        up.wait()
    for agent in (here, there):
        agent.program.terminate()
        agent.program.wait()
    for peer in server.api("GET", "/api/peers")[1]:
        server.api("DELETE", f"/api/peers/{peer['id']}")
    return first - started, since - started


def after_up(net, server, key, number):
    """Seconds from when the second machine's ``up`` has returned to the first answer of a ping that begins then."""
    there, here = (
        AgentProgram(net.host(f"{name}{number}"), net.folder / f"{name}{number}") for name in ("far", "near")
    )
    for agent in (there, here):
        agent.start()
    there.up(server.url, key)
    wait_until(lambda: there.status()["signal"]["connected"], WITHIN, "the other is online", every=0.1)
    command = here.host.command(sys.executable, "-c", PING, there.address, str(WITHIN), "wait")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
        asking.stdout.readline()
        here.up(server.url, key)
        began, answered = map(float, asking.communicate("\n", timeout=WITHIN + 5)[0].split())
    for agent in (here, there):
        agent.program.terminate()
        agent.program.wait()
    for peer in server.api("GET", "/api/peers")[1]:
        server.api("DELETE", f"/api/peers/{peer['id']}")
    return answered - began


def rows():
    if os.geteuid() != 0 or missing_programs():
        yield "up to first ping", "not measured: needs root and network namespaces", "", ""
        return
    for nat, where in ((None, "one network"), (NAT.PORT_RESTRICTED, "two cone NATs between")):
        with Internet() as net:
            server = ServerProgram(net.host("server"), net.folder / "server")
            server.start()
            server.set_up()
            key = server.setup_key()
            for lazy in (False, True):
                set_lazy(server, lazy)
                numbers = range(lazy * RUNS, lazy * RUNS + RUNS)
                if nat is None:
                    found = [after_up(net, server, key, number) for number in numbers]
                    figure = f"{median(found) * 1000:.0f} (longest of {RUNS}: {max(found) * 1000:.0f})"
                    yield f"first ping after `up`, {where}, lazy {'on' if lazy else 'off'}", figure, "ms", "<= 50"
                firsts, directs = zip(*(once(net, server, key, number, nat) for number in numbers), strict=True)
                how = f"{where}, lazy connections {'on' if lazy else 'off'}"
                for what, found, goal in (("first ping", firsts, "<= 0.5"), ("direct", directs, "<= 1.5")):
                    figure = f"{median(found):.2f} (longest of {RUNS}: {max(found):.2f})"
                    yield f"`up` until {what}, {how}", figure, "s", goal
