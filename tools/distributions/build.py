"""Build every distribution of the workspace into one folder: a source archive, and the wheel made from that archive.

Usage: python tools/distributions/build.py FOLDER   (needs hatchling)
"""

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.build import build_sdist, build_wheel

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ("core", "libraries/*", "plugins/*/*", "services/*")
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Debian 12's own Python 3.11.2 has no filters yet; the archives are our own."""


def members() -> list[Path]:
    """The folders of all distributions."""
    return sorted(file.parent for each in MEMBERS for file in ROOT.glob(f"{each}/pyproject.toml"))


def build(member: Path, into: Path) -> Path:
    """The member's wheel, made from its unpacked source archive, so that the archive is proven complete."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(member, copy, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "LICENSE", copy)  # each archive carries its own
        os.chdir(copy)
        archive = into / build_sdist(str(into))
        unpacked = Path(folder) / "unpacked"
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, **SAFELY)  # noqa: S202 - made above
        os.chdir(next(unpacked.iterdir()))
        wheel = into / build_wheel(str(into))
        os.chdir(ROOT)
    return wheel


def main(folder: str) -> None:
    """Build all; archives that were in the folder go."""
    into = Path(folder).resolve()
    into.mkdir(parents=True, exist_ok=True)
    for old in (*into.glob("*.whl"), *into.glob("*.tar.gz")):
        old.unlink()
    for member in members():
        print(build(member, into).name)


if __name__ == "__main__":
    main(*sys.argv[1:])
