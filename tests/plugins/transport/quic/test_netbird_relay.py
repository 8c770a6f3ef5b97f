"""An unmodified NetBird relay, reached by QUIC."""

import itertools
import os
import subprocess
import time

import anyio
import pytest

from meshloom.errors import TransportError
from meshloom.model.keys import PrivateKey
from meshloom.protocol.relay import Auth, Kind, encode, packet_head, relay_peer_id
from meshloom.protocol.relay_token import issue_token, join_token
from meshloom.testing.ports import free_port
from meshloom.transport import RelayAddress

pytestmark = [pytest.mark.anyio, pytest.mark.peer]

RELAY = os.environ.get("MESHLOOM_NETBIRD_RELAY", "")
SECRET = "a secret of this test"


@pytest.fixture
async def netbird(authority, tmp_path):
    """Its port, once it listens by TLS."""
    if not RELAY:
        pytest.skip("MESHLOOM_NETBIRD_RELAY names no program")
    chain, key = authority.issue("relay.example")
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    port = free_port()
    flags = {
        "--listen-address": f"127.0.0.1:{port}",
        "--exposed-address": f"rels://relay.example:{port}",
        "--auth-secret": SECRET,
        "--tls-cert-file": tmp_path / "chain.pem",
        "--tls-key-file": tmp_path / "key.pem",
        "--health-listen-address": f"127.0.0.1:{free_port()}",
        "--metrics-port": free_port(),
    }
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([RELAY, *map(str, itertools.chain(*flags.items()))], stdout=log, stderr=log)
    try:
        with anyio.fail_after(20):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    await anyio.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()
        log.close()


async def join(ends, quic, port):
    """A peer that the relay has let in."""
    heard, id = ends.Heard(), relay_peer_id(PrivateKey.of(os.urandom(32)).public)
    address = RelayAddress("relay.example", port, tls=True, ip="127.0.0.1")
    with anyio.fail_after(10):
        heard.connection = await quic.connect(address, heard)
    token = join_token(*issue_token(SECRET, int(time.time()) + 3600))
    assert heard.connection.send(encode(Auth(id, token)))
    await ends.until(lambda: heard.messages[0][1] == Kind.AUTH_RESPONSE)
    assert heard.messages[0][2:] == f"rels://relay.example:{port}".encode()
    return id, heard


async def test_packets_go_both_ways_as_long_as_wireguard_makes_them(ends, authority, netbird):
    async with ends.opened(extra_roots=authority.root) as quic:
        (one, first), (other, second) = await join(ends, quic, netbird), await join(ends, quic, netbird)
        await ends.until(lambda: min(first.connection.max_message_size, second.connection.max_message_size) >= 1350)
        for size in (0, 32, 148, 1312):
            packet = os.urandom(size)

            def sent(heard, to, back, packet=packet):
                """The relay's own search for the path's size may not be over: what is too long then is lost."""
                heard.connection.send(packet_head(to), packet)
                return packet_head(back) + packet

            with anyio.fail_after(10):
                while sent(first, other, one) not in second.messages:
                    await anyio.sleep(0.05)
                while sent(second, one, other) not in first.messages:
                    await anyio.sleep(0.05)


async def test_an_untrusted_certificate_is_not_accepted(ends, netbird):
    async with ends.opened() as quic:
        address = RelayAddress("relay.example", netbird, tls=True, ip="127.0.0.1")
        with anyio.fail_after(10), pytest.raises(TransportError, match="TLS: "):
            await quic.connect(address, ends.Heard())


async def test_a_wrong_token_ends_the_connection(ends, authority, netbird):
    async with ends.opened(extra_roots=authority.root) as quic:
        heard = ends.Heard()
        address = RelayAddress("relay.example", netbird, tls=True, ip="127.0.0.1")
        connection = await quic.connect(address, heard)
        token = join_token(*issue_token("another secret", int(time.time()) + 3600))
        connection.send(encode(Auth(relay_peer_id(PrivateKey.of(os.urandom(32)).public), token)))
        await ends.until(lambda: heard.lost == ["closed by the other side"])


async def test_the_relay_forgets_a_peer_that_closes(ends, authority, netbird):
    async with ends.opened(extra_roots=authority.root) as quic:
        _, first = await join(ends, quic, netbird)
        first.connection.close()
        await ends.until(lambda: first.lost == ["closed by this side"])
