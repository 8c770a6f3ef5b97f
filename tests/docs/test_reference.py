"""The reference says what the code does; what a running server shows is in it."""

import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from meshloom.testing.namespaces import wait_until

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
BIN = Path(sys.executable).parent


def test_the_reference_is_as_the_code_says():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\nrun: make docs"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def metrics(tmp_path):
    """What a running server serves at /metrics."""
    address = f"127.0.0.1:{free_port()}"
    command = [BIN / "meshloom-server", "--listen", f"127.0.0.1:{free_port()}", "--data-dir", tmp_path / "data"]
    command += ["--stun-port", str(free_port()), "--metrics", address]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as server:

        def served():
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                    return answer.read().decode()
            except (urllib.error.URLError, ConnectionError):
                return None

        yield wait_until(served, 30, "/metrics is served")
        server.terminate()


def test_every_metric_of_a_running_server_is_described(metrics):
    text = (REFERENCE / "metrics.md").read_text()
    found = dict(re.findall(r"^# TYPE (meshloom_\w+) (\w+)$", metrics, re.MULTILINE))
    found = {name: kind for name, kind in found.items() if not name.endswith("_created")}
    described = dict(re.findall(r"^\| `(meshloom_\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert found
    assert found.items() <= described.items()


def test_every_page_of_the_documentation_is_linked():
    pages = {file for file in (ROOT / "docs").rglob("*.md") if file != ROOT / "docs" / "README.md"}
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)#]+\.md)\)", index)}
    assert pages == linked


@pytest.mark.parametrize(
    "file", ["README.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
)
def test_no_link_leads_nowhere(file):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / file).read_text()):
        if "://" not in link:
            assert ((ROOT / file).parent / link).exists(), link
