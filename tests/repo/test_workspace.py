"""Rules of the repository itself."""

import re
import subprocess
import tomllib
from pathlib import Path

import meshloom
from meshloom import errors

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = sorted(file.parent for file in ROOT.glob("*/**/pyproject.toml") if ".venv" not in file.parts)
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).exists()]


def test_every_member_is_listed_everywhere():
    sources = {f"{member.relative_to(ROOT)}/src" for member in MEMBERS}
    packages = {next(each.name for each in (member / "src").iterdir() if each.is_dir()) for member in MEMBERS}
    tool = WORKSPACE["tool"]
    assert set(tool["hatch"]["build"]["dev-mode-dirs"]) == sources
    assert set(tool["mypy"]["mypy_path"].split(":")) == sources | {"tests/typing"}
    assert set(tool["mypy"]["packages"]) == packages
    assert set(tool["importlinter"]["root_packages"]) == packages


def test_versions_are_in_lockstep():
    versions = {tomllib.loads((member / "pyproject.toml").read_text())["project"]["version"] for member in MEMBERS}
    assert versions == {meshloom.__version__, WORKSPACE["project"]["version"]}


def test_every_dependency_says_why_it_is_there():
    for member in MEMBERS:
        for line in (member / "pyproject.toml").read_text().splitlines():
            if re.match(r'\s+"[a-z0-9-]+>=', line) and '"meshloom' not in line:
                assert "#" in line, f"{member}: {line}"


def test_no_file_is_too_long():
    for file in tracked("*.py"):
        if not file.name.endswith(("_pb2.py", "_pb2_grpc.py")):
            assert len(file.read_text().splitlines()) <= 400, file


def test_every_error_is_drawn():
    names = {
        name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, errors.MeshError)
    }
    assert {name for name in names if not re.search(rf"\b{name}\b", errors.__doc__)} == set()


def test_nothing_speaks_of_where_it_was_made():
    words = [
        "/wo" + "rk/",
        "/scr" + "atch",
        "pypi" + ".org",
        "proxy.gol" + "ang",
        "registry.n" + "pmjs",
        "deb.deb" + "ian",
    ]
    for file in tracked():
        if file.suffix in (".py", ".md", ".toml", ".yml", ".sql", "") and file.name != "LICENSE":
            text = file.read_text(errors="replace")
            assert [word for word in words if word in text] == [], file
