"""Certificates for tests, made by the openssl program."""

import shutil
import subprocess
from pathlib import Path

import attrs


@attrs.frozen
class Certificate:
    """A certificate that is its own root, and its private key, as PEM."""

    chain: bytes
    key: bytes


def make_certificate(folder: Path, *names: str) -> Certificate:
    """For these names and addresses; good for some days.

    Raises:
        LookupError: There is no openssl here.
    """
    if shutil.which("openssl") is None:
        raise LookupError("the openssl program is not installed")
    chain, key = folder / "certificate.pem", folder / "key.pem"
    named = ",".join(f"IP:{name}" if set(name) <= set("0123456789abcdef.:") else f"DNS:{name}" for name in names)
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3", "-subj", "/CN=test")
    out = ("-addext", f"subjectAltName={named}", "-keyout", str(key), "-out", str(chain))
    subprocess.run(["openssl", "req", "-x509", *kind, *out], check=True, capture_output=True)
    return Certificate(chain.read_bytes(), key.read_bytes())
