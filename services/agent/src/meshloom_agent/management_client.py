"""Calls of management, each message sealed; who calls decides about repetition."""

import base64
import os
import uuid
from collections.abc import AsyncIterator
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from meshloom.errors import MeshError, ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceStub
from meshloom_agent.channel import ServerAddress, open_channel

M = TypeVar("M", bound=Message)

REFUSALS = frozenset(
    (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)
"""Answers that say no, without saying that this machine is unknown."""


class LoginDenied(MeshError):
    """Management does not know this machine, and refuses what it offered to be known by."""


class ManagementUnreachable(MeshError):
    """Management does not answer, or not as management does."""


class ManagementRefuses(ManagementUnreachable):
    """Management answers, but does not do it now; the same call may succeed later."""


def canonical_setup_key(text: str) -> str:
    """A setup key as the protocol sends it: a UUID in lower case.

    Raises:
        LoginDenied: It is no UUID; the message does not hold it.
    """
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise LoginDenied("the setup key is not of the form XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX") from None


class ManagementClient:
    """One management server, for one machine's key; close it after use."""

    def __init__(self, address: ServerAddress, key: PrivateKey, extra_roots: bytes = b"") -> None:
        self.address = address
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
        try:
            box = await self._box()
            answer = await self._stub.Login(self._seal(box, request), timeout=10)
            return self._open(box, answer, pb.LoginResponse)
        except grpc.aio.AioRpcError as error:
            translated = _translated(error, self.address)
            if setup_key and isinstance(translated, ManagementRefuses):
                translated = LoginDenied(error.details() or error.code().name)  # it would refuse the key again
            raise translated from None

    async def sync(self, meta: pb.PeerSystemMeta) -> AsyncIterator[pb.SyncResponse]:
        """Updates from now on; ends when management ends the stream.

        Raises:
            LoginDenied: Management no longer knows this machine.
            ManagementUnreachable: The connection is lost.
        """
        try:
            box = await self._box()
            async for answer in self._stub.Sync(self._seal(box, pb.SyncRequest(meta=meta)), wait_for_ready=False):
                yield self._open(box, answer, pb.SyncResponse)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, self.address) from None

    async def logout(self) -> None:
        """Leave the account; unknown already is as good."""
        try:
            box = await self._box()
            await self._stub.Logout(self._seal(box, pb.Empty()), timeout=15)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise _translated(error, self.address) from None

    async def _box(self) -> Box:
        """Asked anew each time, as the protocol has it: a server's key may change."""
        answer = await self._stub.GetServerKey(pb.Empty(), timeout=5)
        try:
            return Box(self._key, PublicKey.parse(answer.key), os.urandom)
        except ProtocolError as error:
            raise ManagementUnreachable(f"management at {self.address.url} has no usable key: {error}") from error

    def _seal(self, box: Box, message: Message) -> pb.EncryptedMessage:
        return pb.EncryptedMessage(wgPubKey=self._public, body=box.seal(message.SerializeToString()))

    def _open(self, box: Box, message: pb.EncryptedMessage, kind: type[M]) -> M:
        try:
            return kind.FromString(box.open(message.body))
        except (DecodeError, ProtocolError) as error:
            raise ManagementUnreachable(f"management at {self.address.url} answers what cannot be read") from error


def _translated(error: grpc.aio.AioRpcError, address: ServerAddress) -> MeshError:
    text = error.details() or error.code().name
    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
        return LoginDenied(text)
    if error.code() in REFUSALS:
        return ManagementRefuses(f"management at {address.url} refuses: {text}")
    return ManagementUnreachable(f"management at {address.url} does not answer: {text}")


def new_ssh_key() -> bytes:
    """A line of authorized_keys; nobody holds its private half, since this agent has no SSH server."""
    return b"ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + os.urandom(32))
