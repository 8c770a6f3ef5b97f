"""Why no connection with a server comes about, in words that say what to do; gRPC tells it in its own."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

_LOOKUP: Final = re.compile(r"errors resolving .*?(?:address lookup failed for \S+: )?(?P<why>[^:\[\]]+)\]?$")
_NO_ROUTE: Final = re.compile(r"Network is unreachable|No route to host|Host is down")

Words = Callable[[str, str], str]
"""Makes the sentence of a server's URL and host."""


def _cut(url: str, _: str) -> str:
    return f"{url}: the connection was cut; is the port right, or is it https://?"


_SENTENCES: Final[tuple[tuple[str, Words], ...]] = (
    (
        "certificate has expired",
        lambda _, host: f"the certificate of {host} has expired: renew it there, or set the clock of this machine",
    ),
    (
        "certificate is not yet valid",
        lambda _, host: f"the certificate of {host} is not valid yet: set the clock of this machine",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        lambda _, host: (
            f"the certificate of {host} is not trusted here: install its CA or set MESHLOOM_EXTRA_ROOTS of the daemon"
        ),
    ),
    (
        "Hostname Verification Check failed",
        lambda url, host: f"the certificate at {url} is not for {host}: use a name that the certificate has",
    ),
    ("WRONG_VERSION_NUMBER", lambda url, _: f"{url}: no TLS there; is the port right, or is it http://?"),
    (
        "http1.x server",
        lambda url, _: f"{url}: no gRPC there; is the port right, does a proxy in front of it pass HTTP/2 on?",
    ),
    (
        "Connection refused",
        lambda url, _: f"{url}: connection refused; does meshloom-server run, is the port right?",
    ),
    ("Connection reset by peer", _cut),
    ("Socket closed", _cut),
    (
        "Deadline Exceeded",
        lambda url, _: f"{url}: no answer in time; is the address right, does a firewall drop packets?",
    ),
)


def plain_reason(text: str, url: str) -> str:
    """Returns the sentence for a failure of a connection to a server; empty for one that is not known here.

    Args:
        text: What gRPC says.
        url: The server's.
    """
    host = urlsplit(url).hostname or url
    for part, sentence in _SENTENCES:
        if part in text:
            return sentence(url, host)
    if found := _NO_ROUTE.search(text):
        return f"{url}: {found[0].lower()}; is this machine online, is the address right?"
    if found := _LOOKUP.fullmatch(text):
        return f"{host} has no address ({found['why'].strip().lower()}); is the name right, does DNS work here?"
    return ""
