"""Management as the number of peers grows while each of them sees a few: what costs more the more there are."""

import asyncio

from crowd import Crowd, run
from server import running_server

SIZES = (300, 1000, 5000)
TOGETHER = 50
"""Peers of a group; each sees those of its own group only. If all saw all, one change for 5 000 would be 7 GB."""
CONNECTIONS = 250
"""At the most: 5 000 of their own would measure the load generator."""
TIMES = 5


async def measure(count, server):
    (policy,) = server.api("GET", "/api/policies")
    server.api("DELETE", f"/api/policies/{policy['id']}")
    groups = [server.make_group(f"g{number}") for number in range(count // TOGETHER)]
    policies = [server.allow(f"p{number}", [group], [group]) for number, group in enumerate(groups)]
    keys = [server.make_key(group) for group in groups]
    where = f"{count} peers in groups of {TOGETHER}"
    empty = server.memory()
    async with Crowd(server, CONNECTIONS) as crowd:
        cpu = server.cpu()
        took = await crowd.join_all(*(keys[number % len(keys)] for number in range(count)))
        while {peer.remote_peers() for peer in crowd.peers} != {TOGETHER - 1}:
            await crowd.settled()
        yield f"{where} enrol and connect", count / took, "peers/s", ""
        yield f"{where} enrol and connect, each", (server.cpu() - cpu) / count * 1e3, "CPU-ms", ""
        yield f"{where}, memory at rest", (server.memory() - empty) / count, "MB/peer", "<= 0.2"

        async def change(what, act):
            """What it costs, and how many are told, on average."""
            await crowd.settled()
            cpu, updates = server.cpu(), sum(crowd.updates())
            for number in range(TIMES):
                await act(number)
                await asyncio.sleep(0.5)
            await crowd.settled()
            told = (sum(crowd.updates()) - updates) / TIMES
            return f"{where}, {what}: {told:.0f} told", (server.cpu() - cpu) / TIMES * 1e3, "CPU-ms"

        async def restrict(number):
            await asyncio.to_thread(server.restrict, policies[number % len(policies)], [str(80 + number)])

        async def join(number):
            await crowd.join(keys[number % len(keys)])

        two = [peer["id"] for peer in server.api("GET", "/api/peers")[:2]]
        pair = [server.make_group(f"pair{side}", id) for side, id in enumerate(two)]

        async def few(number):
            await asyncio.to_thread(server.allow, f"few{number}", pair[:1], pair[1:], "udp", [str(1000 + number)])

        yield *await change("a group's policy changes", restrict), ""
        yield *await change("one more peer joins", join), ""
        yield *await change("a change for two", few), "<= 20"


def rows():
    for count in SIZES:
        with running_server() as server:
            yield from run(measure(count, server))
