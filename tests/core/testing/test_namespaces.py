"""The internet of namespaces behaves as the routers' names say."""

import os
from pathlib import Path

import pytest

from meshloom.testing.namespaces import NAT, Internet, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", int(sys.argv[1])))
while True:
    data, source = s.recvfrom(100); s.sendto(repr(source).encode(), source)
"""
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 40000)); s.settimeout(0.5)
for target in sys.argv[1:]:
    host, port = target.split(":")
    try:
        s.sendto(b"?", (host, int(port))); print(eval(s.recvfrom(100)[0])[1])
    except OSError: print("none")
"""


@pytest.fixture
def internet():
    with Internet() as made:
        yield made


@pytest.mark.parametrize(
    ("nat", "mapped"), [(NAT.PORT_RESTRICTED, 1), (NAT.FULL_CONE, 1), (NAT.SYMMETRIC, 2), (NAT.UDP_BLOCKED, 1)]
)
def test_a_router_maps_as_its_kind_says(internet, nat, mapped):
    servers = [internet.host("one"), internet.host("two")]
    router = internet.router("router")
    inside = router.host("inside")
    router.translate(nat, inside)
    for server in servers:
        server.start("python3", "-c", ECHO, "3000")
        wait_until(lambda server=server: "3000" in server.run("ss", "-Hlun"), 5, "the echo server listens")
    ports = inside.run("python3", "-c", ASK, *(f"{server.address}:3000" for server in servers)).split()
    assert len(set(ports)) == mapped
    assert (ports == ["none", "none"]) is (nat is NAT.UDP_BLOCKED)


def test_leaving_ends_every_process(internet):
    host = internet.host("one")
    host.start("sh", "-c", "setsid sleep 1000 & exec sleep 1000")
    wait_until(lambda: len(list(host.processes())) == 3, 5, "both programs run")
    pids = list(host.processes())
    host.close()
    internet._hosts.remove(host)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 5, "all have ended")
