"""The requests of an administrator at the server's own machine, and how each is answered."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, get_origin

import attrs

from meshloom.errors import MeshError
from meshloom.model.setup_key import SetupKey, SetupKeyType
from meshloom.model.user import PersonalAccessToken, User
from meshloom_management.accounts import Accounts, Draft
from meshloom_management.errors import InvalidArgument, PreconditionFailed
from meshloom_management.operations import owners, setup_keys, tokens
from meshloom_management.operations.setup import FirstSetup, Owner

R = TypeVar("R")
HERE = "a command at the server"
"""Who made a change, for the log."""
TOKEN_NAME = "made at the server"  # noqa: S105 - how it is listed


@attrs.frozen
class CreateOwner:
    """Makes the account and its owner."""

    email: str
    name: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class ResetPassword:
    """Gives a user another password."""

    user: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class CreateToken:
    """Gives a user a token for the API.

    Args:
        days: How long it is good.
    """

    user: str
    name: str
    days: int


@attrs.frozen
class CreateSetupKey:
    """Makes a key that machines join with.

    Args:
        user: In whose account.
        seconds: How long it is good; 0 for ever.
        limit: How many machines may join with a reusable one; 0 for any number.
        groups: Names or ids of the groups that these machines join.
    """

    user: str
    name: str
    is_reusable: bool
    seconds: int
    limit: int
    is_ephemeral: bool
    groups: list[str]


Request = CreateOwner | ResetPassword | CreateToken | CreateSetupKey
_KINDS: Mapping[str, type[Request]] = {
    kind.__name__: kind for kind in (CreateOwner, ResetPassword, CreateToken, CreateSetupKey)
}


class Desk:
    """Answers the requests; each answer is plain values that are shown to the administrator.

    Args:
        setup: Makes the first account, and hashes passwords.
    """

    def __init__(self, accounts: Accounts, setup: FirstSetup) -> None:
        self._accounts, self._setup = accounts, setup

    async def answer(self, request: Request) -> dict[str, str]:
        """Does what the request asks for.

        Raises:
            MeshError: That cannot be done.
        """
        match request:
            case CreateOwner():
                user = await self._setup.run(Owner(email=request.email, password=request.password, name=request.name))
                return {"user": user.email, "id": user.id}
            case ResetPassword():
                return await self._reset_password(request)
            case CreateToken():
                return await self._create_token(request)
            case CreateSetupKey():
                return await self._create_setup_key(request)

    async def _reset_password(self, request: ResetPassword) -> dict[str, str]:
        password = owners.checked_password(request.password)
        state, user = owners.find_user(self._accounts, request.user)
        if user.is_service_user:
            raise PreconditionFailed(f"{user.name!r} is a service user, which has no password: give it a token")
        hashed = await self._setup.hash(password)
        await self._accounts.change(state.account.id, lambda draft: _reset(draft, user, hashed))
        return {"user": user.email, "id": user.id}

    async def _create_token(self, request: CreateToken) -> dict[str, str]:
        state, user = owners.find_user(self._accounts, request.user)
        secret = tokens.new_token()

        def create(draft: Draft) -> PersonalAccessToken:
            if draft.state.users[user.id].is_blocked:
                raise PreconditionFailed(f"{user.email or user.name!r} is blocked: a token would not be accepted")
            name = request.name or TOKEN_NAME
            with draft.by(HERE):
                return tokens.create(draft, user.id, by=user.id, name=name, days=request.days, token=secret)

        record = await self._accounts.change(state.account.id, create)
        return {
            "token": secret,
            "user": user.email or user.name,
            "expires": record.expires_at.isoformat(" ", "minutes"),
        }

    async def _create_setup_key(self, request: CreateSetupKey) -> dict[str, str]:
        state, _ = owners.find_user(self._accounts, request.user)
        text = setup_keys.new_key()

        def create(draft: Draft) -> SetupKey:
            wish = setup_keys.Wish(
                name=request.name or TOKEN_NAME,
                type=(SetupKeyType.REUSABLE if request.is_reusable else SetupKeyType.ONE_OFF).value,
                expires_in=request.seconds,
                auto_groups=owners.find_groups(draft.state, request.groups),
                usage_limit=request.limit,
                ephemeral=request.is_ephemeral,
                allow_extra_dns_labels=False,
            )
            with draft.by(HERE):
                return setup_keys.create(draft, wish, text)

        key = await self._accounts.change(state.account.id, create)
        expires = key.expires_at.isoformat(" ", "minutes") if key.expires_at else ""
        return {"key": text, "name": key.name, "expires": expires, "limit": str(key.usage_limit)}


def _reset(draft: Draft, user: User, hashed: str) -> None:
    with draft.by(HERE):
        owners.set_password(draft, user, hashed)


def encode_request(request: Request) -> bytes:
    """Returns the line that asks for it."""
    return json.dumps({"do": type(request).__name__, **attrs.asdict(request)}).encode() + b"\n"


async def answer_line(line: bytes, answer: Callable[[Request], Awaitable[dict[str, str]]]) -> bytes:
    """Answers a line with a line; what goes wrong is part of the answer."""
    try:
        return _line({"answer": await answer(_decoded(line))})
    except MeshError as error:
        return _line({"error": str(error)})


def decode_answer(line: bytes) -> dict[str, str]:
    """Returns what a line answers.

    Raises:
        PreconditionFailed: It says what went wrong.
    """
    try:
        said = json.loads(line)
        if "error" in said:
            raise PreconditionFailed(str(said["error"]))
        return {str(name): str(value) for name, value in said["answer"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise PreconditionFailed("the server broke off: its log says why") from None


def _decoded(line: bytes) -> Request:
    try:
        said = json.loads(line)
        kind = _KINDS[said.pop("do")]
        wanted = {field.name: get_origin(field.type) or field.type for field in attrs.fields(kind)}
        if any(type(value) is not wanted.get(name) for name, value in said.items()):
            raise TypeError
        if any(not isinstance(each, str) for value in said.values() if isinstance(value, list) for each in value):
            raise TypeError
        return kind(**said)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidArgument("the server does not know this request: are command and server of one version?") from None


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"
