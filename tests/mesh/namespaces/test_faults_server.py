"""What the world does to a server: thousands of silent connections, a stop, parts that run apart."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshloom.testing.deployment import BIN, OWNER, AgentProgram, is_direct
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

SILENT = 10_000
HOLD = """
import resource, socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
held = []
for number in range(count):
    made = socket.socket()
    made.settimeout(5)
    made.connect((host, port))
    if number % 3 == 1:
        made.send(b"GET / HT")
    if number % 3 == 2:
        made.send(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
    held.append(made)
print("held", flush=True)
time.sleep(600)
"""


def memory(program):
    """Resident bytes of a program that was started in a namespace."""
    return int(Path(f"/proc/{program.pid}/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def held(host, log, address, port, count=SILENT):
    """So many connections that were opened and say nothing, or begin to say something and then stop."""
    holder = host.start(sys.executable, "-c", HOLD, address, str(port), str(count), log=log)
    try:
        wait_until(lambda: "held" in log.read_text() or holder.poll() is not None, 60, "they are open", every=0.1)
        assert holder.poll() is None, log.read_text()
        yield
    finally:
        holder.kill()
        holder.wait()


def test_ten_thousand_silent_connections_keep_nobody_out(internet, server, agent):
    one = agent("one", server.url, server.setup_key())
    before = memory(server.program)
    with held(server.host, internet.folder / "holder.log", str(server.host.address), 80):
        during = memory(server.program)
        assert server.api("GET", "/api/peers")[0] == 200
        two = agent("two", server.url, server.setup_key())
        assert one.ping(two.address, timeout=15)
        assert one.status()["management"]["connected"]
    assert during - before < 300 << 20, f"{(during - before) >> 20} MiB for {SILENT} connections"
    key = server.setup_key()
    assert server.api("GET", "/api/peers")[0] == 200
    three = agent("three", server.url, key)
    assert three.ping(one.address, timeout=15)
    server.program.send_signal(signal.SIGTERM)
    assert server.program.wait(timeout=15) == 0
    assert "Traceback" not in server.log.read_text()


def test_agents_notice_a_stop_at_once_and_come_back_by_themselves(server, agent):
    made = [agent(name, server.url, server.setup_key()) for name in ("one", "two")]
    assert made[0].ping(made[1].address, timeout=15)
    server.program.send_signal(signal.SIGTERM)
    for each in made:
        wait_until(lambda each=each: not each.status()["management"]["connected"], 10, "it has noticed", every=0.05)
    assert server.program.wait(timeout=10) == 0
    for each in made:
        assert "the server is stopping" in each.log.read_text()
    assert made[0].ping(made[1].address), "the mesh needs no server"
    server.start()
    for each in made:
        wait_until(lambda each=each: each.status()["management"]["connected"], 30, "it is back", every=0.1)
        wait_until(lambda each=each: each.status()["signal"]["connected"], 30, "signal is back", every=0.1)


CONFIG = """
data_dir = "{folder}/data"
public_url = "https://{host}:8443"
signal_url = "https://{host}:8444"
stun_urls = ["stun:{host}:3479"]
stun_port = 3479
metrics = ""
setup_pat_enabled = true

[tls]
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
"""
ASK = """
import json, ssl, sys, urllib.request
url, token, file = sys.argv[1:4]
headers = {"Content-Type": "application/json"}
headers |= {"Authorization": f"Token {token}"} if token else {}
request = urllib.request.Request(url, sys.stdin.buffer.read(), headers)
with urllib.request.urlopen(request, timeout=20, context=ssl.create_default_context(cafile=file)) as answer:
    print(answer.read().decode())
"""


def test_three_services_apart_serve_agents_over_tls_from_one_file(internet, behind):
    """Management, signal and STUN as programs of their own; agents trust their certificate by ``extra_roots``."""
    host, folder = internet.host("apart"), internet.folder
    config, certificate = folder / "server.toml", folder / "cert.pem"
    config.write_text(CONFIG.format(folder=folder, host=host.address))
    make_certificate(folder, host.address)
    programs = [
        host.start(BIN / f"meshloom-{name}", "--config", config, *flags, log=folder / f"{name}.log")
        for name, flags in (
            ("management", ("--listen", f"{host.address}:8443")),
            ("signal", ("--listen", f"{host.address}:8444")),
            ("stun", ()),
        )
    ]
    for name, line in (("management", "listening on"), ("signal", "listening on"), ("stun", "STUN on UDP port 3479")):
        wait_until(lambda name=name, line=line: line in (folder / f"{name}.log").read_text(), 20, f"{name} is there")
    url = f"https://{host.address}:8443"
    token = ask(host, certificate, f"{url}/api/setup", "", OWNER)["personal_access_token"]
    wish = {"name": "k", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}
    key = ask(host, certificate, f"{url}/api/setup-keys", token, wish)["key"]
    trusting = folder / "agent.toml"
    trusting.write_text(f'extra_roots = "{certificate}"\n')
    agents = []
    for name in ("one", "two"):
        made = AgentProgram(behind(name, NAT.PORT_RESTRICTED), folder / name, arguments=("--config", str(trusting)))
        made.start()
        made.up(url, key)
        agents.append(made)
    one, two = agents
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 10, "is direct")
    signal_state = one.status()["signal"]
    assert (signal_state["url"], signal_state["connected"]) == (f"https://{host.address}:8444", True)
    stranger = AgentProgram(behind("stranger", NAT.PORT_RESTRICTED), folder / "stranger")
    stranger.start()
    with pytest.raises(AssertionError, match=f"the certificate of {host.address} is not trusted here"):
        stranger.up(url, key)
    for program in programs:
        program.send_signal(signal.SIGTERM)
    assert [program.wait(timeout=15) for program in programs] == [0, 0, 0]


def make_certificate(folder, address):
    subject = ("-subj", "/CN=apart", "-addext", f"subjectAltName=IP:{address}")
    kind = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    subprocess.run([*kind, *files, *subject], check=True, capture_output=True)


def ask(host, certificate, url, token, body):
    out = host.run(sys.executable, "-c", ASK, url, token, str(certificate), input=json.dumps(body))
    return json.loads(out)


def test_a_server_that_comes_up_without_its_data_takes_nobody_off(server, agent):
    """As with a volume that was not mounted: nobody goes to the machines, and all is as before with the data."""
    made = [agent(name, server.url, server.setup_key()) for name in ("one", "two")]
    assert made[0].ping(made[1].address, timeout=15)
    kept = server.data.rename(server.data.with_name("kept"))
    server.program.kill()
    server.program.wait()
    server.start()
    for each in made:
        text = "shows another key than before"
        wait_until(lambda each=each, text=text: text in each.run("status", check=False), 30, "it is said", every=0.2)
    assert made[0].ping(made[1].address), "the mesh goes on"
    server.program.kill()
    server.program.wait()
    shutil.rmtree(server.data)
    kept.rename(server.data)
    server.start()
    for each in made:
        wait_until(lambda each=each: each.status()["daemonStatus"] == "Connected", 40, "it is back", every=0.2)
        assert "Warning:" not in each.run("status")
    assert made[0].ping(made[1].address)
