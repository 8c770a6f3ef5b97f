"""``/api/instance`` and ``/api/setup``: a server that nobody owns yet."""

import attrs

from meshloom_management.api.endpoint import Endpoint, Public
from meshloom_management.api.json import optional
from meshloom_management.operations import tokens
from meshloom_management.operations.setup import Owner


@attrs.frozen
class InstanceAnswer:
    """Whether the server awaits its first set-up."""

    setup_required: bool


@attrs.frozen
class SetupRequest:
    """Who shall own the server.

    Args:
        create_pat: Hand out a token, too, where the server's configuration allows it; else without effect.
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


async def _setup(call: Public) -> SetupAnswer:
    wish: SetupRequest = call.body
    secret, days = None, 0
    if wish.create_pat and call.config.setup_tokens:
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
    ),
)
