"""The first set-up: the account that the server begins with, and its owner. Possible once."""

import re
from functools import partial

import attrs
from anyio import Lock, to_thread
from argon2 import PasswordHasher

from meshloom.model.user import User
from meshloom_management.accounts import Accounts, Draft
from meshloom_management.errors import InvalidArgument, PreconditionFailed, Unauthenticated
from meshloom_management.operations import owners, tokens
from meshloom_management.operations.names import checked_length
from meshloom_management.operations.setup_secret import FILE, SetupSecret

HEADER = "X-Meshloom-Setup-Secret"
"""The field of the request that holds the secret: no page of another origin can send it unasked."""

HASH_MEMORY = 64 * 1024
"""KiB that hashing a password takes."""
_DONE = "setup already completed"
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")


@attrs.frozen
class Owner:
    """Who shall own the server.

    Args:
        token: A personal access token to give him, or None.
        token_days: How long that is good.
    """

    email: str
    password: str = attrs.field(repr=False)
    name: str
    token: str | None = attrs.field(default=None, repr=False)
    token_days: int = 0


class FirstSetup:
    """Makes the first account; of many who try at once, one succeeds.

    Args:
        secret: What must be shown; None where anybody may make the account.
        hash_memory: KiB that hashing the password takes.
    """

    def __init__(self, accounts: Accounts, secret: SetupSecret | None, hash_memory: int = HASH_MEMORY) -> None:
        self._accounts, self._secret = accounts, secret
        self._hasher = PasswordHasher(memory_cost=hash_memory)
        self._turn = Lock()

    async def hash(self, password: str) -> str:
        """Returns what is kept of a password."""
        return await to_thread.run_sync(partial(self._hasher.hash, password))

    def admit(self, given: str) -> None:
        """Looks whether *given* is the secret, before anything else of the request is.

        Raises:
            Unauthenticated: It is not.
            PreconditionFailed: There is an account already.
        """
        if self._secret is None:
            return
        if self._accounts.all():
            raise PreconditionFailed(_DONE)
        if not self._secret.matches(given):
            raise Unauthenticated(
                f"{HEADER} is {'wrong' if given else 'missing'}:"
                f" the server prints it at its start, and keeps it in {FILE} in its data folder"
            )

    async def run(self, owner: Owner) -> User:
        """Make the account with its owner and, where wished, his token, all at once.

        Raises:
            InvalidArgument: The owner's data cannot be.
            PreconditionFailed: Somebody has done it already.
        """
        _check(owner)
        async with self._turn:
            if self._accounts.all():
                raise PreconditionFailed(_DONE)
            password_hash = await self.hash(owner.password)
            user = await self._accounts.create(
                email=owner.email, name=owner.name, password_hash=password_hash, then=partial(_give_token, owner=owner)
            )
            if self._secret is not None:
                self._secret.forget()
            return user


def _give_token(draft: Draft, user: User, owner: Owner) -> None:
    if owner.token is not None:
        tokens.create(draft, user.id, by=user.id, name="setup-token", days=owner.token_days, token=owner.token)


def _check(owner: Owner) -> None:
    for what in ("email", "name", "password"):
        if not getattr(owner, what):
            raise InvalidArgument(f"{what} is required")
    checked_length(owner.email, "email")
    checked_length(owner.name, "name")
    if not _EMAIL.fullmatch(owner.email):
        raise InvalidArgument("invalid email format")
    owners.checked_password(owner.password)
    if owner.token is not None and not 1 <= owner.token_days <= tokens.LONGEST_DAYS:
        raise InvalidArgument(f"pat_expire_in must be between 1 and {tokens.LONGEST_DAYS}")
