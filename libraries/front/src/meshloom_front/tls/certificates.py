"""Certificates from files, read again when told to."""

import ssl
from pathlib import Path

from meshloom.errors import ConfigError, words_of
from meshloom_front.config import TLS


def certificates(table: TLS) -> "Certificates | None":
    """Returns the certificates that a table names; None where it names none.

    Raises:
        ConfigError: One of the two files is not given, or they cannot be used.
    """
    if table.certificate and table.key:
        return Certificates(table.certificate, table.key)
    if table.certificate or table.key:
        given, missing = ("certificate", "key") if table.certificate else ("key", "certificate")
        raise ConfigError(f"tls.{given} is given without tls.{missing}: give both, or none for a plain port")
    return None


class Certificates:
    """A TLS context whose certificate can be renewed while connections are open.

    Raises:
        ConfigError: The files cannot be read or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1", "h2"])
        self.reload()

    def reload(self) -> None:
        """Use the files as they are now for new connections; what is wrong with them leaves the old ones in use."""
        for name, file in (("certificate", self._certificate), ("key", self._key)):
            try:
                file.read_bytes()
            except OSError as error:
                raise ConfigError(f"tls.{name} = {str(file)!r}: cannot be read: {error.strerror}") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
            self.context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"tls.certificate = {str(self._certificate)!r}: cannot be used: {words_of(error)}"
            ) from error
