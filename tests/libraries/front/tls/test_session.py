"""TLS without a network: whatever comes, in whatever pieces, it is said as it was, or refused by one error."""

import ssl
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ProtocolError
from meshloom_front.tls.certificates import Certificates
from meshloom_front.tls.hello import AGAIN
from meshloom_front.tls.session import RECORD, Session

ROOM = memoryview(bytearray(2 * RECORD))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A certificate, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run([*made, "-keyout", files[1], "-out", files[0], *named], check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def contexts(files):
    """Of the server, and of a client that believes it."""
    return Certificates(*files).context, ssl.create_default_context(cafile=files[0])


class Pair:
    """A session, and a client of it."""

    def __init__(self, contexts):
        server, client = contexts
        self.session = Session(server, ROOM)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def agree(self):
        while True:
            try:
                self.client.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.pass_on()
        self.pass_on()
        return self

    def pass_on(self):
        said = self.session.receive(self.outgoing.read())
        self.incoming.write(self.session.take())
        return said

    def says(self, *parts):
        for part in parts:
            self.client.write(part)
        return self.outgoing.read()

    def hears(self, sealed, size=1 << 20):
        self.incoming.write(sealed)
        said = b""
        while len(said) < size:
            try:
                said += self.client.read(size)
            except ssl.SSLWantReadError:
                break
        return said


@given(st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=5), st.integers(1, 70_000))
def test_what_is_said_comes_as_it_was_in_whatever_pieces(contexts, parts, piece):
    pair = Pair(contexts).agree()
    sealed = pair.says(*parts)
    said = b"".join(pair.session.receive(sealed[at : at + piece]) for at in range(0, len(sealed), piece))
    assert said == b"".join(parts)
    assert not pair.session.take()


@given(st.binary(max_size=3 * RECORD))
def test_what_is_answered_comes_as_it_was(contexts, answer):
    pair = Pair(contexts).agree()
    assert pair.hears(pair.session.send(answer)) == answer


def test_who_says_that_nothing_follows_is_heard_and_told_so(contexts):
    pair = Pair(contexts).agree()
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    assert pair.session.receive(pair.outgoing.read()) == b""
    assert pair.session.ended
    pair.incoming.write(pair.session.close())
    pair.client.unwrap()


def test_nothing_is_said_before_there_is_an_agreement(contexts):
    session = Session(contexts[0], ROOM)
    with pytest.raises(ProtocolError):
        session.send(b"too early")
    assert session.close() == b""


@given(st.lists(st.binary(max_size=2000), max_size=10), st.booleans())
def test_garbage_raises_its_own_error_only(contexts, pieces, agreed):
    pair = Pair(contexts)
    if agreed:
        pair.agree()
    try:
        for piece in pieces:
            assert pair.session.receive(piece) == b""
    except ProtocolError:
        pass
    pair.session.close()


@given(st.integers(0, 400), st.binary(min_size=1, max_size=1))
def test_a_record_that_was_changed_is_refused(contexts, at, byte):
    pair = Pair(contexts).agree()
    sealed = bytearray(pair.says(bytes(400)))
    changed = 5 + at % (len(sealed) - 5)
    sealed[changed : changed + 1] = bytes([sealed[changed] ^ (byte[0] or 1)])
    with pytest.raises(ProtocolError):
        pair.session.receive(sealed)


def test_a_client_that_has_to_say_hello_again_does_so(files, contexts):
    server = Certificates(*files).context
    server.set_ecdh_curve("secp384r1")  # of which a client sends no key unasked
    pair = Pair((server, contexts[1]))
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.session.receive(pair.outgoing.read())
    answer = pair.session.take()
    assert AGAIN in answer
    pair.incoming.write(answer)
    assert pair.agree().session.receive(pair.says(b"hello")) == b"hello"


def test_a_long_hello_is_refused_before_there_is_memory_for_it(contexts):
    session = Session(contexts[0], ROOM)
    with pytest.raises(ProtocolError, match="longer than a record"):
        session.receive(b"\x16\x03\x01\x00\x32\x01" + (130_000).to_bytes(3) + bytes(46))
