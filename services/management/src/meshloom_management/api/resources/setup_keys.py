"""``/api/setup-keys``: pre-authorised enrolment."""

from datetime import datetime

import attrs

from meshloom.model.ids import SetupKeyID
from meshloom.model.setup_key import SetupKey
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.json import NEVER
from meshloom_management.api.permissions import Module, Operation
from meshloom_management.operations import setup_keys


@attrs.frozen
class NewSetupKeyRequest:
    """A new key.

    Args:
        type: ``reusable`` or ``one-off``.
        expires_in: Seconds; 0 for never.
        usage_limit: How many machines a reusable key may enrol; 0 for any number.
    """

    name: str = ""
    type: str = ""
    expires_in: int = 0
    auto_groups: list[str] | None = None
    usage_limit: int = 0
    ephemeral: bool = False
    allow_extra_dns_labels: bool = False


@attrs.frozen
class SetupKeyRequest:
    """What can be changed of a key."""

    auto_groups: list[str] | None = None
    revoked: bool = False


@attrs.frozen
class SetupKeyAnswer:
    """A key.

    Args:
        key: The whole key where it was just made, else its first characters.
        state: ``valid``, ``revoked``, ``expired`` or ``overused``.
    """

    id: str
    key: str
    name: str
    type: str
    state: str
    valid: bool
    revoked: bool
    expires: datetime | str
    last_used: datetime | str
    updated_at: datetime
    used_times: int
    usage_limit: int
    auto_groups: list[str]
    ephemeral: bool
    allow_extra_dns_labels: bool


def _answer(key: SetupKey, now: datetime, text: str | None = None) -> SetupKeyAnswer:
    return SetupKeyAnswer(
        id=key.id,
        key=text or key.hint,
        name=key.name,
        type=key.type.value,
        state=_state(key, now),
        valid=key.is_valid(now),
        revoked=key.revoked,
        expires=key.expires_at or NEVER,
        last_used=key.last_used or NEVER,
        updated_at=key.updated_at,
        used_times=key.used_times,
        usage_limit=key.usage_limit,
        auto_groups=list(key.auto_groups),
        ephemeral=key.ephemeral,
        allow_extra_dns_labels=key.allow_extra_dns_labels,
    )


def _state(key: SetupKey, now: datetime) -> str:
    if key.revoked:
        return "revoked"
    if key.is_expired(now):
        return "expired"
    return "overused" if key.is_used_up() else "valid"


async def _list(call: Call) -> list[SetupKeyAnswer]:
    found = sorted(call.state.setup_keys.values(), key=lambda key: (key.created_at, key.id))
    return [_answer(key, call.now) for key in found]


async def _get(call: Call) -> SetupKeyAnswer:
    return _answer(setup_keys.existing(call.state, call.path["id"]), call.now)


async def _create(call: Call) -> SetupKeyAnswer:
    fields = attrs.asdict(call.body)
    wish = setup_keys.Wish(**{**fields, "auto_groups": fields["auto_groups"] or ()})
    text = setup_keys.new_key()
    return _answer(await call.change(lambda draft: setup_keys.create(draft, wish, text)), call.now, text)


async def _update(call: Call) -> SetupKeyAnswer:
    wish: SetupKeyRequest = call.body
    id = SetupKeyID(call.path["id"])
    key = await call.change(
        lambda draft: setup_keys.update(draft, id, auto_groups=wish.auto_groups, revoked=wish.revoked)
    )
    return _answer(key, call.now)


async def _delete(call: Call) -> None:
    id = SetupKeyID(call.path["id"])
    await call.change(lambda draft: setup_keys.delete(draft, id))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/setup-keys",
        summary="List all setup keys.",
        run=_list,
        permission=(Module.SETUP_KEYS, Operation.READ),
        response=list[SetupKeyAnswer],
    ),
    Endpoint(
        method="POST",
        path="/api/setup-keys",
        summary="Make a setup key; the whole of it is shown this once.",
        run=_create,
        permission=(Module.SETUP_KEYS, Operation.CREATE),
        request=NewSetupKeyRequest,
        secret=True,
        response=SetupKeyAnswer,
    ),
    Endpoint(
        method="GET",
        path="/api/setup-keys/{id}",
        summary="Show a setup key.",
        run=_get,
        permission=(Module.SETUP_KEYS, Operation.READ),
        response=SetupKeyAnswer,
    ),
    Endpoint(
        method="PUT",
        path="/api/setup-keys/{id}",
        summary="Revoke a setup key, or change which groups its peers join.",
        run=_update,
        permission=(Module.SETUP_KEYS, Operation.UPDATE),
        request=SetupKeyRequest,
        response=SetupKeyAnswer,
    ),
    Endpoint(
        method="DELETE",
        path="/api/setup-keys/{id}",
        summary="Forget a setup key; its peers stay.",
        run=_delete,
        permission=(Module.SETUP_KEYS, Operation.DELETE),
    ),
)
