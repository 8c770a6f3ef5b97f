"""Who is trusted, and what a server shows."""

import ssl

import pytest

from meshloom.errors import TransportError
from meshloom.transport import RelayAddress

pytestmark = pytest.mark.anyio


def tls(server, host, ip="127.0.0.1"):
    return RelayAddress(host, server.port, tls=True, ip=ip)


async def test_a_certificate_of_an_extra_root_is_trusted(ends, authority):
    pair = authority.issue("relay.example")
    async with ends.opened(extra_roots=authority.root) as quic, ends.serving(quic, lambda: pair) as server:
        connection = await quic.connect(tls(server, "relay.example"), ends.Heard())
        assert connection.remote == ("127.0.0.1", server.port)
        assert connection.quic.tls.alpn_negotiated == "nb-quic"


async def test_a_certificate_for_an_address_is_trusted(ends, authority):
    pair = authority.issue("127.0.0.1")
    async with ends.opened(extra_roots=authority.root) as quic, ends.serving(quic, lambda: pair) as server:
        assert (await quic.connect(tls(server, "127.0.0.1", ip=""), ends.Heard())).is_open


async def test_the_systems_roots_are_trusted(ends, authority, tmp_path, monkeypatch):
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root)
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(root))
    pair = authority.issue("relay.example")
    async with ends.opened() as quic, ends.serving(quic, lambda: pair) as server:
        assert (await quic.connect(tls(server, "relay.example"), ends.Heard())).is_open


@pytest.mark.parametrize(
    ("named", "days", "says"),
    [
        ("relay.example", 30, "unable to get local issuer certificate"),
        ("other.example", 30, "doesn't match"),
        ("relay.example", -1, "no longer valid"),
    ],
    ids=["unknown root", "other name", "expired"],
)
async def test_a_bad_certificate_is_an_error_that_says_why(ends, authority, named, days, says):
    pair = authority.issue(named, days=days)
    roots = b"" if "issuer" in says else authority.root
    async with ends.opened(extra_roots=roots) as quic, ends.serving(quic, lambda: pair) as server:
        heard = ends.Heard()
        with pytest.raises(TransportError, match=f"rels://relay.example:{server.port}.*TLS: .*({says})"):
            await quic.connect(tls(server, "relay.example"), heard)
        assert (heard.lost, server.receivers) == ([], [])


async def test_nobody_checks_the_certificate_of_a_relay_without_tls(ends, quic, server):
    assert (await quic.connect(server.address("127.0.0.1"), ends.Heard())).is_open


async def test_the_certificate_made_for_a_run_is_not_trusted_where_there_is_tls(ends, quic, server):
    with pytest.raises(TransportError, match="TLS: "):
        await quic.connect(tls(server, "localhost"), ends.Heard())


async def test_a_renewed_certificate_is_shown_without_a_restart(ends, authority):
    shown = [authority.issue("before.example")]
    async with ends.opened(extra_roots=authority.root) as quic, ends.serving(quic, lambda: shown[0]) as server:
        first = await quic.connect(tls(server, "before.example"), ends.Heard())
        shown[0] = authority.issue("after.example")
        assert (await quic.connect(tls(server, "after.example"), ends.Heard())).is_open
        assert first.is_open


async def test_a_key_of_another_certificate_is_refused_at_the_start(ends, quic, authority):
    pair = authority.issue("a.example")[0], authority.issue("a.example")[1]
    with pytest.raises(TransportError, match="key does not belong to its certificate"):
        async with ends.serving(quic, lambda: pair):
            pass


async def test_a_renewal_that_went_wrong_is_said_once_and_the_certificate_of_before_is_shown(ends, authority, caplog):
    good = authority.issue("relay.example")
    shown = [good]

    def read():
        if shown[0] is None:
            raise OSError("cannot be read")
        return shown[0]

    async with ends.opened(extra_roots=authority.root) as quic, ends.serving(quic, read) as server:
        for wrong in (None, (b"nonsense", b"nonsense"), (good[0], authority.issue("relay.example")[1])):
            shown[0] = wrong
            for _ in range(2):
                assert (await quic.connect(tls(server, "relay.example"), ends.Heard())).is_open
        shown[0] = authority.issue("after.example")
        assert (await quic.connect(tls(server, "after.example"), ends.Heard())).is_open
    said = [record.getMessage() for record in caplog.records if "is shown until" in record.getMessage()]
    assert len(said) == 3
