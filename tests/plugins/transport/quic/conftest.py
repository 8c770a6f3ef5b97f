"""Both ends of the QUIC transport on loopback, with a wire between them that tests can damage."""

import asyncio
import datetime as dt
import ipaddress
import random
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import meshloom_transport_quic
from meshloom.transport import Receiver, RelayAddress, TransportContext
from meshloom_transport_quic import Options

WITHIN = 10


async def until(condition):
    """Wait for it, with a deadline; what is not there yet is not true yet."""

    def holds():
        try:
            return condition()
        except IndexError:
            return False

    with anyio.fail_after(WITHIN):
        while not holds():
            await anyio.sleep(0.002)


class Heard(Receiver):
    """What a receiver was told."""

    def __init__(self, answer=None):
        self.messages, self.lost, self.writable_calls, self.answer = [], [], 0, answer
        self.connection = None

    def message_received(self, message):
        self.messages.append(bytes(message))
        if self.answer is not None:
            self.connection.send(self.answer(message))

    def writable(self):
        self.writable_calls += 1

    def connection_lost(self, reason):
        self.lost.append(reason)


class Serving:
    """A served port, and who connected."""

    def __init__(self, made):
        self.socket = made
        self.port = made.getsockname()[1]
        self.receivers, self.answer, self.refuse, self.welcome, self.admit = [], None, False, None, True

    def accept(self, connection):
        if self.refuse:
            return None
        heard = Heard(self.answer)
        heard.connection = connection
        self.receivers.append(heard)
        if self.admit:
            connection.admit()
        if self.welcome is not None:
            connection.send(self.welcome)
        return heard

    def address(self, host="127.0.0.1", port=None, **more):
        return RelayAddress(host, port or self.port, tls=False, **more)


class Wire(asyncio.DatagramProtocol):
    """A port in front of a server, through which a client reaches it: a NAT that loses, swaps and forgets."""

    def __init__(self, server_port):
        self.server = ("127.0.0.1", server_port)
        self.client, self.outside, self.inside = None, None, None
        self.loss, self.largest, self.is_cut, self.swap = 0.0, 65535, False, False
        self.random, self.passed, self.held = random.Random(1), 0, None

    def connection_made(self, transport):
        self.inside = transport

    def datagram_received(self, data, address):
        self.client = address
        self.carry(data, lambda data: self.outside.sendto(data, self.server))

    def carry(self, data, send):
        if self.is_cut or len(data) > self.largest or self.random.random() < self.loss:
            return
        self.passed += 1
        if self.swap and self.held is None and self.passed % 5 == 0:
            self.held = (data, send)
            return
        send(data)
        if self.held is not None:
            (late, send_late), self.held = self.held, None
            send_late(late)

    async def new_address(self):
        """As a NAT that restarted: the server sees the client come from another port."""
        wire = self

        class Outside(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                wire.carry(data, lambda data: wire.inside.sendto(data, wire.client))

        loop = asyncio.get_running_loop()
        old = self.outside  # used until there is the new one: the client does not stop for this
        self.outside, _ = await loop.create_datagram_endpoint(Outside, local_addr=("127.0.0.1", 0))
        if old is not None:
            old.close()
        return self.outside.get_extra_info("sockname")[1]


@asynccontextmanager
async def wire_to(port):
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_datagram_endpoint(lambda: Wire(port), local_addr=("127.0.0.1", 0))
    await wire.new_address()
    wire.port = transport.get_extra_info("sockname")[1]
    try:
        yield wire
    finally:
        transport.close()
        wire.outside.close()


def opened(options=None, **context):
    (backend,) = meshloom_transport_quic.meshloom_transports()
    return backend.open(options or Options(), TransportContext(socket_buffer=1 << 16, **context))


@asynccontextmanager
async def serving(transport, certificate=None, host="127.0.0.1", port=0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((host, port))
        served = Serving(made)
        async with transport.serve(made, certificate, served.accept):
            yield served


@pytest.fixture
async def quic():
    async with opened() as transport:
        yield transport


@pytest.fixture
async def server(quic):
    async with serving(quic) as served:
        yield served


@pytest.fixture
async def wire(server):
    async with wire_to(server.port) as made:
        yield made


class Authority:
    """A certificate authority and what it signs, as PEM."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.root = self._signed(self.name, self.key.public_key(), [basic], 30).public_bytes(serialization.Encoding.PEM)

    def issue(self, *names, days=30):
        """Chain and key for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay")])
        made = self._signed(
            subject, key.public_key(), [x509.SubjectAlternativeName([self._name(n) for n in names])], days
        )
        pem = serialization.Encoding.PEM
        return made.public_bytes(pem), key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _signed(self, subject, key, extensions, days):
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=60)).not_valid_after(now + dt.timedelta(days=days))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    @staticmethod
    def _name(text):
        try:
            return x509.IPAddress(ipaddress.ip_address(text))
        except ValueError:
            return x509.DNSName(text)


@pytest.fixture(scope="session")
def authority():
    return Authority()


@pytest.fixture
def ends():
    """The helpers above, for test modules, which cannot import this one."""
    return SimpleNamespace(Heard=Heard, opened=opened, serving=serving, until=until, wire_to=wire_to)
