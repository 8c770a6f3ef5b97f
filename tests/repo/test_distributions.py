"""Every distribution, built and installed alone, works. No network: what they need is packed from what is here."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools" / "distributions"
PROJECTS = [
    tomllib.loads(file.read_text())["project"]
    for pattern in ("core", "libraries/*", "plugins/*/*", "services/*")
    for file in sorted(ROOT.glob(f"{pattern}/pyproject.toml"))
]
WANTED = [
    name
    for project in PROJECTS
    for name in (project["name"], *(f"{project['name']}[{each}]" for each in project.get("optional-dependencies", ())))
]
SYSTEM = "/usr/bin/python3"
"""Debian 12's is 3.11.2, which lacks what 3.11.4 has."""
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "MESHLOOM_"))}


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=CLEAN, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pack(distribution, into):
    """The wheel that an installed distribution came from; its programs come from its entry points again."""
    tags = [tag.split("-") for tag in metadata.distribution(distribution).read_text("WHEEL").split() if "-" in tag]
    tags = [tag for tag in tags if len(tag) == 3 and tag[0] != "Wheel"]
    tag = "-".join(".".join(dict.fromkeys(tag[place] for tag in tags)) for place in range(3))
    found = metadata.distribution(distribution)
    name = re.sub(r"[-_.]+", "_", found.name)
    with zipfile.ZipFile(into / f"{name}-{found.version}-{tag}.whl", "w") as wheel:
        for file in found.files:
            if ".." not in file.parts and file.suffix != ".pyc" and file.name not in ("INSTALLER", "REQUESTED"):
                wheel.write(found.locate_file(file), str(file))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    run(sys.executable, TOOLS / "build.py", folder)
    for each in metadata.distributions():
        if each.read_text("WHEEL") and not each.name.startswith("meshloom") and each.name not in ("pip", "setuptools"):
            pack(each.name, folder)
    return folder


def prove(wanted, wheels, folder):
    """Install it in an environment that has nothing else, and prove it there."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    options = ("--isolated", "--no-cache-dir", "--python", python)
    offline = ("--no-index", "--no-compile", "--find-links", wheels)  # to compile what one proof imports is enough
    lacking = run(sys.executable, TOOLS / "install.py", wheels, wanted, *options, "--", *offline)
    assert lacking == ""
    return run(python, "-I", TOOLS / "prove.py", wanted)


def test_every_distribution_installs_and_works_alone(wheels, tmp_path):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        proofs = list(pool.map(lambda wanted: prove(wanted, wheels, tmp_path / wanted), WANTED))
    assert len(proofs) > len(PROJECTS)  # the extras, too
    for wanted, proof in zip(WANTED, proofs, strict=True):
        assert proof.startswith(f"{wanted}: "), proof


@pytest.mark.privileged
@pytest.mark.mesh
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
def test_two_installs_from_wheels_alone_ping_through_the_relay(wheels, tmp_path):
    for name in ("meshloom-agent", "meshloom-server"):
        prove(name, wheels, tmp_path / name)
    agents_python = tmp_path / "meshloom-agent" / "bin" / "python"
    told = run(agents_python, "-I", TOOLS / "relayed_ping.py", tmp_path / "meshloom-server" / "bin")
    assert told.startswith("answered through the relay by ")


@pytest.mark.skipif(not Path(SYSTEM).exists(), reason="this system has no Python of its own")
def test_the_systems_own_python_builds_every_distribution(tmp_path):
    library = Path(metadata.distribution("hatchling").locate_file(""))  # all that hatchling needs is pure Python
    run("env", f"PYTHONPATH={library}", "PYTHONDONTWRITEBYTECODE=1", SYSTEM, TOOLS / "build.py", tmp_path)
    assert len(list(tmp_path.glob("*.whl"))) == len(PROJECTS)


def test_a_dependency_that_is_not_declared_is_found(wheels, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (wheel,) = wheels.glob("meshloom_stun-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    done = subprocess.run(
        [python, "-I", TOOLS / "prove.py", "meshloom-stun"], capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "No module named" in done.stderr
