"""What a server shows and a client trusts."""

import datetime as dt
import hashlib
import hmac
import logging
import ssl
from collections.abc import Callable
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshloom.errors import TransportError, words_of
from meshloom.log import BACKEND
from meshloom.transport import LONGEST_MESSAGE, RelayAddress
from meshloom_transport_quic.library import CONNECTION_ID, FRAME, RESET_TOKEN
from meshloom_transport_quic.path_mtu import SAFE

logger = logging.getLogger(__name__)

ALPN = "nb-quic"

Certificate = Callable[[], tuple[bytes, bytes]]


def configuration(idle: dt.timedelta, *, is_client: bool) -> QuicConfiguration:
    """What both sides have in common; streams are given no room."""
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        connection_id_length=CONNECTION_ID,
        idle_timeout=idle.total_seconds(),
        is_client=is_client,
        max_data=0,
        max_stream_data=0,
        max_datagram_size=SAFE,
        max_datagram_frame_size=LONGEST_MESSAGE + FRAME,
    )


def for_client(address: RelayAddress, extra_roots: bytes, idle: dt.timedelta) -> QuicConfiguration:
    """Trust the system's roots and the extra ones; nobody checks the certificate of a relay without TLS."""
    made = configuration(idle, is_client=True)
    made.server_name = address.host
    if not address.tls:
        made.verify_mode = ssl.CERT_NONE
        return made
    system = ssl.get_default_verify_paths()
    made.load_verify_locations(cafile=system.cafile, capath=system.capath, cadata=extra_roots or None)
    return made


class Shown:
    """The certificate that a server shows: asked for at each connection, parsed when it changed.

    Args:
        certificate: Gives the chain and the key; None for one made for this run.
        idle: Silence after which a connection is given up.

    Raises:
        TransportError: What is given first is no certificate and key.
    """

    def __init__(self, certificate: Certificate | None, idle: dt.timedelta) -> None:
        self._idle = idle
        self._certificate = certificate or _own()
        self._pem: tuple[bytes, bytes] | None = None
        self._configuration = configuration(idle, is_client=False)
        self._reset_key, self._complaint = b"", ""
        self.current()

    def current(self) -> QuicConfiguration:
        """For the next connection; the last good one where what is given now is no certificate and key."""
        try:
            pem = self._certificate()
            if pem != self._pem:
                self._take(pem)
        except (OSError, TransportError) as error:
            if self._pem is None:
                raise
            if words_of(error) != self._complaint:
                self._complaint = words_of(error)
                logger.error(  # noqa: TRY400 - the error says all
                    "%s; the certificate of before is shown until there is a good one",
                    words_of(error),
                    extra={BACKEND: "quic"},
                )
        return self._configuration

    def _take(self, pem: tuple[bytes, bytes]) -> None:
        chain, key = _parsed(*pem)
        made = configuration(self._idle, is_client=False)
        made.certificate, made.certificate_chain, made.private_key = chain[0], chain[1:], key
        self._configuration, self._pem, self._complaint = made, pem, ""
        if not self._reset_key:
            self._reset_key = hmac.digest(pem[1], b"meshloom quic stateless reset", hashlib.sha256)

    def reset_token(self, identifier: bytes) -> bytes:
        """The same after a restart with the same key, so that clients of the run before learn that it is over."""
        return hmac.digest(self._reset_key, identifier, hashlib.sha256)[:RESET_TOKEN]


def _parsed(chain: bytes, key: bytes) -> tuple[list[x509.Certificate], Any]:
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise TransportError(
            f"QUIC: the server's certificate or its key is not PEM without a password: {error}"
        ) from None
    if certificates[0].public_key() != private.public_key():
        raise TransportError("QUIC: the server's key does not belong to its certificate: give both of one renewal")
    return certificates, private


def _own() -> Certificate:
    """One that nobody checks; it lasts as long as a run may."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshloom")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pair = made.public_bytes(pem), key.private_bytes(pem, *plain)
    return lambda: pair
