"""Documents whose commands are run, one after the other, on machines in network namespaces."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from meshloom.testing.namespaces import Internet, missing_programs, wait_until

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = "/opt/meshloom"
OVERLAID = """
mkdir -p /run/over /run/bin
for folder in etc var opt usr/local $3; do
    over=/run/over/$folder
    mkdir -p $over/upper $over/work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir=$over/upper,workdir=$over/work /$folder
done
[ -z "$3" ] || chmod o+x $4
mkdir -p /opt/meshloom /run/over/checkout/upper /run/over/checkout/work
mount -t overlay overlay \
    -o lowerdir="$1",upperdir=/run/over/checkout/upper,workdir=/run/over/checkout/work /opt/meshloom
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$2" "$1/tests/docs/systemctl.py" > /run/bin/systemctl
chmod +x /run/bin/systemctl
"""
"""What a machine changes of /etc, /var, /opt, /usr/local and of the checkout is its own, and gone with it."""


def closed_folders():
    """Folders on the way to the checkout and to Python that other users cannot enter, such as root's home."""
    ways = [path for place in (ROOT, Path(sys.base_prefix)) for path in (*reversed(place.parents), place)]
    return [str(path) for path in dict.fromkeys(ways) if not path.stat().st_mode & 0o001]


def blocks(file):
    """Language and text of each block of code of a document, indented ones included (as ``sh``)."""
    found, text = [], (ROOT / file).read_text()
    for match in re.finditer(
        r"^```(\w*)\n(.*?)^```$|(?:(?<=\n\n)|\A)((?:^ {4}[^\n]*\n)+)", text, re.MULTILINE | re.DOTALL
    ):
        indented = match[3] and re.sub(r"^ {4}", "", match[3], flags=re.MULTILINE)
        found.append(("sh", indented) if indented else (match[1], match[2]))
    return found


class Document:
    """A document being followed: each block of commands is run once, in the order of the text."""

    def __init__(self, file):
        self.file = file
        self._left = [(language, text) for language, text in blocks(file) if language != "text"]

    def _take(self, *languages):
        assert self._left, f"{self.file}: nothing is left"
        language, text = self._left.pop(0)
        assert language in languages, f"{self.file}: the next block is {language}, not {languages}:\n{text}"
        return text

    def run(self, *machines, **variables):
        """Run the next block on each of the machines; returns the last one's output."""
        text = self._take("sh")
        return [machine.shell(text, **variables) for machine in machines][-1]

    def start(self, machine, log):
        """Run the next block, of which the last command goes on."""
        return machine.start_shell(self._take("sh"), log)

    def write(self, machine):
        """Write the next block to the file that its first line names."""
        text = self._take("toml", "nginx", "caddy", "ini")
        name = re.match(r"# file: (\S+)\n", text)[1]
        machine.host.run("sh", "-c", f"mkdir -p $(dirname {name}); cat > {name}", input=text)

    def write_up_to(self, name, machine):
        """Write the files on the way to that one, and it; run nothing, and leave the rest."""
        while not self._left[0][1].startswith(f"# file: {name}\n"):
            if self._left[0][1].startswith("# file: "):
                self.write(machine)
            else:
                del self._left[0]
        self.write(machine)
        self._left.clear()

    def lines(self):
        """The next block's commands, without their comments."""
        return [line.partition("#")[0].strip() for line in self._take("sh").splitlines()]

    def finish(self):
        """Nothing was left out."""
        assert self._left == [], f"{self.file}: these are not run"


@attrs.frozen
class Machine:
    """A fresh machine with a checkout of the project."""

    host: object

    def _command(self, text, variables):
        given = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
        return ("bash", "-euc", f"export PATH=/run/bin:$PATH PIP_NO_INDEX=1\ncd {CHECKOUT}\n{given}{text}")

    def shell(self, text, **variables):
        return self.host.run(*self._command(text, variables), timeout=200)

    def start_shell(self, text, log):
        return self.host.start(*self._command(text, {}), log=log)

    def log(self, unit):
        """What a unit's program has logged."""
        return self.host.run("cat", f"/run/units/{unit}.service.log")

    def answers(self, url, *options):
        """Whether an HTTP request of this machine succeeds."""
        return (
            self.host.run(
                "sh", "-c", 'curl --silent --fail "$@" > /dev/null && echo yes', "sh", *options, url, check=False
            )
            == "yes\n"
        )

    def wait_for(self, url, *options):
        """Until it does."""
        wait_until(lambda: self.answers(url, *options), 60, f"{url} answers", every=0.05)


@pytest.fixture(name="blocks")
def blocks_fixture():
    """Finds the blocks of code of a document."""
    return blocks


@pytest.fixture
def internet():
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if missing := missing_programs(("ip", "nft", "nsenter", "unshare", "setpriv", "sysctl", "curl", "make")):
        pytest.skip(f"needs {', '.join(missing)}: run make setup-tests")
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("the documents speak of .venv in the checkout: run make test")
    if subprocess.run([ROOT / "tools" / "setup", "--check", "tests"], check=False).returncode:
        pytest.skip(
            "the distributions have changed, and their machines have no network to install: run make setup-tests"
        )
    with Internet() as made:
        yield made


@pytest.fixture
def machine():
    """Makes a machine out of a host: it has a checkout, and what it writes is its own."""

    def make(host):
        closed = closed_folders()
        outermost = [
            path[1:]
            for path in closed
            if not any(Path(path).is_relative_to(f"{other}/.") and path != other for other in closed)
        ]
        host.run("sh", "-ec", OVERLAID, "sh", ROOT, sys.executable, " ".join(outermost), " ".join(closed))
        return Machine(host)

    return make


@pytest.fixture
def document():
    """Opens a document, and sees in the end that all of its commands were run."""

    @contextlib.contextmanager
    def follow(file):
        opened = Document(file)
        yield opened
        opened.finish()

    return follow
