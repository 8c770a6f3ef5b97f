"""Failures of connections in words that say what to do."""

import pytest

from meshloom_agent.reasons import plain_reason
from meshloom_agent.shown import shown_space, shown_transport

URL = "https://mesh.test:443"
LAST = "failed to connect to all addresses; last error: UNKNOWN: ipv4:192.0.2.7:443: "
VERIFY = f"{LAST}Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:"
VERIFY += "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
NO_ROUTE = f"{LAST}connect failed: addr: ipv4:192.0.2.7:443 error: "
LOOKUP = "errors resolving mesh.test:443: [field:hostname lookup error:address lookup failed for mesh.test:443: "


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"{VERIFY}self signed certificate: OK", "the certificate of mesh.test is not trusted here: install its CA or"),
        (f"{VERIFY}unable to get local issuer certificate: OK", "the certificate of mesh.test is not trusted here"),
        (f"{VERIFY}certificate has expired: OK", "the certificate of mesh.test has expired: renew it there, or set"),
        (f"{VERIFY}certificate is not yet valid: OK", "the certificate of mesh.test is not valid yet: set the clock"),
        (
            f"{LAST}Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed.",
            f"the certificate at {URL} is not for mesh.test: use a name",
        ),
        (f"{LAST}SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: OK", f"{URL}: no TLS there; is the port right"),
        (f"{LAST}(Trying to connect an http1.x server (HTTP status 400))", f"{URL}: no gRPC there; is the port right"),
        (f"{LAST}Failed to connect to remote host: Connection refused", f"{URL}: connection refused; does meshloom-s"),
        (f"{LAST}recvmsg:Connection reset by peer (104)", f"{URL}: the connection was cut; is the port right"),
        (f"{LAST}Socket closed", f"{URL}: the connection was cut"),
        ("Deadline Exceeded", f"{URL}: no answer in time; is the address right"),
        (f"{NO_ROUTE}Network is unreachable", f"{URL}: network is unreachable; is this machine online"),
        (f"{NO_ROUTE}No route to host", f"{URL}: no route to host; is this machine online"),
        (f"{LOOKUP}Could not contact DNS servers]", "mesh.test has no address (could not contact dns servers); is the"),
        (f"{LOOKUP}Domain name not found]", "mesh.test has no address (domain name not found); is the name right"),
        ("words that nobody knows", ""),
        ("", ""),
    ],
)
def test_what_grpc_says_is_told_with_what_to_do(said, told):
    assert plain_reason(said, URL).startswith(told)
    assert bool(plain_reason(said, URL)) == bool(told)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 20, "5.0 MiB"),
        (67878 << 20, "66 GiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_space_is_shown_in_the_unit_that_fits(count, shown):
    assert shown_space(count) == shown


@pytest.mark.parametrize(("name", "shown"), [("picows", "WebSocket"), ("ws", "WebSocket"), ("other", "other")])
def test_transports_are_shown_as_what_they_speak(name, shown):
    assert shown_transport(name) == shown
