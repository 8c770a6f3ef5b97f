"""The handlers of ``management.ManagementService``.

Handlers take and give bytes: a map is sealed as it was spliced, without a message object in between.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import anyio
import grpc
from google.protobuf.message import DecodeError, Message

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import OVERHEAD, Box
from meshloom.rpc import management_pb2 as pb
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
Context = grpc.aio.ServicerContext[Any, Any]
AddressOf = Callable[[str], str]


class ManagementService:
    """What agents call.

    Args:
        address_of: From gRPC's name of a connection's other end to the address it really came from.
    """

    def __init__(
        self, key: PrivateKey, accounts: Accounts, updates: Updates, presence: Presence, address_of: AddressOf
    ) -> None:
        self._key, self._accounts, self._updates, self._presence = key, accounts, updates, presence
        self._address_of = address_of
        self._sender = field(1, key.public.text.encode()) + varint(2 << 3 | 2)
        self._server_key = pb.ServerKeyResponse(key=key.public.text, version=1).SerializeToString()
        self._slots = anyio.Semaphore(AT_ONCE)

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """For ``grpc.aio.Server.add_generic_rpc_handlers``."""
        unary: dict[str, Callable[[bytes, Context], Awaitable[bytes]]] = {
            "GetServerKey": self.get_server_key,
            "isHealthy": self.is_healthy,
            "Login": self.login,
            "SyncMeta": self.sync_meta,
            "Logout": self.logout,
            "GetDeviceAuthorizationFlow": self.no_login_of_users,
            "GetPKCEAuthorizationFlow": self.no_login_of_users,
        }
        methods = {name: grpc.unary_unary_rpc_method_handler(_guarded(handler)) for name, handler in unary.items()}
        methods["Sync"] = grpc.unary_stream_rpc_method_handler(self.sync)
        methods["Job"] = grpc.stream_stream_rpc_method_handler(self.job)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def get_server_key(self, _request: bytes, _context: Context) -> bytes:
        """The key to seal messages for; asked before every other call, so it is encoded once."""
        return self._server_key

    async def is_healthy(self, _request: bytes, _context: Context) -> bytes:
        """That we answer is the answer."""
        return b""

    async def login(self, data: bytes, context: Context) -> bytes:
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
                connection_ip=self._address_of(context.peer()),
            ),
        )
        builder = self._updates.builder(state.account.id)
        response = pb.LoginResponse(
            netbirdConfig=pb.NetbirdConfig.FromString(self._updates.config(state, peer.id)),
            peerConfig=pb.PeerConfig.FromString(builder.peer_config(peer)),
        )
        response.sessionExpiresAt.SetInParent()
        return self._sealed(box, response.SerializeToString())

    async def sync_meta(self, data: bytes, _context: Context) -> bytes:
        """New facts of a peer."""
        key, _, request = self._open(data, pb.SyncMetaRequest)
        await enrolment.tell(self._accounts, key, peer_meta(request.meta))
        return b""

    async def logout(self, data: bytes, _context: Context) -> bytes:
        """The peer leaves the account."""
        key, _, _ = self._open(data, pb.Empty)
        await enrolment.log_out(self._accounts, key)
        return b""

    async def no_login_of_users(self, _data: bytes, context: Context) -> bytes:
        """This server has no login of users: agents then ask for a setup key."""
        await context.abort(grpc.StatusCode.NOT_FOUND, "no SSO provider is configured")
        raise AssertionError  # abort raises

    async def sync(self, data: bytes, context: Context) -> None:
        """The first map, then every newer one while the peer is connected."""
        try:
            key, box, request = self._open(data, pb.SyncRequest)
            if request.HasField("meta"):
                await enrolment.tell(self._accounts, key, peer_meta(request.meta))
            known = self._accounts.find_peer(key)
            if known is None:
                raise PermissionDenied("peer is not registered")
        except Exception as error:  # noqa: BLE001 - every error has its status
            await _abort(context, error)
            return
        state, peer = known
        async with (
            self._presence.of(state.account.id, peer.id, self._address_of(context.peer())),
            self._updates.connected(state.account.id, peer.id) as stream,
        ):
            while await stream.wait():
                await self._send_newest(stream, box, context)
        if stream.ended is Ended.REMOVED:
            await _abort(context, PermissionDenied("peer is not registered"))
        if stream.ended is Ended.STOPPING:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping: connect again")

    async def _send_newest(self, stream: Stream, box: Box, context: Context) -> None:
        """Build, seal and send within one of the slots; a slow reader gives its slot up after a while."""
        async with self._slots:
            body = stream.take()
            if body is None:
                return
            with anyio.move_on_after(SLOW_READER) as waiting:
                # Shielded: a write that is cancelled half-way would end the call.
                writing = asyncio.ensure_future(context.write(self._sealed(box, body)))
                del body
                await asyncio.shield(writing)
        if waiting.cancelled_caught:
            await writing

    async def job(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """A stream that agents keep open for work; none is given yet."""
        async for data in requests:
            try:
                key, _, _ = self._open(data, pb.JobRequest)
                if self._accounts.find_peer(key) is None:
                    raise PermissionDenied("peer is not registered")
            except Exception as error:  # noqa: BLE001 - every error has its status
                await _abort(context, error)

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


def _guarded(handler: Callable[[bytes, Context], Awaitable[bytes]]) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def guarded(request: bytes, context: Context) -> bytes:
        try:
            return await handler(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await _abort(context, error)
            raise

    return guarded


async def _abort(context: Context, error: Exception) -> None:
    status, text = status_of(error)
    if status is grpc.StatusCode.INTERNAL:
        _log.error("a call of an agent failed", exc_info=error)
    await context.abort(status, text)
