"""The WireGuard program as a process: started, taken over from an agent that died, watched, ended."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import anyio

from meshloom.errors import TunnelError

SOCKETS = Path("/var/run/wireguard")
START_WITHIN = 10.0
LONGEST_ANSWER = 64 * 1024 * 1024


class Program:
    """One running program, by its process id and control socket."""

    def __init__(self, interface: str, pid: int) -> None:
        self.interface, self.pid = interface, pid
        self.child: subprocess.Popen[bytes] | None = None
        self._file = os.pidfd_open(pid)

    async def ask(self, command: bytes) -> bytes:
        """One command over the control socket, and its answer.

        Raises:
            TunnelError: The program is gone or does not answer.
        """
        try:
            with anyio.fail_after(10):
                async with await anyio.connect_unix(str(SOCKETS / f"{self.interface}.sock")) as stream:
                    await stream.send(command)
                    answer = b""
                    while not answer.endswith(b"\n\n") and len(answer) < LONGEST_ANSWER:
                        answer += await stream.receive()
                    return answer
        except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise TunnelError(f"the WireGuard program of {self.interface} does not answer") from error

    async def wait_ended(self) -> None:
        """Return when the process has ended."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._file, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._file)

    async def end(self) -> None:
        """Ask it to end, and make it end if it does not; its interface goes with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with anyio.move_on_after(3) as waiting:
            await self.wait_ended()
        if waiting.cancelled_caught:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self.wait_ended()
        if self.child is not None:
            self.child.poll()

    def close(self) -> None:
        """Forget it; it goes on."""
        os.close(self._file)


def running(interface: str) -> Program | None:
    """The program that owns the interface's control socket already; a socket without one is removed."""
    path = SOCKETS / f"{interface}.sock"
    try:
        return listening(interface)
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # it is not ours to judge
    return None


def listening(interface: str) -> Program:
    """Returns the program that listens on the interface's control socket.

    Raises:
        ConnectionRefusedError: There is a socket on which nobody listens, or not yet.
        OSError: There is none.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.connect(str(SOCKETS / f"{interface}.sock"))
        pid = struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return Program(interface, pid)


async def start(program: str, interface: str) -> Program:
    """Start the program in a session of its own: when the agent is killed, the mesh goes on and is taken over.

    Raises:
        TunnelError: It cannot be started, or ends at once; with what it printed.
    """
    environment = {**os.environ, "LOG_LEVEL": "error", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}
    # A file, since the end of a pipe would end the program together with the agent.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - it outlives us, and starting it does not block
                [program, "--foreground", interface],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise TunnelError(f"{program} cannot be started: {error.strerror}") from error
        try:
            with anyio.move_on_after(START_WITHIN):
                while process.poll() is None:
                    with contextlib.suppress(OSError):  # it may have made its socket, and not listen yet
                        made = listening(interface)
                        made.child = process
                        return made
                    await anyio.sleep(0.01)
        except BaseException:
            _end_at_once(process)
            raise
        _end_at_once(process)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it printed nothing"
    advice = ": run as root, or with CAP_NET_ADMIN and CAP_NET_RAW" if "not permitted" in last else ""
    raise TunnelError(f"{program} ended at once: {last}{advice}")


def _end_at_once(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
