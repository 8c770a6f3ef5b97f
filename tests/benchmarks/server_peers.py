"""Management with many connected peers that may all reach each other: what its work costs in CPU time."""

import asyncio
import os
import time

from crowd import Crowd, run
from server import running_server

BURST = 10
"""Changes, one a second."""
MANY = 300
"""Peers from which on changes that follow each other are measured."""
SIZES = tuple(int(text) for text in os.environ.get("MESHLOOM_BENCH_PEERS", "100,300,1000").split(","))
QUIET = 6.0
"""Seconds after which an account's next round of updates goes out at once again."""


async def measure(count, server):
    goal = count == 1000
    empty = server.memory()
    async with Crowd(server) as crowd:
        cpu = server.cpu()
        took = await crowd.join_all(*[server.key] * count)
        yield f"{count} peers enrol and connect", count / took, "peers/s", ">= 150" if goal else ""
        await all_known(crowd)
        yield f"{count} peers enrol and connect, all maps sent", server.cpu() - cpu, "CPU-s", "<= 8" if goal else ""
        per_peer = (server.memory() - empty) / count
        yield f"memory at rest, {count} connected", per_peer, "MB/peer", "<= 0.2" if goal else ""
        async for row in change_for_all(crowd, server, f"policy change for all of {count}", goal):
            yield row
        if count >= MANY:
            async for row in changes_that_follow(crowd, server, f"policy changes for all of {count}", goal):
                yield row

        ids = [peer["id"] for peer in server.api("GET", "/api/peers")[:2]]
        groups = [server.make_group(f"{name}{count}", id) for name, id in zip("ab", ids, strict=True)]
        await crowd.settled()
        before, cpu = sum(crowd.updates()), server.cpu()
        for number in range(10):
            await asyncio.to_thread(server.allow, f"few{number}", groups[:1], groups[1:], "udp", [str(1000 + number)])
            await asyncio.sleep(0.1)
        spent = (server.cpu() - cpu) * 1000 / 10
        yield f"change for 2 of {count} (mean of 10)", spent, "CPU-ms", "<= 20" if goal else ""
        sent = (sum(crowd.updates()) - before) / 10
        yield f"change for 2 of {count}, updates sent", sent, "", "2" if goal else ""

        await asyncio.sleep(QUIET)
        before, cpu, start = crowd.updates(), server.cpu(), time.monotonic()
        await crowd.join()
        await crowd.told(before)
        took = time.monotonic() - start
        await asyncio.sleep(0.3)
        yield f"one more peer joins {count}", server.cpu() - cpu, "CPU-s", "<= 1.5" if goal else ""
        yield f"one more peer joins {count}, until the last knows", took, "s", "NetBird: 21" if goal else ""


async def all_known(crowd):
    """Until everybody's newest map shows everybody else."""
    while {peer.remote_peers() for peer in crowd.peers} != {len(crowd.peers) - 1}:
        await crowd.settled()


async def change_for_all(crowd, server, what, goal):
    await asyncio.sleep(QUIET)
    (policy,) = server.api("GET", "/api/policies")
    before, memory, received = crowd.updates(), server.memory(), crowd.bytes()
    cpu, start = server.cpu(), time.monotonic()
    await asyncio.to_thread(server.restrict, policy, ["80"])
    highest = await crowd.told(before)
    took = time.monotonic() - start
    await asyncio.sleep(0.3)
    yield what, server.cpu() - cpu, "CPU-s", "<= 1.5" if goal else ""
    yield f"{what}, until the last has it", took, "s", "NetBird: 7-17" if goal else ""
    yield f"{what}, sent", crowd.bytes() - received, "MB", ""
    yield f"{what}, memory growth", max(highest - memory, 0.0), "MB", "<= 100" if goal else ""


async def changes_that_follow(crowd, server, what, goal):
    """Changes for all, each as soon as the last peer has the one before, and then ten of them in ten seconds."""
    await asyncio.sleep(QUIET)
    (policy,) = (each for each in server.api("GET", "/api/policies") if each["name"] == "Default")
    for which in ("first", "second", "third"):
        before, start = crowd.updates(), time.monotonic()
        await asyncio.to_thread(server.restrict, policy, [str(100 + len(which))])
        await crowd.told(before)
        yield f"{what}: the last has the {which} of three", time.monotonic() - start, "s", ""
    await asyncio.sleep(QUIET)
    cpu, start = server.cpu(), time.monotonic()
    for number in range(BURST):
        await asyncio.sleep(max(0.0, start + number - time.monotonic()))
        await asyncio.to_thread(server.restrict, policy, [str(1000 + number)])
    last = time.monotonic()
    await crowd.settled()
    took = max(peer.newest_at for peer in crowd.peers) - last
    yield f"{what}: the last has the last of {BURST} in {BURST} s", took, "s", "<= 2.5" if goal else ""
    share = (server.cpu() - cpu) / (last + took - start) * 100
    yield f"{what}: {BURST} in {BURST} s, until the last has the last", share, "% of a core", "<= 50" if goal else ""


async def measure_full(count, server):
    """The longest maps, those of machines that all have an IPv6 address and an SSH key: 650 kB each at 1 000."""
    goal = count == 1000
    async with Crowd(server, full=True) as crowd:
        cpu = server.cpu()
        took = await crowd.join_all(*[server.key] * count)
        await all_known(crowd)
        who = f"{count} peers with IPv6 and SSH keys"
        yield f"{who} enrol and connect", count / took, "peers/s", ">= 150" if goal else ""
        yield f"{who} enrol and connect, all maps sent", server.cpu() - cpu, "CPU-s", "<= 8" if goal else ""
        async for row in change_for_all(crowd, server, f"policy change for all of {who}", goal):
            yield row


def rows():
    for count in SIZES:
        with running_server() as server:
            yield from run(measure(count, server))
    with running_server() as server:
        yield from run(measure_full(SIZES[-1], server))
