"""Where a server says that it is reached: as told, in full, or at an address that others can have."""

import os
import subprocess
import sys

import pytest

from meshloom.errors import ConfigError
from meshloom.testing.namespaces import Internet
from meshloom_front.config import ServerConfig, checked_url
from meshloom_front.own_address import own_address


@pytest.mark.parametrize(
    "text",
    [
        "https://mesh.example.net/meshloom",
        "https://mesh.example.net/?a=b",
        "https://mesh.example.net#part",
        "https://mesh.example.net?",
        "https://user:secret@mesh.example.net",
    ],
)
def test_what_would_be_dropped_of_a_url_is_refused(text):
    with pytest.raises(ConfigError, match="public_url = .* at a host and a port alone"):
        _ = ServerConfig(public_url=text).url
    with pytest.raises(ConfigError, match="signal_url = "):
        checked_url(text, "signal_url")


@pytest.mark.parametrize(
    "text", ["mesh.example.net", "ftp://x", "http://", "http://[::1", "http://x:0", "http://x:99999"]
)
def test_what_is_no_url_is_refused(text):
    with pytest.raises(ConfigError, match="no URL of a server"):
        checked_url(text, "public_url")


@pytest.mark.parametrize("text", ["http://0.0.0.0:8080", "https://[::]"])
def test_an_address_that_stands_for_all_is_refused(text):
    with pytest.raises(ConfigError, match="nobody reaches it"):
        checked_url(text, "public_url")


@pytest.mark.parametrize("text", ["https://mesh.example.net", "http://192.0.2.1:8080/", "https://[2001:db8::1]:8443//"])
def test_a_host_with_or_without_a_port_is_taken(text):
    assert checked_url(text, "public_url") == text.rstrip("/")


def test_a_server_that_listens_on_one_address_is_told_by_it():
    assert ServerConfig(listen="192.0.2.7:8080").url == "http://192.0.2.7:8080"


@pytest.mark.parametrize("listen", [":80", "0.0.0.0:80", "[::]:80"])
def test_a_server_that_listens_on_all_addresses_is_told_by_the_one_that_others_see(listen):
    assert ServerConfig(listen=listen).url == f"http://{own_address()}:80"


ASK = "from meshloom_front.config import ServerConfig; print(ServerConfig(listen=':80').url)"


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
def test_on_a_host_of_a_network_that_is_not_loopback():
    with Internet() as internet:
        host = internet.host("server")
        assert host.run(sys.executable, "-c", ASK).strip() == f"http://{host.address}:80"


def test_where_there_is_no_way_out_it_is_loopback():
    alone = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", ASK], capture_output=True, text=True, check=False
    )
    if alone.returncode:
        pytest.skip(f"needs a namespace of its own: {alone.stderr}")
    assert alone.stdout.strip() == "http://127.0.0.1:80"
