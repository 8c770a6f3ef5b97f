"""The management service with many connected peers: a real server process, and what its work costs it in CPU time."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import grpc

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceStub

BIN = Path(sys.executable).parent
PORT = 18480
SIZES = tuple(int(text) for text in os.environ.get("MESHLOOM_BENCH_PEERS", "100,300,1000").split(","))
QUIET = 6.0
"""Seconds after which an account's next round of updates goes out at once again."""
TICK = os.sysconf("SC_CLK_TCK")
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]


class Server:
    def __init__(self, folder):
        self.url = f"http://127.0.0.1:{PORT}"
        environment = {**os.environ, "MESHLOOM_SETUP_PAT_ENABLED": "true"}
        where = ("--listen", f"127.0.0.1:{PORT}", "--public-url", self.url, "--data-dir", folder, "--metrics", "")
        self.process = subprocess.Popen(
            [BIN / "meshloom-server", *where, "--stun-port", "13478", "--log-level", "warning"], env=environment
        )
        self.token = ""
        for _ in range(200):
            try:
                self.api("GET", "/api/instance")
                break
            except OSError:
                time.sleep(0.05)
        owner = {"email": "o@example.test", "name": "O", "password": "a long password", "create_pat": True}
        self.token = self.api("POST", "/api/setup", owner)["personal_access_token"]
        body = {"name": "k", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}
        self.key = self.api("POST", "/api/setup-keys", body)["key"].lower()

    def api(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.token}"} if self.token else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        """Resident, in MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Peer:
    def __init__(self, stub, number, server_key):
        self.key = PrivateKey.of(os.urandom(32))
        self.box = Box(self.key, server_key, os.urandom)
        self.stub, self.number = stub, number
        self.updates, self.peers, self.bytes = 0, 0, 0
        self.meta = pb.PeerSystemMeta(hostname=f"node{number}", netbirdVersion="0.77.1", capabilities=[1])

    def seal(self, message):
        body = self.box.seal(message.SerializeToString())
        return pb.EncryptedMessage(wgPubKey=self.key.public.text, body=body)

    async def enrol(self, setup_key):
        await self.stub.GetServerKey(pb.Empty())
        request = pb.LoginRequest(setupKey=setup_key, meta=self.meta)
        request.peerKeys.wgPubKey = self.key.public.text.encode()
        await self.stub.Login(self.seal(request))

    async def listen(self):
        await self.stub.GetServerKey(pb.Empty())
        async for message in self.stub.Sync(self.seal(pb.SyncRequest(meta=self.meta))):
            self.updates += 1
            self.bytes += len(message.body)
            self.newest = message.body

    def remote_peers(self):
        return len(pb.SyncResponse.FromString(self.box.open(self.newest)).NetworkMap.remotePeers)


async def until(condition, within=120):
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.02)


async def settled(peers, server):
    """Until nothing came for a while, and the server is at rest."""
    last = None
    while True:
        now = sum(peer.updates for peer in peers), round(server.cpu(), 1)
        if now == last:
            return
        last = now
        await asyncio.sleep(0.6)


async def measure(count, server):
    base_memory = server.memory()
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{PORT}", options=OPTIONS) for _ in range(20)]
    stubs = [ManagementServiceStub(channel) for channel in channels]
    server_key = PublicKey.parse((await stubs[0].GetServerKey(pb.Empty())).key)
    peers = [Peer(stubs[number % len(stubs)], number, server_key) for number in range(count)]
    tasks = []
    limit = asyncio.Semaphore(32)

    async def join(peer):
        async with limit:
            await peer.enrol(server.key)
            tasks.append(asyncio.ensure_future(peer.listen()))
            await until(lambda: peer.updates)

    cpu, start = server.cpu(), time.monotonic()
    await asyncio.gather(*(join(peer) for peer in peers))
    took = time.monotonic() - start
    while {peer.remote_peers() for peer in peers} != {count - 1}:
        await settled(peers, server)
    yield f"{count} peers enrol and connect", count / took, "peers/s", ">= 150"
    yield f"{count} peers enrol and connect, all maps sent", server.cpu() - cpu, "CPU-s", "<= 8 at 1 000"
    yield f"memory at rest, {count} connected", (server.memory() - base_memory) / count, "MB/peer", "<= 0.2"

    await asyncio.sleep(QUIET)
    policy = server.api("GET", "/api/policies")[0]
    rule = {**policy["rules"][0], "protocol": "tcp", "ports": ["80"]}
    for side in ("sources", "destinations"):
        rule[side] = [group["id"] for group in rule[side]]
    before, memory, cpu, start = [p.updates for p in peers], server.memory(), server.cpu(), time.monotonic()
    received = sum(peer.bytes for peer in peers)
    highest = memory
    server.api("PUT", f"/api/policies/{policy['id']}", {**policy, "rules": [rule]})
    while any(peer.updates == old for peer, old in zip(peers, before, strict=True)):
        highest = max(highest, server.memory())
        await asyncio.sleep(0.01)
    took = time.monotonic() - start
    await asyncio.sleep(0.3)
    yield f"policy change for all of {count}", server.cpu() - cpu, "CPU-s", "<= 1.5 at 1 000"
    yield f"policy change for all of {count}, until the last has it", took, "s", "NetBird 7-17 at 1 000"
    yield f"policy change for all of {count}, sent", (sum(p.bytes for p in peers) - received) / 1e6, "MB", ""
    yield f"policy change for all of {count}, memory growth", highest - memory, "MB", "<= 100"

    ids = [peer["id"] for peer in server.api("GET", "/api/peers")[:2]]
    groups = [
        server.api("POST", "/api/groups", {"name": f"{name}{count}", "peers": [id]})["id"]
        for name, id in zip("ab", ids, strict=True)
    ]
    await settled(peers, server)
    before, cpu = sum(peer.updates for peer in peers), server.cpu()
    few = {
        "name": "r",
        "enabled": True,
        "action": "accept",
        "bidirectional": True,
        "protocol": "udp",
        "sources": groups[:1],
        "destinations": groups[1:],
    }
    for number in range(5):
        body = {"name": f"few{number}", "enabled": True, "rules": [{**few, "ports": [str(1000 + number)]}]}
        server.api("POST", "/api/policies", body)
        await asyncio.sleep(0.2)
    yield f"change for 2 of {count} (mean of 5)", (server.cpu() - cpu) * 1000 / 5, "CPU-ms", "<= 20"
    yield f"change for 2 of {count}, updates sent", (sum(peer.updates for peer in peers) - before) / 5, "", "2"

    await asyncio.sleep(QUIET)
    before, cpu, start = [p.updates for p in peers], server.cpu(), time.monotonic()
    peers.append(Peer(stubs[0], count, server_key))
    await join(peers[-1])
    await until(lambda: all(p.updates > old for p, old in zip(peers, before, strict=False)))
    took = time.monotonic() - start
    await asyncio.sleep(0.3)
    yield f"one more peer joins {count}", server.cpu() - cpu, "CPU-s", "<= 1.5 at 1 000"
    yield f"one more peer joins {count}, until the last knows", took, "s", "NetBird 21 at 1 000"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()


def rows():
    for count in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder) / "data")
            try:

                async def collect(count=count, server=server):
                    return [row async for row in measure(count, server)]

                yield from asyncio.run(collect())
            finally:
                server.stop()
