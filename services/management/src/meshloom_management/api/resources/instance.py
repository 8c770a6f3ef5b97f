"""``/api/instance`` and ``/api/setup``: a server that nobody owns yet."""

from collections.abc import Mapping

import attrs

from meshloom_management.api.authentication import NotAuthenticated, Reason
from meshloom_management.api.endpoint import Endpoint, Public
from meshloom_management.api.json import optional
from meshloom_management.errors import Unauthenticated
from meshloom_management.operations import tokens
from meshloom_management.operations.setup import HEADER, Owner


@attrs.frozen
class InstanceAnswer:
    """Whether the server awaits its first set-up."""

    setup_required: bool


@attrs.frozen
class SetupRequest:
    """Who shall own the server.

    Args:
        create_pat: Hand out a token, too.
        pat_expire_in: Days for which that is good.
    """

    email: str = ""
    password: str = ""
    name: str = ""
    create_pat: bool = False
    pat_expire_in: int | None = None


@attrs.frozen
class SetupAnswer:
    """The owner.

    Args:
        personal_access_token: Shown this once.
    """

    user_id: str
    email: str
    personal_access_token: str | None = optional()


async def _instance(call: Public) -> InstanceAnswer:
    return InstanceAnswer(setup_required=not call.accounts.all())


def _admit(call: Public, headers: Mapping[str, str]) -> None:
    try:
        call.setup.admit(headers.get(HEADER, ""))
    except Unauthenticated as error:
        raise NotAuthenticated(401, str(error), Reason.SETUP_SECRET) from error


async def _setup(call: Public) -> SetupAnswer:
    wish: SetupRequest = call.body
    secret, days = None, 0
    if wish.create_pat:
        secret, days = tokens.new_token(), 1 if wish.pat_expire_in is None else wish.pat_expire_in
    owner = Owner(email=wish.email, password=wish.password, name=wish.name, token=secret, token_days=days)
    user = await call.setup.run(owner)
    return SetupAnswer(user_id=user.id, email=user.email, personal_access_token=secret)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/instance",
        summary="Whether the server awaits its first set-up.",
        run=_instance,
        response=InstanceAnswer,
        public=True,
    ),
    Endpoint(
        method="POST",
        path="/api/setup",
        summary="Make the first account and its owner; possible once.",
        run=_setup,
        request=SetupRequest,
        response=SetupAnswer,
        public=True,
        unreadable="invalid request body",
        secret=True,
        admit=_admit,
        headers={
            HEADER: "The secret that the server prints at its start and keeps in its data folder; not looked at where"
            " `setup_pat_enabled` opens the set-up to everybody."
        },
        own_pages=True,
    ),
)
