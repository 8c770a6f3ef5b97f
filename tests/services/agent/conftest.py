"""A management and a signal service that tests lead, tunnels in memory, and agents on all of them."""

import asyncio
import os
import sys
from pathlib import Path

import anyio
import attrs
import grpc
import pytest

from meshloom.config import Chosen
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.freshness import Challenges, answer_proof
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import signalexchange_pb2 as signal_pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceServicer, add_ManagementServiceServicer_to_server
from meshloom.rpc.signalexchange_pb2_grpc import SignalExchangeServicer, add_SignalExchangeServicer_to_server
from meshloom.testing.fakes.tunnel import MemoryNetwork
from meshloom.testing.ports import free_port
from meshloom_agent.daemon import Daemon
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.engine import Engine
from meshloom_agent.files import AgentSettings, StateDir
from meshloom_agent.report import Report

SETUP_KEY = "11111111-2222-3333-4444-555555555555"


async def wait_for(condition, within=10.0):
    with anyio.fail_after(within):
        while not condition():
            await anyio.sleep(0.005)


@pytest.fixture
def until():
    """Waits until something holds."""
    return wait_for


class Server:
    """One gRPC server that can go away and come back on its port."""

    def __init__(self):
        self.port, self._server = free_port(), None  # nobody else takes the port while the server is away

    async def start(self):
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self.register(self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self):
        if self._server is not None:
            await self._server.stop(None)  # twice is no more than once

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"


class Management(Server, ManagementServiceServicer):
    """Does what the protocol says, on accounts of one group; tests change ``maps`` and look at what came."""

    def __init__(self, signal_target):
        super().__init__()
        self.key = PrivateKey.of(os.urandom(32))
        self.signal_target, self.signal_protocol = signal_target, pb.HostConfig.HTTP
        self.peers, self.logins, self.streams, self.metas = {}, [], {}, []
        self.serial = 0
        self.refusal = None
        self.seal_with = self.key

    def register(self, server):
        add_ManagementServiceServicer_to_server(self, server)

    @property
    def url(self):
        return f"http://{self.target}"

    async def GetServerKey(self, request, context):
        return pb.ServerKeyResponse(key=self.key.public.text)

    def opened(self, request, kind):
        box = Box(self.key, PublicKey.parse(request.wgPubKey), os.urandom)
        return kind.FromString(box.open(request.body))

    def sealed(self, key, message):
        box = Box(self.seal_with, PublicKey.parse(key), os.urandom)
        return pb.EncryptedMessage(wgPubKey=self.key.public.text, body=box.seal(message.SerializeToString()))

    async def Login(self, request, context):
        login = self.opened(request, pb.LoginRequest)
        self.logins.append(login)
        if self.refusal is not None:
            await context.abort(*self.refusal)
        if request.wgPubKey not in self.peers:
            if login.setupKey != SETUP_KEY:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no peer auth method provided")
            self.peers[request.wgPubKey] = f"100.64.0.{len(self.peers) + 1}"
        response = pb.LoginResponse(peerConfig=self.config(request.wgPubKey))
        response.netbirdConfig.signal.uri = self.signal_target
        response.netbirdConfig.signal.protocol = self.signal_protocol
        return self.sealed(request.wgPubKey, response)

    def config(self, key):
        return pb.PeerConfig(address=f"{self.peers[key]}/16", fqdn=f"peer{self.peers[key][-1]}.mesh.test")

    def remote(self, key, *more):
        return pb.RemotePeerConfig(
            wgPubKey=key, allowedIps=[f"{self.peers[key]}/32", *more], fqdn=f"peer{self.peers[key][-1]}.mesh.test"
        )

    def full(self, key):
        """The map in which everyone sees everyone."""
        others = [self.remote(other) for other in self.peers if other != key]
        return self.map_of(key, others)

    def map_of(self, key, remotes, *, empty=None, serial=None):
        made = pb.SyncResponse()
        made.netbirdConfig.signal.uri = self.signal_target
        made.netbirdConfig.signal.protocol = self.signal_protocol
        made.NetworkMap.Serial = self.serial if serial is None else serial
        made.NetworkMap.peerConfig.CopyFrom(self.config(key))
        made.NetworkMap.remotePeers.extend(remotes)
        made.NetworkMap.remotePeersIsEmpty = not remotes if empty is None else empty
        return made

    async def Sync(self, request, context):
        self.metas.append(self.opened(request, pb.SyncRequest).meta)
        key = request.wgPubKey
        if key not in self.peers:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "peer is not registered")
        updates = self.streams[key] = asyncio.Queue()
        self.everyone()
        while (update := await updates.get()) is not None:
            yield self.sealed(key, update)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "peer is not registered")

    def everyone(self):
        """Tell all who are connected."""
        self.serial += 1
        for key in self.streams:
            self.tell(key, self.full(key))

    def tell(self, key, update):
        self.streams[key].put_nowait(update)

    async def Logout(self, request, context):
        if request.wgPubKey not in self.peers:
            await context.abort(grpc.StatusCode.NOT_FOUND, "peer not found")
        del self.peers[request.wgPubKey]
        return pb.Empty()


class Fresh:
    """Makes a management of the tests prove that it is fresh; keeps what was sealed, as one who listens does."""

    def __init__(self, management):
        self.management, self.recorded, self.proofs = management, [], []
        self.replays, self.proves, self.spoil = False, True, lambda message: None
        self.challenges = Challenges(management.key, lambda: 1_700_000_000.0, os.urandom)
        self._opened, self._sealed = management.opened, management.sealed
        management.GetServerKey, management.opened, management.sealed = self.key, self.opened, self.sealed
        management.Logout = self.logout
        self._number = 0

    async def key(self, _request, _context):
        challenge = self.challenges.issue() if self.proves else b""
        return pb.ServerKeyResponse(key=self.management.key.public.text, challenge=challenge)

    async def logout(self, request, _context):
        self.opened(request, pb.Empty)
        self.management.peers.pop(request.wgPubKey, None)
        return pb.Empty(answer=self.sealed(request.wgPubKey, pb.LogoutResponse()))

    def opened(self, request, kind):
        message = self._opened(request, kind)
        self.proofs.append(message.proof)
        self._number = 0
        return message

    def sealed(self, key, message):
        if self.replays:
            return self.recorded[-1]
        message.proof.CopyFrom(answer_proof(self.proofs[-1], self._number))
        self._number += 1
        self.spoil(message)
        self.recorded.append(self._sealed(key, message))
        return self.recorded[-1]


class Signal(Server, SignalExchangeServicer):
    """Forwards, and notes what it forwarded."""

    def __init__(self):
        super().__init__()
        self.streams, self.sent = {}, []
        self.registers, self.keeps_heads_back, self.ends = True, False, False
        self.challenge, self.proofs, self.metadata = "", [], {}

    def register(self, server):
        add_SignalExchangeServicer_to_server(self, server)

    async def ConnectStream(self, request_iterator, context):
        self.metadata = dict(context.invocation_metadata())
        key = self.metadata["x-wiretrustee-peer-id"]
        messages = self.streams[key] = asyncio.Queue()
        first = await messages.get() if self.keeps_heads_back else None
        head = (("x-wiretrustee-peer-registered", "1"),) if self.registers else ()
        if self.challenge:
            head += (("x-meshloom-challenge", self.challenge),)
        await context.send_initial_metadata(head)
        if self.challenge:
            self.proofs.append(await anext(request_iterator))
        if first is not None:
            yield first
        while not self.ends:
            yield await messages.get()

    async def Send(self, request, context):
        self.sent.append(request)
        self.deliver(request)
        return signal_pb.EncryptedMessage()

    def deliver(self, message):
        if message.remoteKey in self.streams:
            self.streams[message.remoteKey].put_nowait(message)


def address(interface):
    """Hosts are interfaces here."""
    return f"192.0.2.{1 + int(interface[-1])}"


@pytest.fixture
def air():
    """What carries the datagrams of tunnels in memory."""
    return MemoryNetwork(lambda interface: (address(interface),))


@pytest.fixture
def tunnels(air):
    """The backend of tunnels in memory; ``opened`` has them by their interfaces, ``count`` says how often."""
    kind = attrs.make_class("Tunnels", ["chosen", "opened", "count", "lose"])
    return kind(Chosen(air.backend, air.backend.options()), air.tunnels, air.opened, air.remove)


@pytest.fixture(autouse=True)
def hosts(monkeypatch):
    """Each agent is a host with one address; nobody looks at this machine's."""

    async def host_interfaces(besides, _excluded):
        return [(address(*besides), "eth0")]

    monkeypatch.setattr("meshloom_agent.engine.host_interfaces", host_interfaces)
    monkeypatch.setenv("NB_DISABLE_NAT_MAPPER", "true")  # nor is its router asked for ports


@pytest.fixture
async def signal():
    made = Signal()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def management(signal):
    made = Management(signal.target)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def fresh(management):
    """Makes management prove that its answers are fresh."""
    await management.stop()
    made = Fresh(management)
    await management.start()
    return made


@pytest.fixture
def settings(management):
    """Of the agent with that number."""
    return lambda number: AgentSettings(management_url=management.url, interface=f"test{number}", port_mapping=False)


@attrs.define
class Agent:
    """One engine, running."""

    files: StateDir
    settings: AgentSettings
    report: Report
    engine: Engine
    scope: anyio.CancelScope
    tunnels: object
    failure: BaseException | None = None

    @property
    def key(self):
        return self.files.key().public

    @property
    def tunnel(self):
        return self.tunnels.opened[self.settings.interface]

    @property
    def connected(self):
        return self.engine._mesh.connected

    def endpoint(self, other):
        peer = self.tunnel.state.peers.get(other.key)
        return peer.endpoint if peer else None


@pytest.fixture
async def agents(tmp_path, management, settings, tunnels):
    """Starts engines; each is enrolled already."""

    async with anyio.create_task_group() as tasks:

        async def run(agent):
            with agent.scope:
                try:
                    await agent.engine.run()
                except* Exception as group:  # noqa: BLE001 - tests look at it
                    error = group
                    while isinstance(error, BaseExceptionGroup):
                        error = error.exceptions[0]
                    agent.failure = error

        def start(number, *, enrol=True, **changes):
            files = StateDir(tmp_path / f"agent{number}")
            if enrol:
                management.peers.setdefault(files.key().public.text, f"100.64.0.{number + 1}")
            report, made = Report(), attrs.evolve(settings(number), **changes)
            agent = Agent(
                files, made, report, Engine(files, made, tunnels.chosen, report), anyio.CancelScope(), tunnels
            )
            tasks.start_soon(run, agent)
            return agent

        yield start
        tasks.cancel_scope.cancel()


BIN = Path(sys.executable).parent / "meshloom"
Result = attrs.make_class("Result", ["code", "out", "err"], frozen=True)


async def run_command(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NB_", "MESHLOOM_"))}
    settled = clean | {"NB_DISABLE_NAT_MAPPER": "true"} | environment
    done = await anyio.run_process([BIN, *arguments], check=False, env=settled)
    return Result(done.returncode, done.stdout.decode().strip(), done.stderr.decode().strip())


@pytest.fixture
def run():
    """Runs the command line as a process, without this machine's settings of it."""
    return run_command


@pytest.fixture
def socket(tmp_path):
    return tmp_path / "run" / "agent.sock"


@pytest.fixture
async def daemon(tmp_path, tunnels, socket):
    made = Daemon(StateDir(tmp_path / "state"), tunnels.chosen)
    async with made.running(), open_socket(made, socket):
        yield made


@pytest.fixture
def meshloom(daemon, socket):
    async def call(*arguments, **environment):
        return await run_command(*arguments, "--daemon-addr", f"unix://{socket}", **environment)

    return call


@pytest.fixture
async def joined(meshloom, management):
    done = await meshloom("up", "-m", management.url, "-k", SETUP_KEY, "--interface-name", "test0", "-n", "box")
    assert (done.code, done.out.partition(" as ")[0]) == (0, "Connected"), done.err


@pytest.fixture
async def connected(joined, agents, daemon, until):
    other = agents(1)
    await until(lambda: other.connected and daemon._engine._mesh.connected)
