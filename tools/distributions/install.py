"""Install one built distribution, with those of the workspace that it depends on and no others.

Usage: python tools/distributions/install.py WHEELS NAME[EXTRA] [OPTION OF PIP ...] [-- OPTION OF PIP INSTALL ...]

The workspace's own come from the folder of wheels by path, so that no index can put another in their place; what else
they need, pip finds as usual.
"""

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

Own = dict[str, tuple[Path, list[str]]]


def own_wheels(folder: Path) -> Own:
    """By name: the wheel, and its requirements as written."""
    found: Own = {}
    for wheel in folder.glob("meshloom*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            about = Parser().parsestr(archive.read(inside).decode())
        found[about["Name"]] = wheel, about.get_all("Requires-Dist", [])
    return found


def closure(wanted: str, own: Own) -> dict[str, set[str]]:
    """Names of the workspace's distributions that *wanted* brings, each with the extras asked of it."""
    found: dict[str, set[str]] = {}
    waiting = [wanted]
    while waiting:
        name, extras = _parsed(waiting.pop())
        if name not in own or (name in found and extras <= found[name]):
            continue
        found[name] = found.get(name, set()) | extras
        for requirement in own[name][1]:
            condition = re.search(r"extra == ['\"]([^'\"]+)['\"]", requirement)
            if condition is None or condition[1] in found[name]:
                waiting.append(requirement)
    return found


def _parsed(requirement: str) -> tuple[str, set[str]]:
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?", requirement)
    assert match is not None, requirement
    return match[1], {extra.strip() for extra in (match[2] or "").split(",") if extra.strip()}


def arguments(folder: Path, wanted: str) -> list[str]:
    """What pip is told to install."""
    own = own_wheels(folder)
    return [
        f"{own[name][0]}[{','.join(sorted(extras))}]" if extras else str(own[name][0])
        for name, extras in sorted(closure(wanted, own).items())
    ]


def left() -> list[str]:
    """Those of the workspace that an earlier run installed here; their version alone does not make pip replace them."""
    names = (str(each.name) for each in metadata.distributions())
    return sorted({name for name in names if name == "meshloom" or name.startswith("meshloom-")})


def main(folder: str, wanted: str, *options: str) -> int:
    """Pip's exit status."""
    if old := [] if "--python" in options else left():
        subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *old], check=True)
    place = options.index("--") if "--" in options else len(options)
    before, after = options[:place], options[place + 1 :]
    command = [sys.executable, "-m", "pip", *before, "install", "--quiet", "--no-compile", *after]
    return subprocess.run([*command, *arguments(Path(folder).resolve(), wanted)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
