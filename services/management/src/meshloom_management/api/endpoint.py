"""What an endpoint of the API is: one row of the table that the router and the description are made of."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import attrs

from meshloom.model.state import AccountState
from meshloom.model.user import User
from meshloom_management.accounts import Accounts, Draft
from meshloom_management.api.authentication import Caller, check_permission, valid
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.permissions import Module, Need, Operation, may
from meshloom_management.operations.setup import FirstSetup

_log = logging.getLogger(__name__)

T = TypeVar("T")


@attrs.frozen
class Call:
    """One authenticated request.

    Args:
        caller: Who asks.
        need: What the caller's role must allow, at the moment of a write too.
        path: The values in the path.
        query: The values after the question mark.
        body: An instance of the endpoint's request class; None where it has none.
    """

    accounts: Accounts
    config: ApiConfig
    caller: Caller
    need: Need | None
    now: datetime
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None

    @property
    def state(self) -> AccountState:
        """The caller's account as it was when the request came."""
        return self.caller.state

    @property
    def user(self) -> User:
        """The caller, as he was when the request came."""
        return self.caller.user

    async def change(self, mutate: Callable[[Draft], T]) -> T:
        """Change the caller's account; see :meth:`Accounts.change`.

        A write may have waited behind others, so the caller is looked at once more before it.

        Raises:
            Refused: The token is gone meanwhile, or its user may not do it any more.
        """

        def checked(draft: Draft) -> T:
            check_permission(valid(draft.state, self.caller.token.id, draft.now).user, self.need)
            with draft.by(self._name):
                return mutate(draft)

        return await self.accounts.change(self.state.account.id, checked)

    def latest(self) -> AccountState:
        """The caller's account as it is now, own changes included."""
        return self.accounts.state(self.state.account.id)

    def warn(self, what: str, texts: Iterable[str]) -> None:
        """Says in the log, too, what the answer warns of."""
        for text in texts:
            _log.warning("%s, written by %s: %s", what, self._name, text)

    @property
    def _name(self) -> str:
        return self.user.email or self.user.name or self.user.id

    def may(self, module: Module, operation: Operation) -> bool:
        """Whether the caller's role allows it."""
        return may(self.user, module, operation)


@attrs.frozen
class Public:
    """A request that needs no credentials."""

    accounts: Accounts
    config: ApiConfig
    setup: FirstSetup
    body: Any = None


@attrs.frozen(kw_only=True)
class Endpoint:
    """A method of a path.

    Args:
        run: Answers it with an instance of ``response``, or a list of them.
        permission: What the caller's role must allow; None where ``run`` looks itself.
        request: Class of the body; None for no body.
        response: Class of the answer, or ``list[...]`` of it; None for an empty object.
        query: Names of the values that are looked at after the question mark, and what they do.
        unreadable: Message for a body that cannot be read.
        secret: Whether the answer has a secret in it, which nothing on its way may keep.
        public: Whether it needs no token.
        admit: Looks at the fields of a public request before its body is read.
        headers: Names of the fields that ``admit`` looks at, and what they do.
        own_pages: Whether only pages of the server itself may ask, and only with a body that says that it is JSON:
            any page in somebody's browser can send the rest without being asked whether it may.
        constant: Whether the answer is always the same.
    """

    method: str
    path: str
    summary: str
    run: Callable[[Any], Awaitable[Any]]
    permission: Need | None = None
    request: type[Any] | None = None
    response: Any = None
    query: Mapping[str, str] = attrs.field(factory=dict)
    public: bool = False
    unreadable: str = "couldn't parse JSON request"
    secret: bool = False
    admit: Callable[[Public, Mapping[str, str]], None] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    own_pages: bool = False
    constant: bool = False
