"""How long a registered machine on a new connection waits for its login while strangers want all that they can get."""

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import uvloop
from crowd import Channel, Peer
from server import running_server
from server_strangers import MANAGEMENT, Again, Calls

from meshloom.rpc import management_pb2 as pb
from meshloom_front.http2 import frames

STRANGERS = 300
TRIES = 20
SETTLED = 5
"""Seconds after which strangers have used up what they may take at once."""
FLOOD = "import sys; sys.path.insert(0, sys.argv[1]); import server_newcomers; server_newcomers.flood(*sys.argv[2:])"
ENTRIES = {
    "calls": Calls(f"{MANAGEMENT}GetServerKey", b""),
    "connections": Again(frames.PREFACE + frames.settings({}), b"\x00"),
}
GOAL = "< 1000"


def flood(port, what, addresses):
    """Strangers from so many addresses, until the process is ended."""

    async def stranger(number):
        address = f"127.0.{2 * (int(addresses) > 1)}.{1 + number % int(addresses)}"
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", int(port), local_addr=(address, 0))
                try:
                    await ENTRIES[what].say(reader, writer)
                finally:
                    writer.transport.abort()
            except (OSError, EOFError):
                await asyncio.sleep(0.1)

    async def all_of_them():
        await asyncio.gather(*(stranger(number) for number in range(STRANGERS)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_them())


@contextmanager
def flooded(port, what, addresses):
    """The strangers of :func:`flood` in a process of their own, which gives way to others."""
    where = str(Path(__file__).parent)
    command = ["nice", sys.executable, "-c", FLOOD, where, str(port), what, str(addresses)]
    with subprocess.Popen(command) as process:
        try:
            time.sleep(SETTLED)
            yield
        finally:
            process.kill()


async def logins(server, peer):
    """Milliseconds of each."""
    taken = []
    for _ in range(TRIES):
        start = time.monotonic()
        channel = Channel(server.port)
        try:
            await channel.server_key(b"")
            request = pb.LoginRequest(meta=peer.meta)
            request.peerKeys.wgPubKey = peer.key.public.text.encode()
            await channel.login(peer.seal(request))
        finally:
            await channel.close()
        taken.append((time.monotonic() - start) * 1000)
    return sorted(taken)


async def registered(server):
    """A machine that the server knows."""
    channel = Channel(server.port)
    peer = Peer(channel, 0, await channel.key())
    await peer.enrol(server.key)
    await channel.close()
    return peer


def rows():
    with running_server() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        peer = runner.run(registered(server))
        yield from figures("alone", runner.run(logins(server, peer)))
        for what, addresses, text in (
            ("calls", 20, f"{STRANGERS} strangers that call"),
            ("calls", 1, f"{STRANGERS} strangers of its own address that call"),
            ("connections", 20, f"{STRANGERS} strangers that connect again and again"),
            ("connections", 1, f"{STRANGERS} strangers of its own address that connect again and again"),
        ):
            with flooded(server.port, what, addresses):
                yield from figures(text, runner.run(logins(server, peer)))


def figures(text, taken):
    """The rows of one situation."""
    yield f"login of a registered machine, {text}: half of them", taken[len(taken) // 2], "ms", ""
    yield f"login of a registered machine, {text}: the longest of {TRIES}", taken[-1], "ms", GOAL
