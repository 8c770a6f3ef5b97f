"""A check of the network: against servers on this host, and without any."""

import asyncio
import json
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.protocol.stun import answer
from meshloom.rpc import diagnostics_pb2 as pb
from meshloom_agent.diagnostics.known import Known, from_daemon, from_files, parted
from meshloom_agent.diagnostics.netcheck import Netcheck, Reached, proxies, udp_unknown
from meshloom_agent.diagnostics.netcheck_text import as_text, as_value, meaning
from meshloom_agent.diagnostics.web import WebAnswer, ask, parse_head

JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Tue, 03 Mar 2026 10:00:00 GMT\r\n\r\n{}"


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that no system trusts, and its key."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mesh.test "
        f"-addext subjectAltName=IP:127.0.0.1 -out {files[0]} -keyout {files[1]}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return files


@asynccontextmanager
async def serving(said, certificate=None):
    """An HTTP server that says always the same, with a certificate over TLS."""

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def stun():
    """A STUN server that knows nothing of RFC 5780, as NetBird's."""
    async with anyio.create_task_group() as tasks, await anyio.create_udp_socket(local_host="127.0.0.1") as server:

        async def serve():
            async for data, source in server:
                await server.sendto(answer(data, source), *source)

        tasks.start_soon(serve)
        yield f"127.0.0.1:{server.extra(anyio.abc.SocketAttribute.local_port)}"  # noqa: S610
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_it_works_without_a_daemon(run, tmp_path):
    async with serving(JSON) as url:
        done = await run(
            "netcheck", "--no-ask-gateway", "--json", "-m", url, "--state-dir", str(tmp_path), "--daemon-addr", f"unix://{tmp_path}/none",
            HTTPS_PROXY="http://bob:secret@proxy.test:3128",
        )  # fmt: skip
    found = json.loads(done.out)
    assert done.code == 0
    assert found["udp"] is False
    reached = {each["kind"]: each for each in found["servers"]}
    assert reached["management"]["latency"] > 0
    assert (reached["stun"]["server"], reached["stun"]["error"]) == ("127.0.0.1:3478", "no answer")
    assert found["portal"] == ""
    assert found["proxies"]["https"] == "http://proxy.test:3128"
    assert found["clockSkew"] != 0
    gone = await run(
        "netcheck", "--no-ask-gateway", "-m", url, "--state-dir", str(tmp_path), "--daemon-addr", f"unix://{tmp_path}/none"
    )  # fmt: skip
    assert gone.code == 1
    assert "UDP: unknown" in gone.out
    assert "Direct paths: unknown: no server answers at all" in gone.out


@pytest.mark.anyio
async def test_without_root_it_says_that_it_knows_no_server(run, tmp_path):
    done = await run(
        "netcheck", "--no-ask-gateway", "--state-dir", str(tmp_path / "none"), "--daemon-addr", f"unix://{tmp_path}/none"
    )  # fmt: skip
    assert "Direct paths: unknown: no server is known to ask: run it as root" in done.out
    assert "UDP does not come through" not in done.out


STUN_SILENT = Reached("stun", "s:1", None, "no answer")


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ([], "run it as root"),
        ([STUN_SILENT, Reached("management", "http://m", 0.1)], ""),
        ([STUN_SILENT, Reached("management", "http://m", None, "refused")], "no server answers at all"),
        ([STUN_SILENT], "no other server is known"),
        ([Reached("stun", "s:1", None, "no route leads there"), Reached("relay", "rels://r", 0.1)], "s:1: no route"),
    ],
)
def test_silence_proves_that_udp_is_blocked_only_where_something_else_answers(servers, said):
    why = udp_unknown(servers)
    assert bool(why) == bool(said)
    assert said in why


@pytest.mark.anyio
async def test_the_daemon_tells_which_servers_there_are(joined, meshloom, daemon, signal):
    async with stun() as server:
        daemon.report.stuns = (parted(server),)
        done = await meshloom("netcheck", "--no-ask-gateway", "--json")
    found = json.loads(done.out)
    assert done.code == 0, done.err
    assert (found["udp"], found["mapping"]) == (True, "none")
    kinds = {each["kind"]: each["error"] for each in found["servers"]}
    assert (kinds["stun"], kinds["signal"]) == ("", "")


def test_files_of_a_daemon_that_does_not_run_will_do(tmp_path):
    assert from_files(tmp_path / "nowhere") == Known(state_dir=str(tmp_path / "nowhere"))
    (tmp_path / "settings.json").write_text('{"management_url": "https://mesh.test", "port": 4000, "mtu": 1300}')
    found = from_files(tmp_path)
    assert (found.management_url, found.listen_port, found.mtu, found.daemon_version) == (
        "https://mesh.test", 4000, 1300, "",
    )  # fmt: skip
    assert found.at("").stuns == ("mesh.test:3478",)
    assert found.at("http://[2001:db8::1]:8080").stuns == ("[2001:db8::1]:3478",)
    told = from_daemon(pb.ServersResponse(management_url="https://mesh.test", stuns=["stun.test:3478"], mtu=1300))
    assert told.at("https://mesh.test") == told, "what is known of a server is not guessed"
    other = attrs.evolve(told, signal_url="https://signal.test", stuns=("other.test:1",))
    assert told.completed(other) == attrs.evolve(told, signal_url="https://signal.test")
    assert told.completed(attrs.evolve(other, management_url="https://else.test")) == told
    assert parted("[2001:db8::1]:3478") == ("2001:db8::1", 3478)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (WebAnswer("https://mesh.test", 200, {"content-type": "application/json"}), ""),
        (WebAnswer("https://mesh.test", 404, {"content-type": "text/html"}), ""),
        (WebAnswer("https://mesh.test", 301, {"location": "https://mesh.test/x"}), ""),
        (WebAnswer("https://mesh.test", 302, {"location": "http://[nonsense"}), ""),
        (WebAnswer("https://mesh.test", error="no answer within 5 s"), ""),
        (WebAnswer("http://mesh.test", 302, {"location": "http://login.test/"}), "redirected to login.test"),
        (WebAnswer("http://mesh.test", 200, {"content-type": "text/html; charset=utf-8"}), "a page came in place"),
        (WebAnswer("http://mesh.test", 511), "asks for a login"),
        (WebAnswer("https://mesh.test", distrust="self-signed certificate"), "self-signed certificate"),
    ],
)  # fmt: skip
def test_captive_portals_are_told_from_servers(answer, said):
    assert said in answer.portal
    assert bool(answer.portal) is bool(said)


@pytest.mark.anyio
async def test_whatever_a_server_says_it_is_asked_without_falling():
    for said, error in (
        (b"", "it closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "it does not speak HTTP"),
        (b"x" * 200_000, "its answer's head does not end"),
    ):
        async with serving(said) as url:
            assert (await ask(url)).error == error
    async with serving(JSON) as url:
        assert (await ask(url)).status == 200
        assert (await ask(url.replace("http", "https"))).status == 0
    assert (await ask("http://nowhere.invalid")).error
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "refused" in (await ask(f"http://127.0.0.1:{closed.getsockname()[1]}")).error.lower()


@pytest.mark.anyio
async def test_a_certificate_of_ones_own_is_trusted_where_it_is_named(certificate, run, tmp_path):
    async with serving(JSON, certificate) as url:
        strange = await ask(url)
        assert (strange.error, "self-signed" in strange.portal) == ("its certificate is not trusted", True)
        assert (await ask(url, certificate[0].read_bytes())).status == 200
        assert (await ask(url, b"no certificate")).error
        done = await run(
            "netcheck", "--no-ask-gateway", "--json", "-m", url, "--extra-roots", str(certificate[0]),
            "--state-dir", str(tmp_path), "--daemon-addr", f"unix://{tmp_path}/none",
        )  # fmt: skip
    assert json.loads(done.out)["portal"] == ""
    missing = await run("netcheck", "--extra-roots", "/nowhere", "--daemon-addr", f"unix://{tmp_path}/none")
    assert (missing.code, "--extra-roots /nowhere" in missing.err) == (2, True)


def test_the_servers_clock_is_compared_with_ours():
    received = datetime(2026, 3, 3, 10, 0, 0, tzinfo=UTC)
    said = WebAnswer("", headers={"date": "Tue, 03 Mar 2026 10:00:00 GMT"}, received=received + timedelta(minutes=3))
    assert said.skew == 180
    assert attrs.evolve(said, headers={}).skew is None
    assert attrs.evolve(said, headers={"date": "yesterday"}).skew is None


@given(st.binary(max_size=300))
def test_any_head_is_read_or_refused(data):
    try:
        parse_head(data)
    except ValueError:
        pass


def test_proxies_are_shown_without_passwords():
    given = {"http": "http://bob:secret@proxy.test:3128", "https": "proxy.test:3128", "no": "localhost,10.0.0.0/8"}
    assert proxies(given) == {
        "http": "http://proxy.test:3128", "https": "http://proxy.test:3128", "no": "localhost,10.0.0.0/8",
    }  # fmt: skip
    assert "secret" not in str(proxies({"http": "http://bob:secret@[nonsense"}))


@pytest.mark.anyio
@pytest.mark.parametrize("command", ["netcheck", "doctor"])
@pytest.mark.parametrize("url", ["nonsense", "ftp://mesh.test", "http://[::1", "http://mesh.test:99999"])
async def test_a_url_that_is_none_is_wrong_use(run, tmp_path, command, url):
    done = await run(command, "--no-ask-gateway", "-m", url, "--daemon-addr", f"unix://{tmp_path}/none")
    assert (done.code, done.err) == (
        2, f"error: --management-url = {url!r}: no URL of a server; write it like https://mesh.example.net",
    )  # fmt: skip


def test_the_text_says_what_it_means_for_paths():
    found = Netcheck(
        udp=True,
        ipv4=True,
        public={"IPv4": "203.0.113.5:40000"},
        mapping="address-and-port-dependent",
        filtering="address-dependent",
        port_mapping=("NAT-PMP", "PCP"),
        servers=(Reached("stun", "stun.test:3478", 0.0123), Reached("relay", "rels://r.test", None, "refused")),
    )
    assert as_text(found) == (
        "UDP: yes\nIPv4: yes, seen as 203.0.113.5:40000\nIPv6: no\nNAT mapping: address-and-port-dependent\n"
        "NAT filtering: address-dependent\nDirect paths: direct paths work only with networks that filter loosely\n"
        "Port mapping: NAT-PMP, PCP\nCaptive portal: none\nProxy: none\nServers:\n  stun stun.test:3478: 12.3 ms\n"
        "  relay rels://r.test: refused"
    )
    assert as_value(found)["servers"][0]["latency"] == 0.0123
    assert "relay over TCP" in meaning(Netcheck(udp=False))
    assert "give --management-url" in as_text(Netcheck())
