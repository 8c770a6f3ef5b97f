"""The handlers of ``management.ManagementService``.

Handlers take and give bytes: a map is sealed as it was spliced, without a message object in between.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from google.protobuf.message import DecodeError, Message

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import OVERHEAD, Box
from meshloom.rpc import management_pb2 as pb
from meshloom_front.rpc.call import Call, Method, Methods, bidirectional, plain, server_streaming, service, unary
from meshloom_front.rpc.status import CallFailed, Status
from meshloom_management.accounts import Accounts
from meshloom_management.errors import PermissionDenied
from meshloom_management.maps.encoding import field, varint
from meshloom_management.operations import enrolment
from meshloom_management.presence import Presence
from meshloom_management.rpc.convert import peer_meta, ssh_key
from meshloom_management.rpc.statuses import status_of
from meshloom_management.updates import Ended, Stream, Updates

_log = logging.getLogger(__name__)

SERVICE = "management.ManagementService"
AT_ONCE = 32
"""Maps that are built and handed to the network at once: no more are held, however many peers a change concerns."""
SLOW_READER = 1.0
"""Seconds after which a map that its peer does not take stops holding up the others."""

M = TypeVar("M", bound=Message)


class ManagementService:
    """What agents call."""

    def __init__(self, key: PrivateKey, accounts: Accounts, updates: Updates, presence: Presence) -> None:
        self._key, self._accounts, self._updates, self._presence = key, accounts, updates, presence
        self._sender = field(1, key.public.text.encode()) + varint(2 << 3 | 2)
        self._server_key = pb.ServerKeyResponse(key=key.public.text, version=1).SerializeToString()
        self._slots = anyio.Semaphore(AT_ONCE)

    def methods(self) -> Methods:
        """For the gRPC server."""
        methods: dict[str, Method] = {
            "GetServerKey": plain(self.get_server_key),
            "isHealthy": plain(self.is_healthy),
            "GetDeviceAuthorizationFlow": plain(self.no_login_of_users),
            "GetPKCEAuthorizationFlow": plain(self.no_login_of_users),
            "Login": unary(_guarded(self.login)),
            "SyncMeta": unary(_guarded(self.sync_meta)),
            "Logout": unary(_guarded(self.logout)),
            "Sync": server_streaming(self.sync),
            "Job": bidirectional(self.job),
        }
        return service(SERVICE, methods)

    def get_server_key(self, _request: bytes, _call: Call) -> bytes:
        """The key to seal messages for; asked before every other call, so it is encoded once."""
        return self._server_key

    def is_healthy(self, _request: bytes, _call: Call) -> bytes:
        """That we answer is the answer."""
        return b""

    async def login(self, data: bytes, call: Call) -> bytes:
        """A known peer, or a new one with a setup key."""
        key, box, request = self._open(data, pb.LoginRequest)
        state, peer = await enrolment.login(
            self._accounts,
            enrolment.Login(
                key=key,
                meta=peer_meta(request.meta),
                setup_key=request.setupKey,
                ssh_key=ssh_key(request.peerKeys.sshPubKey),
                labels=tuple(request.dnsLabels[:32]),
                connection_ip=call.address,
            ),
        )
        builder = self._updates.builder(state.account.id)
        response = pb.LoginResponse(
            netbirdConfig=pb.NetbirdConfig.FromString(self._updates.config(state, peer.id)),
            peerConfig=pb.PeerConfig.FromString(builder.peer_config(peer)),
        )
        response.sessionExpiresAt.SetInParent()
        return self._sealed(box, response.SerializeToString())

    async def sync_meta(self, data: bytes, _call: Call) -> bytes:
        """New facts of a peer."""
        key, _, request = self._open(data, pb.SyncMetaRequest)
        await enrolment.tell(self._accounts, key, peer_meta(request.meta))
        return b""

    async def logout(self, data: bytes, _call: Call) -> bytes:
        """The peer leaves the account."""
        key, _, _ = self._open(data, pb.Empty)
        await enrolment.log_out(self._accounts, key)
        return b""

    def no_login_of_users(self, _data: bytes, _call: Call) -> bytes:
        """This server has no login of users: agents then ask for a setup key."""
        raise CallFailed(Status.NOT_FOUND, "no SSO provider is configured")

    async def sync(self, data: bytes, call: Call) -> None:
        """The first map, then every newer one while the peer is connected."""
        try:
            key, box, request = self._open(data, pb.SyncRequest)
            if request.HasField("meta"):
                await enrolment.tell(self._accounts, key, peer_meta(request.meta))
            known = self._accounts.find_peer(key)
            if known is None:
                raise PermissionDenied("peer is not registered")
        except Exception as error:
            raise _failure(error) from error
        state, peer = known
        async with (
            self._presence.of(state.account.id, peer.id, call.address),
            self._updates.connected(state.account.id, peer.id) as stream,
        ):
            while await stream.wait():
                await self._send_newest(stream, box, call)
        if stream.ended is Ended.REMOVED:
            raise _failure(PermissionDenied("peer is not registered"))
        if stream.ended is Ended.STOPPING:
            raise CallFailed(Status.UNAVAILABLE, "the server is stopping: connect again")

    async def _send_newest(self, stream: Stream, box: Box, call: Call) -> None:
        """Build, seal and send within one of the slots; a slow reader gives its slot up after a while."""
        async with self._slots:
            body = stream.take()
            if body is None:
                return
            sealed = self._sealed(box, body)
            del body
            with anyio.move_on_after(SLOW_READER):
                await call.write(sealed)
        await call.written()

    async def job(self, call: Call) -> None:
        """A stream that agents keep open for work; none is given yet."""
        async for data in call.requests():
            try:
                key, _, _ = self._open(data, pb.JobRequest)
                if self._accounts.find_peer(key) is None:
                    raise PermissionDenied("peer is not registered")
            except Exception as error:
                raise _failure(error) from error

    def _open(self, data: bytes, kind: type[M]) -> tuple[PublicKey, Box, M]:
        try:
            envelope = pb.EncryptedMessage.FromString(data)
            key = PublicKey.parse(envelope.wgPubKey)
            box = Box(self._key, key, secrets.token_bytes)
            return key, box, kind.FromString(box.open(envelope.body))
        except DecodeError as error:
            raise ProtocolError("the message cannot be read") from error

    def _sealed(self, box: Box, plain: bytes) -> bytes:
        """An ``EncryptedMessage``; joined, as protobuf takes longer over a large one than sealing does."""
        return box.seal(plain, self._sender + varint(len(plain) + OVERHEAD))


def _guarded(handler: Callable[[bytes, Call], Awaitable[bytes]]) -> Callable[[bytes, Call], Awaitable[bytes]]:
    async def guarded(request: bytes, call: Call) -> bytes:
        try:
            return await handler(request, call)
        except Exception as error:
            raise _failure(error) from error

    return guarded


def _failure(error: Exception) -> CallFailed:
    status, text = status_of(error)
    if status is Status.INTERNAL:
        _log.error("a call of an agent failed", exc_info=error)
    return CallFailed(status, text)
