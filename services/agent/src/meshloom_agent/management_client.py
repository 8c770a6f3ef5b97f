"""Calls of management, each message sealed; who calls decides about repetition."""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import attrs
import grpc
from google.protobuf.message import DecodeError, Message

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.freshness import check_answer, request_proof
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceStub
from meshloom_agent.channel import CONNECT_WITHIN, ServerAddress, answer_of, open_channel
from meshloom_agent.files import KnownServer
from meshloom_agent.management_errors import (
    LoginDenied,
    ManagementUnreachable,
    RequestNotFresh,
    says_gone,
    translated,
)
from meshloom_agent.server_identity import ServerIdentity, ServerKeys
from meshloom_agent.unreached import why_unreached

M = TypeVar("M", bound=Message)
R = TypeVar("R")
Request = pb.LoginRequest | pb.SyncRequest | pb.AbsenceRequest | pb.Empty

KEY_WITHIN = CONNECT_WITHIN + 5.0
"""Seconds for the server's key: it is asked for first, so that a connection may have to be made."""
ANSWER_WITHIN = 20.0
"""Seconds for the answer to a login or a logout."""
SILENT = 95.0
"""Seconds without a message on the stream of a server that sends a sign of life every 30: three of them are missing."""


LONGEST_ABSENCE = 10 * 365 * 86400.0
"""Seconds; what a server says beyond that has no date."""


def canonical_setup_key(text: str) -> str:
    """A setup key as the protocol sends it: a UUID in lower case.

    Raises:
        LoginDenied: It is no UUID; the message does not hold it.
    """
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise LoginDenied("the setup key is not of the form XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX") from None


@attrs.frozen
class Exchange:
    """One sealed request and its answers.

    Args:
        proof: What the request proves; None where the server asks for no proof.
    """

    box: Box
    shown: KnownServer
    proof: pb.RequestProof | None


class ManagementClient:
    """One management server, for one machine's key; close it after use.

    Args:
        identity: What is known of the server; without it, whatever key it shows is right.
    """

    def __init__(
        self,
        address: ServerAddress,
        key: PrivateKey,
        extra_roots: bytes = b"",
        identity: ServerIdentity | None = None,
    ) -> None:
        self.address = address
        self.is_fresh = False
        """Whether the newest answer is proven to be no recording: by the server's proof, or by the connection."""
        self.proves = False
        """Whether the server proves its answers, which Meshloom's do."""
        self._identity = identity or ServerKeys().at(address)
        self._key, self._public = key, key.public.text
        self._channel = open_channel(address, extra_roots)
        self._stub = ManagementServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """End all calls."""
        await self._channel.close(None)

    async def login(self, meta: pb.PeerSystemMeta, ssh_key: bytes, setup_key: str = "") -> pb.LoginResponse:
        """Be known: by the key alone, or for the first time with a setup key.

        Raises:
            LoginDenied: Management refuses.
            ManagementUnreachable: It does not answer.
        """
        request = pb.LoginRequest(setupKey=setup_key, meta=meta)
        request.peerKeys.wgPubKey = self._public.encode()  # the text's bytes, as the protocol has it
        request.peerKeys.sshPubKey = ssh_key

        async def log_in(exchange: Exchange) -> pb.LoginResponse:
            with self._refusals(setup_key):
                answer = await answer_of(self._stub.Login(self._seal(exchange, request), timeout=ANSWER_WITHIN))
            opened = self._open(exchange, answer, pb.LoginResponse)
            self._check(exchange, opened.proof)
            return opened

        return await self._fresh("Login", log_in)

    async def sync(self, meta: pb.PeerSystemMeta) -> AsyncIterator[pb.SyncResponse]:
        """Updates from now on; ends when management ends the stream.

        Raises:
            LoginDenied: Management refuses the stream; whether it knows this machine is told by a login.
            ManagementUnreachable: The connection is lost, or silent though the server says that it is there.
        """
        for may_repeat in (True, False):
            exchange, number = await self._exchange("Sync"), 0
            try:
                with self._refusals():
                    call = self._stub.Sync(self._seal(exchange, pb.SyncRequest(meta=meta)))
                    while answer := await self._next(call, exchange):  # the end of a stream is false
                        opened = self._open(exchange, answer, pb.SyncResponse)
                        self._check(exchange, opened.proof, number)
                        number += 1
                        yield opened
            except RequestNotFresh:
                if number or not may_repeat:
                    raise
            else:
                return

    async def _next(
        self, call: "grpc.aio.UnaryStreamCall[pb.EncryptedMessage, pb.EncryptedMessage]", exchange: Exchange
    ) -> pb.EncryptedMessage | None:
        """Returns a stream's next message; a server that proves its answers is never silent for long."""
        with anyio.move_on_after(SILENT if exchange.proof is not None else None):
            answer: Any = await answer_of(call.read())
            return answer or None
        call.cancel()
        raise ManagementUnreachable(
            f"management at {self.address.url} has sent no sign of life for {SILENT:.0f} s: the stream is opened again"
        )

    async def absent(self) -> dict[PublicKey, float]:
        """Returns the peers that have no connection with management, each with for how many seconds.

        Raises:
            LoginDenied: Management does not know this machine.
            ManagementUnreachable: It does not say.
        """

        async def ask(exchange: Exchange) -> dict[PublicKey, float]:
            with self._refusals():
                sealed = self._seal(exchange, pb.AbsenceRequest())
                answer = await answer_of(self._stub.Absent(sealed, timeout=ANSWER_WITHIN))
            opened = self._open(exchange, answer, pb.AbsenceResponse)
            self._check(exchange, opened.proof)
            try:
                return {PublicKey.of(each.key): min(each.seconds, LONGEST_ABSENCE) for each in opened.peers}
            except ProtocolError as error:
                raise ManagementUnreachable(f"management at {self.address.url}: {error}") from error

        return await self._fresh("Absent", ask)

    async def logout(self) -> None:
        """Leave the account; unknown already is as good.

        A server that proves its answers proves this one, too: a status, or an answer without content, could come from
        anybody in between.

        Raises:
            ManagementUnreachable: Nothing proves that management has forgotten this machine.
        """

        async def log_out(exchange: Exchange) -> None:
            try:
                answer = await answer_of(self._stub.Logout(self._seal(exchange, pb.Empty()), timeout=ANSWER_WITHIN))
            except grpc.aio.AioRpcError as error:
                if not says_gone(error):
                    raise translated(error, self.address.url) from None
                answer = pb.Empty()
            if exchange.proof is None:
                return
            if not answer.HasField("answer"):
                raise ManagementUnreachable(f"nothing proves that management at {self.address.url} has answered")
            self._check(exchange, self._open(exchange, answer.answer, pb.LogoutResponse).proof)

        await self._fresh("Logout", log_out)

    async def _fresh(self, method: str, call: Callable[[Exchange], Awaitable[R]]) -> R:
        """Makes the call; once more with a newer challenge where management asks for that."""
        try:
            return await call(await self._exchange(method))
        except RequestNotFresh:
            return await call(await self._exchange(method))

    async def _exchange(self, method: str) -> Exchange:
        """Asks for the server's key, as the protocol has it before each call, and checks whose it is."""
        try:
            answer = await answer_of(self._stub.GetServerKey(pb.Empty(), timeout=KEY_WITHIN))
        except grpc.aio.AioRpcError as error:
            why = await why_unreached(self.address, error)
            raise translated(error, self.address.url, opened=False, why=why) from None
        try:
            box = Box(self._key, PublicKey.parse(answer.key), os.urandom)
        except ProtocolError as error:
            raise ManagementUnreachable(f"management at {self.address.url} has no usable key: {error}") from error
        self.proves = bool(answer.challenge)
        shown = KnownServer(answer.key, proves=self.proves)
        self._identity.check(shown)
        return Exchange(box, shown, request_proof(answer.challenge, method, os.urandom) if shown.proves else None)

    def _seal(self, exchange: Exchange, message: Request) -> pb.EncryptedMessage:
        if exchange.proof is not None:
            message.proof.CopyFrom(exchange.proof)
        return pb.EncryptedMessage(wgPubKey=self._public, body=exchange.box.seal(message.SerializeToString()))

    def _open(self, exchange: Exchange, message: pb.EncryptedMessage, kind: type[M]) -> M:
        try:
            return kind.FromString(exchange.box.open(message.body))
        except (DecodeError, ProtocolError) as error:
            raise ManagementUnreachable(f"management at {self.address.url} answers what cannot be read") from error

    def _check(self, exchange: Exchange, proof: pb.AnswerProof, number: int = 0) -> None:
        """Checks that an answer that opened is no recording, where the server proves that; then it is the server's."""
        if exchange.proof is not None:
            try:
                check_answer(proof, exchange.proof, number)
            except ProtocolError as error:
                raise ManagementUnreachable(f"management at {self.address.url}: {error}") from error
        self.is_fresh = self.address.tls or exchange.proof is not None
        self._identity.confirm(exchange.shown)

    @contextmanager
    def _refusals(self, setup_key: str = "") -> Iterator[None]:
        """Calls that fail raise what their failure means."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise translated(error, self.address.url, setup_key=setup_key) from None
