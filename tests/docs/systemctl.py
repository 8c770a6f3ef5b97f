"""What ``systemctl`` is on a machine of the documents' tests: it runs what a unit's file says, and no more than that.

Where systemd itself is not PID 1 this stands in for it: it starts ``ExecStart`` with the unit's user, capabilities
and file limit, in its sandbox (``sandbox.py``), waits until that says that it is ready (``Type=notify``), runs
``ExecReload``, stops by SIGTERM. What systemd alone can do is for ``systemd-analyze`` to judge.
"""

import contextlib
import os
import pwd
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS, RUN = Path("/etc/systemd/system"), Path("/run/units")


def unit(name):
    name = name if name.endswith(".service") else f"{name}.service"
    return name, dict(re.findall(r"^(\w+)=(.*)$", (UNITS / name).read_text(), re.MULTILINE))


def environment(name):
    """What the unit's file and those that add to it say of the environment."""
    files = [UNITS / name, *sorted((UNITS / f"{name}.d").glob("*.conf"))]
    said = [line for file in files for line in re.findall(r"^Environment=(.*)$", file.read_text(), re.MULTILINE)]
    return dict(each.split("=", 1) for line in said for each in shlex.split(line))


def start(name):
    name, said = unit(name)
    kept = ",".join(
        ["-all", *(f"+{each.removeprefix('CAP_').lower()}" for each in said["CapabilityBoundingSet"].split())]
    )
    user = pwd.getpwnam(said.get("User", "root"))
    if "StateDirectory" in said:
        state = Path("/var/lib") / said["StateDirectory"]
        state.mkdir(mode=int(said["StateDirectoryMode"], 8), exist_ok=True)
        os.chown(state, user.pw_uid, user.pw_gid)
    files = min(int(said["LimitNOFILE"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with (RUN / f"{name}.log").open("ab") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        (RUN / f"{name}.notify").unlink(missing_ok=True)
        notified.bind(str(RUN / f"{name}.notify"))
        (RUN / f"{name}.notify").chmod(0o777)
        enter = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs"]
        enter += ["--inh-caps", kept, "--ambient-caps", kept] if "AmbientCapabilities" in said else []
        enter += ["--bounding-set", kept]
        sandbox = [sys.executable, str(Path(__file__).with_name("sandbox.py"))]
        enter = ["unshare", "--mount", "--propagation", "private", *sandbox, "folders", str(UNITS / name), *enter]
        program = subprocess.Popen(
            [*enter, *sandbox, "calls", str(UNITS / name), *shlex.split(said["ExecStart"])],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "NOTIFY_SOCKET": str(RUN / f"{name}.notify")}
            | environment(name),
        )  # fmt: skip
        (RUN / name).write_text(str(program.pid))
        assert said["Type"] == "notify"
        notified.settimeout(0.1)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if program.poll() is not None:
                sys.exit(f"{name} failed:\n" + (RUN / f"{name}.log").read_text())
            with contextlib.suppress(TimeoutError):
                assert notified.recv(100) == b"READY=1"
                return
        sys.exit(f"{name} does not say that it is ready")


def stop(name):
    name, _ = unit(name)
    pid = int((RUN / name).read_text())
    (RUN / name).unlink()
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while "Z" not in state(pid):
        if time.monotonic() > deadline:
            sys.exit(f"{name} does not stop")
        time.sleep(0.02)


def state(pid):
    """Z or empty once the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def reload(name):
    name, said = unit(name)
    command = said["ExecReload"].replace("$MAINPID", (RUN / name).read_text())
    subprocess.run(shlex.split(command), check=True)


def enable(name):
    name, said = unit(name)
    assert "multi-user.target" in said["WantedBy"]
    wanted = UNITS / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / name).symlink_to(UNITS / name)


def disable(name):
    name, _ = unit(name)
    (UNITS / "multi-user.target.wants" / name).unlink(missing_ok=True)


def main(verb, *rest):
    RUN.mkdir(exist_ok=True)
    if verb == "disable":
        disable(rest[-1])
        if "--now" in rest and (RUN / unit(rest[-1])[0]).exists():
            stop(rest[-1])
    elif "--now" in rest:
        enable(rest[-1])
        start(rest[-1])
    elif verb == "restart":
        stop(*rest)
        start(*rest)
    elif verb != "daemon-reload":
        {"start": start, "stop": stop, "reload": reload, "enable": enable}[verb](*rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
