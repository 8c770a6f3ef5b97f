"""The how-to's plugin, made from its text, works as an outside distribution: follows(docs/how-to/write-a-plugin.md)."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text()
PROGRAM = """#!/bin/sh
exec {python} -c "from meshloom_server.main import main; main()" "$@"
"""


def run(*argv, cwd):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_plugin_of_a_third_party(tmp_path):
    for name, content in re.findall(r"```\w+\n# file: (\S+)\n(.*?)```", TEXT, re.DOTALL):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    run(sys.executable, "-m", "venv", "--without-pip", "fresh", cwd=tmp_path)
    python = str(tmp_path / "fresh" / "bin" / "python")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # Meshloom and what it needs come from here; the plugin is built and installed into the fresh environment alone.
    (site / "meshloom.pth").write_text(
        "\n".join(
            [
                sysconfig.get_path("purelib"),
                *map(str, ROOT.glob("[cps]*/**/src")),
                *map(str, ROOT.glob("libraries/*/src")),
            ]
        )
    )
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), "--quiet")
    run(sys.executable, "-m", "pip", "install", *options, ".", cwd=tmp_path)

    program = tmp_path / "fresh" / "bin" / "meshloom-server"
    program.write_text(PROGRAM.format(python=python))
    program.chmod(0o755)
    using, proving = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    said = run("bash", "-euc", f"export PATH=$PWD/fresh/bin:$PATH\n{using}", cwd=tmp_path)
    assert re.search(r"store\s+json\s+yes", said)
    assert said.splitlines()[-1].startswith("nbp_"), "the second command found what the first one had kept"
    assert "you@example.net" in (tmp_path / "state" / "mesh.json").read_text()

    command = proving.removeprefix("pytest ").split()
    report = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *command, cwd=tmp_path)
    assert " passed" in report
    assert "failed" not in report
