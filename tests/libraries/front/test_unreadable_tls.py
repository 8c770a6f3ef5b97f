"""What is wrong with a certificate or its key is told of the file that it is wrong with."""

import pytest

from meshloom.errors import ConfigError
from meshloom.testing.certificates import make_certificate
from meshloom_front.config import TLS
from meshloom_front.tls.certificates import certificates


@pytest.mark.parametrize(("name", "key"), [("certificate.pem", "tls.certificate"), ("key.pem", "tls.key")])
def test_the_file_that_cannot_be_read_is_the_one_that_is_named(tmp_path, name, key):
    make_certificate(tmp_path, "mesh.test")
    table = TLS(certificate=tmp_path / "certificate.pem", key=tmp_path / "key.pem")
    assert certificates(table) is not None
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError) as caught:
        certificates(table)
    assert str(caught.value) == f"{key} = {str(tmp_path / name)!r}: cannot be read: Is a directory"
