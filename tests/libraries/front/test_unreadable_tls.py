"""What is wrong with a certificate or its key is told of the file that it is wrong with."""

from types import SimpleNamespace

import pytest

from meshloom.errors import ConfigError
from meshloom.testing.certificates import make_certificate
from meshloom_front import running
from meshloom_front.config import TLS


@pytest.mark.parametrize(("name", "key"), [("certificate.pem", "tls.certificate"), ("key.pem", "tls.key")])
def test_the_file_that_cannot_be_read_is_the_one_that_is_named(tmp_path, name, key):
    make_certificate(tmp_path, "mesh.test")
    config = SimpleNamespace(tls=TLS(certificate=tmp_path / "certificate.pem", key=tmp_path / "key.pem"))
    assert running._certificates(config) is not None
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError) as caught:
        running._certificates(config)
    assert str(caught.value) == f"{key} = {str(tmp_path / name)!r}: cannot be read: Is a directory"
