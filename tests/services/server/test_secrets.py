"""Nothing that a request carries is in the log, whichever way it comes in, also with all of our debugging."""

import contextlib
import socket
import ssl

import grpc
import httpx
import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import management_pb2_grpc

TOKEN = "nbp_SecretOfARequestThatNobodyMayReadInALog"
QUERY = "SecretOfAQuery"
RAW = {
    "an upgrade to h2c": "GET /api/groups?token={query} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Token {token}\r\n"
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: {token}\r\n\r\n",
    "an upgrade to the relay": "GET /relay?token={query} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Token {token}\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {token}\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "a request that is broken": "{token} /?token={query} HTTP/9\r\nAuthorization: Token {token}\r\n\r\n",
    "a preface with another thing behind it": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{token} {query}",
}


def say_raw(port, context, text):
    """Sends it, by TLS where there is a context; reads until the server says no more."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain, contextlib.ExitStack() as stack:
        made = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1")) if context else plain
        made.sendall(text.format(host=f"127.0.0.1:{port}", token=TOKEN, query=QUERY).encode())
        with contextlib.suppress(OSError):
            made.shutdown(socket.SHUT_WR)
            while made.recv(65536):
                pass


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("version", [1, 2])
def test_no_secret_of_a_request_is_in_the_log(program, certificate, scheme, version):
    file, key = certificate()
    context = ssl.create_default_context(cafile=file)
    tls = ("--tls-certificate", file, "--tls-key", key) if scheme == "https" else ()
    server = program(scheme=scheme, context=context, flags=("--log-level", "debug", *tls)).start()
    headers = {"Authorization": f"Token {TOKEN}", "X-Meshloom-Setup-Secret": TOKEN, "Cookie": f"session={TOKEN}"}
    with httpx.Client(http1=version == 1, http2=version == 2, verify=context, headers=headers) as client:
        for path in ("/api/groups", "/api/setup", f"/api/{TOKEN}"):
            try:
                client.post(f"{server.url}{path}?token={QUERY}", json={"password": TOKEN})
            except httpx.TransportError:
                assert version == 2, "what is not gRPC may be refused there"
    for text in RAW.values():
        say_raw(server.port, context if tls else None, text)
    credentials = grpc.ssl_channel_credentials(file.read_bytes()) if scheme == "https" else None
    where = f"127.0.0.1:{server.port}"
    made = grpc.secure_channel(where, credentials) if credentials else grpc.insecure_channel(where)
    with made as channel, pytest.raises(grpc.RpcError):
        stub = management_pb2_grpc.ManagementServiceStub(channel)
        stub.Login(pb.EncryptedMessage(wgPubKey=TOKEN, body=b"x"), metadata=[("authorization", TOKEN)], timeout=10)
    assert server.stop() == 0
    assert "listening on" in server.said
    for secret in (TOKEN, QUERY):
        for text in {secret, secret.lower(), secret.upper()}:
            assert text not in server.said


def test_of_other_peoples_loggers_only_warnings_are_shown(program):
    server = program(flags=("--log-level", "debug")).start().set_up()
    server.setup_key()
    assert server.stop() == 0
    records = [line.split(" ")[2:4] for line in server.said.splitlines() if not line.startswith(" ")]
    assert {level for level, name in filter(lambda each: len(each) == 2, records) if name.startswith("meshloom")} > {
        "INFO"
    }
    assert [line for line in records if line[0] in ("DEBUG", "INFO") and not line[1].startswith("meshloom")] == []
