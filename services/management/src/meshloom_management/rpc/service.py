"""The handlers of ``management.ManagementService``.

Handlers take and give bytes: a map is sealed as it was spliced, without a message object in between.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio

from meshloom.model.ids import PeerID
from meshloom.model.keys import PrivateKey
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change
from meshloom.rpc import management_pb2 as pb
from meshloom_front.rpc.call import Call, Method, Methods, bidirectional, plain, server_streaming, service, unary
from meshloom_front.rpc.status import CallFailed, Status
from meshloom_management.accounts import Accounts
from meshloom_management.errors import InvalidArgument, NotFound, PermissionDenied, SetupKeyRefused
from meshloom_management.maps.encoding import field
from meshloom_management.operations import enrolment
from meshloom_management.presence import Presence
from meshloom_management.rivals import REPLACED
from meshloom_management.rpc.convert import peer_meta, ssh_key
from meshloom_management.rpc.jobs import Jobs
from meshloom_management.rpc.refusals import Refusals
from meshloom_management.rpc.requests import Answer, M, Request, Requests
from meshloom_management.rpc.seen import SeenNonces
from meshloom_management.rpc.statuses import status_of
from meshloom_management.updates import Ended, Stream, Updates

_log = logging.getLogger(__name__)

SERVICE = "management.ManagementService"
SIGN_OF_LIFE: Final = 30.0
"""Seconds without a map after which an agent is sent a message that changes nothing.

Proxies cut streams in which nothing came for a minute, and HTTP/2's PING goes no further than the next of them. Only
agents get it that prove their requests, which are Meshloom's; others of the protocol are sent what they always were.
"""
CHALLENGE = 1001
"""The number of the field that holds a challenge."""
ANSWER = 1002
"""The number of the field that holds the sealed answer to a logout."""


class ManagementService:
    """What agents call.

    Args:
        key: The server's key.
        seen: Remembers the messages of registered peers.
        refusals: Counts what is refused.
    """

    def __init__(
        self,
        key: PrivateKey,
        accounts: Accounts,
        updates: Updates,
        presence: Presence,
        *,
        seen: SeenNonces,
        refusals: Refusals,
    ) -> None:
        self._accounts, self._updates, self._presence, self._refusals = accounts, updates, presence, refusals
        self._requests = Requests(key, accounts, seen)
        self._server_key = pb.ServerKeyResponse(key=key.public.text, version=1).SerializeToString()
        self._jobs = Jobs()
        accounts.listen(self._changed)

    def methods(self) -> Methods:
        """For the gRPC server."""
        methods: dict[str, Method] = {
            "GetServerKey": plain(self.get_server_key),
            "isHealthy": plain(self.is_healthy),
            "GetDeviceAuthorizationFlow": plain(self.no_login_of_users),
            "GetPKCEAuthorizationFlow": plain(self.no_login_of_users),
            "Login": unary(self._guarded(self.login)),
            "SyncMeta": unary(self._guarded(self.sync_meta)),
            "Logout": unary(self._guarded(self.logout)),
            "Absent": unary(self._guarded(self.absent)),
            "Sync": server_streaming(self.sync),
            "Job": bidirectional(self.job),
        }
        return service(SERVICE, methods)

    def get_server_key(self, _request: bytes, _call: Call) -> bytes:
        """The key to seal messages for, and a challenge; asked before every other call, so the key is encoded once."""
        return self._server_key + field(CHALLENGE, self._requests.challenge())

    def is_healthy(self, _request: bytes, _call: Call) -> bytes:
        """That we answer is the answer."""
        return b""

    async def login(self, data: bytes, call: Call) -> bytes:
        """A known peer, or a new one with a setup key."""
        opened = self._open(data, pb.LoginRequest, "Login", call)
        request = opened.message
        state, peer = await enrolment.login(
            self._accounts,
            enrolment.Login(
                key=opened.key,
                meta=peer_meta(request.meta),
                setup_key=request.setupKey,
                ssh_key=ssh_key(request.peerKeys.sshPubKey),
                labels=tuple(request.dnsLabels[:32]),
                connection_ip=call.address,
                proves=opened.proves,
            ),
        )
        if opened.known is None:
            self._requests.remember(opened.key)
            call.prove()
        builder = self._updates.builder(state.account.id)
        response = pb.LoginResponse(
            netbirdConfig=pb.NetbirdConfig.FromString(self._updates.config(state, peer.id)),
            peerConfig=pb.PeerConfig.FromString(builder.peer_config(peer)),
        )
        response.sessionExpiresAt.SetInParent()
        return opened.answer.seal(response.SerializeToString() + opened.answer.proof)

    async def sync_meta(self, data: bytes, call: Call) -> bytes:
        """New facts of a peer."""
        opened = self._open(data, pb.SyncMetaRequest, "SyncMeta", call)
        await enrolment.tell(self._accounts, opened.key, peer_meta(opened.message.meta))
        return b""

    async def logout(self, data: bytes, call: Call) -> bytes:
        """The peer leaves the account, if that is all that the message says.

        Who proves that the request is fresh gets a proof that the peer is gone, also where it was gone already.
        """
        opened = self._open(data, pb.Empty, "Logout", call)
        proof = opened.message.proof if opened.proves else None
        if opened.plain != pb.Empty(proof=proof).SerializeToString():
            raise InvalidArgument("the message says more than that the peer logs out")
        try:
            await enrolment.log_out(self._accounts, opened.key)
        except NotFound:
            if not opened.proves:
                raise
        return field(ANSWER, opened.answer.seal(opened.answer.proof)) if opened.proves else b""

    async def absent(self, data: bytes, call: Call) -> bytes:
        """Which peers of the sender's map are away: asked for, since telling it to all would cost more than maps do."""
        opened = self._open(data, pb.AbsenceRequest, "Absent", call)
        if (found := self._accounts.find_peer(opened.key)) is None:
            raise PermissionDenied("peer is not registered")
        state, sender = found
        builder = self._updates.builder(state.account.id)
        peers = (builder.state.peers[each] for each in builder.reach.visible(sender.id) if each != sender.id)
        if (found_away := self._presence.away(peers)) is None:
            raise CallFailed(Status.UNAVAILABLE, "the server has just started: who is away is not known yet")
        away = [pb.Absence(key=peer.key.raw, seconds=int(since)) for peer, since in found_away]
        return opened.answer.seal(pb.AbsenceResponse(peers=away).SerializeToString() + opened.answer.proof)

    def no_login_of_users(self, _data: bytes, _call: Call) -> bytes:
        """This server has no login of users: agents then ask for a setup key."""
        raise CallFailed(Status.NOT_FOUND, "no SSO provider is configured")

    async def sync(self, data: bytes, call: Call) -> None:
        """The first map, then every newer one while the peer is connected."""
        try:
            opened = self._open(data, pb.SyncRequest, "Sync", call)
            if opened.message.HasField("meta"):
                await enrolment.tell(self._accounts, opened.key, peer_meta(opened.message.meta))
            known = self._accounts.find_peer(opened.key)
            if known is None:
                raise PermissionDenied("peer is not registered")
        except Exception as error:
            raise self._failure(error, call) from error
        state, peer = known
        async with (
            self._presence.of(state.account.id, peer.id, call.address),
            self._updates.connected(state.account.id, peer.id, call.address) as stream,
        ):
            with stream.scope:
                while True:
                    build: Callable[[], bytes | None] = partial(_newest, stream, opened.answer)
                    with anyio.move_on_after(SIGN_OF_LIFE if opened.proves else None) as quiet:
                        if not await stream.wait():
                            break
                    if quiet.cancelled_caught:
                        build = partial(_sign_of_life, opened.answer)
                    await self._updates.turns.send(peer.id, build, call, stream.urgency)
        if stream.ended is not Ended.STOPPING:
            call.give_up()  # a map that it does not read is not kept for it
        if stream.ended is Ended.REPLACED:
            raise CallFailed(Status.ALREADY_EXISTS, REPLACED)
        if stream.ended is Ended.REMOVED:
            raise CallFailed(Status.PERMISSION_DENIED, "peer is not registered")
        if stream.ended is Ended.STOPPING:
            raise CallFailed(Status.UNAVAILABLE, "the server is stopping: connect again")

    async def job(self, call: Call) -> None:
        """A stream that agents keep open for work; none is given yet."""

        def sender(data: bytes) -> PeerID:
            opened = self._open(data, pb.JobRequest, "Job", call)
            return opened.sender.id

        try:
            await self._jobs.serve(call, sender)
        except Exception as error:
            raise self._failure(error, call) from error

    def _changed(self, before: AccountState, after: AccountState, change: Change) -> None:
        for gone in change.peers - after.peers.keys():
            if gone in before.peers:
                self._requests.remember(before.peers[gone].key)
            self._jobs.end(gone, CallFailed(Status.PERMISSION_DENIED, "peer is not registered"))

    def _open(self, data: bytes, kind: type[M], method: str, call: Call) -> Request[M]:
        """Opens a message; whoever sent one that is a registered peer's is known from then on."""
        opened = self._requests.open(data, kind, method)
        if opened.known is not None:
            call.prove()
        return opened

    def _guarded(self, handler: Callable[[bytes, Call], Awaitable[bytes]]) -> Callable[[bytes, Call], Awaitable[bytes]]:
        async def guarded(request: bytes, call: Call) -> bytes:
            try:
                return await handler(request, call)
            except Exception as error:
                raise self._failure(error, call) from error

        return guarded

    def _failure(self, error: Exception, call: Call) -> CallFailed:
        """What the caller is told; it is counted, since strangers may fail as often as they like."""
        if isinstance(error, CallFailed):
            return error
        status, text = status_of(error)
        told = f"a machine at {call.address} is refused: {error.why}" if isinstance(error, SetupKeyRefused) else ""
        self._refusals.add(status.name.lower(), told)
        if status is Status.INTERNAL:
            _log.error("a call of an agent failed", exc_info=error)
        return CallFailed(status, text)


def _sign_of_life(answer: Answer) -> bytes:
    """A message that changes nothing."""
    return answer.seal(answer.proof)


def _newest(stream: Stream, answer: Answer) -> bytes | None:
    """The newest map, sealed; None where the peer has it."""
    body = stream.take(answer.proof)
    return None if body is None else answer.seal(body)
