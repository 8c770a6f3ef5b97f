"""Units of agents are written, or removed, with all that belongs to them, or nothing is changed."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from meshloom.terminal import say
from meshloom_agent.cli.exits import FAILED, NO_DAEMON, USAGE, fail
from meshloom_agent.cli.unit import Unit
from meshloom_agent.cli.units import MARK, NAME, UNITS, Installed, agent_of, agents, mark_of, objection, taken
from meshloom_agent.permission import reason

NO_SYSTEMD = "systemctl is not installed: run the daemon with `meshloom service run`"
NOT_RUNNING = 3
"""Exit status of ``systemctl status`` for a unit that does not run."""


def unit_file(name: str) -> Path:
    """Returns the file of a unit; ends the program where no unit can be called so."""
    name = name.removesuffix(".service")
    if not NAME.fullmatch(name):
        fail(USAGE, f"--name {name}: letters, digits, dots, hyphens and underscores make a unit's name")
    return UNITS / f"{name}.service"


def install(unit: Unit, file: Path, *, force: bool) -> None:
    """Writes a unit and enables it; ends the program with a sentence, and nothing changed, where that cannot be."""
    if shutil.which("systemctl") is None:
        fail(FAILED, NO_SYSTEMD)
    text, wanted = unit.text(), Installed(unit.state_dir, f"unix://{unit.socket}")
    mark = unit.state_dir / MARK
    if why := taken(file.stem, wanted, agents(file.parent)):
        fail(USAGE, why)
    try:
        before = file.read_text(errors="surrogateescape") if file.exists() else None
    except OSError as error:
        fail(FAILED, f"{file}: {reason(error)}")
    is_other = before is not None and before != text
    if before is not None and is_other and not force and (why := objection(before, wanted, _read(mark))):
        fail(USAGE, f"{file}: {why}; or replace it with --force")
    kept = file.with_name(f"{file.name}.before")
    with _undone_unless_done() as undo:
        try:
            for folder, mode in ((unit.state_dir, 0o700), (unit.socket.parent, 0o755)):
                _make(folder, mode, undo)  # the unit may write there only if it is there
            if before is not None and is_other and force:
                kept.write_text(before, errors="surrogateescape")
                undo.callback(_remove, kept)
            undo.callback(_put_back, file, before)
            file.write_text(text)
            undo.callback(_remove, mark)
            mark.write_text(f"{mark_of(text)}\n")
        except OSError as error:
            fail(FAILED, f"{error.filename or file}: {reason(error)}")
        for arguments in (("daemon-reload",), ("enable", file.name)):
            if systemctl(*arguments):
                fail(FAILED, f"systemctl {' '.join(arguments)} failed: nothing is installed")
    if is_other and force:
        say(f"the unit that was there is kept as {kept}")
    say(f"installed: {file}")


def uninstall(file: Path) -> None:
    """Stops a unit's daemon, and removes the unit."""
    if systemctl("disable", "--now", file.name):
        fail(FAILED, f"{file.name} could not be stopped: nothing is removed")
    try:
        file.unlink()
    except OSError as error:
        fail(FAILED, f"{file}: {reason(error)}")
    systemctl("daemon-reload")


def installed(file: Path) -> Installed:
    """Returns the agent of a unit; ends the program where there is none."""
    try:
        found = agent_of(file.read_text())
    except FileNotFoundError:
        fail(FAILED, f"{file} is not there")
    except (OSError, UnicodeDecodeError) as error:
        fail(FAILED, f"{file}: cannot be read: {reason(error) if isinstance(error, OSError) else 'not a text'}")
    if found is None:
        fail(FAILED, f"{file} is not the unit of an agent")
    return found


def systemctl(*arguments: str) -> int:
    """Runs systemctl and returns its status; ends the program where there is none."""
    try:
        return subprocess.run(["systemctl", *arguments], check=False).returncode
    except FileNotFoundError:
        fail(FAILED, NO_SYSTEMD)


def pass_on(verb: str, name: str) -> None:
    """Runs systemctl, and ends the program with the code that its failure has in the list of ours."""
    if status := systemctl(verb, unit_file(name).name):
        sys.exit(NO_DAEMON if verb == "status" and status == NOT_RUNNING else FAILED)


@contextlib.contextmanager
def _undone_unless_done() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as undo:
        yield undo
        undo.pop_all()


def _make(folder: Path, mode: int, undo: contextlib.ExitStack) -> None:
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode if each == folder else 0o755)
            undo.callback(_remove_empty, each)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


def _read(mark: Path) -> str:
    try:
        return mark.read_text().strip()
    except OSError:
        return ""


def _put_back(file: Path, before: str | None) -> None:
    with contextlib.suppress(OSError):
        if before is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(before, errors="surrogateescape")
    if os.access(file.parent, os.W_OK):
        systemctl("daemon-reload")
