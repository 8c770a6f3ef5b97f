"""Run inside a namespace: enrols machines that then stay away. Usage: absent.py HOST PORT SETUP-KEY COUNT."""

import asyncio
import sys

from crowd import Channel, Peer


async def enrol(host, port, setup_key, count):
    channel = Channel(int(port), host)
    server_key = await channel.key()
    for number in range(int(count)):
        await Peer(channel, number, server_key).enrol(setup_key)
    await channel.close()


if __name__ == "__main__":
    asyncio.run(enrol(*sys.argv[1:]))
