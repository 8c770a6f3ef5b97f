"""``/api/groups``: named sets of peers."""

from collections.abc import Callable, Sequence

import attrs

from meshloom.model.group import Group
from meshloom.model.ids import GroupID
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.errors import Refused
from meshloom_management.api.json import optional
from meshloom_management.api.permissions import Module, Operation
from meshloom_management.errors import InvalidArgument, NotFound
from meshloom_management.operations import groups
from meshloom_management.operations.left_out import left_out


@attrs.frozen
class ResourceReference:
    """A resource of a network; networks are not offered yet."""

    id: str = ""
    type: str = ""


@attrs.frozen
class GroupRequest:
    """What a group shall be; whoever is left out of ``peers`` is not in it any more."""

    name: str = ""
    peers: list[str] | None = None
    resources: list[ResourceReference] | None = None


@attrs.frozen
class PeerMinimum:
    """A peer, as groups show it."""

    id: str
    name: str


@attrs.frozen
class GroupMinimum:
    """A group, as peers and policies show it."""

    id: str
    name: str
    peers_count: int
    resources_count: int = 0


@attrs.frozen
class GroupAnswer:
    """A group with its peers.

    Args:
        warnings: What of the request was left out.
    """

    id: str
    name: str
    issued: str
    peers: list[PeerMinimum]
    peers_count: int
    resources: list[ResourceReference] = attrs.field(factory=list)
    resources_count: int = 0
    warnings: list[str] | None = optional()


def minimum(group: Group) -> GroupMinimum:
    """The group in short."""
    return GroupMinimum(group.id, group.name, len(group.peers))


def _answer(state: AccountState, group: Group, left_out: Sequence[str] = ()) -> GroupAnswer:
    peers = [PeerMinimum(id, state.peers[id].name) for id in sorted(group.peers) if id in state.peers]
    return GroupAnswer(group.id, group.name, group.issued, peers, len(peers), warnings=list(left_out) or None)


async def _list(call: Call) -> list[GroupAnswer]:
    wanted = call.query.get("name", "")
    found = [group for group in call.state.groups.values() if not wanted or group.name == wanted]
    if wanted and not found:
        raise NotFound(f"group: {wanted} not found")
    return [_answer(call.state, group) for group in sorted(found, key=lambda group: (not group.is_all, group.id))]


async def _get(call: Call) -> GroupAnswer:
    return _answer(call.state, groups.existing(call.state, call.path["id"]))


async def _create(call: Call) -> GroupAnswer:
    return await _written(call, groups.create)


async def _update(call: Call) -> GroupAnswer:
    id = GroupID(call.path["id"])
    return await _written(call, lambda draft, name, peers: groups.update(draft, id, name, peers))


async def _written(call: Call, write: Callable[[Draft, str, Sequence[str]], Group]) -> GroupAnswer:
    wish = _checked(call.body)
    peers = wish.peers or ()
    group, unknown = await call.change(
        lambda draft: (write(draft, wish.name, peers), left_out("peers", peers, draft.state.peers))
    )
    call.warn(f"group {group.name!r}", unknown)
    return _answer(call.latest(), group, unknown)


async def _delete(call: Call) -> None:
    id = GroupID(call.path["id"])
    try:
        await call.change(lambda draft: groups.delete(draft, id))
    except NotFound as error:
        raise Refused(400, str(error)) from error  # as with a group in use; clients know it so


def _checked(wish: GroupRequest) -> GroupRequest:
    if wish.resources:
        raise InvalidArgument("resources of groups are not offered by this server")
    return wish


def _may(operation: Operation) -> tuple[Module, Operation]:
    return Module.GROUPS, operation


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/groups",
        summary="List all groups.",
        run=_list,
        permission=_may(Operation.READ),
        response=list[GroupAnswer],
        query={"name": "Only the group of exactly this name; 404 where there is none."},
    ),
    Endpoint(
        method="POST",
        path="/api/groups",
        summary="Make a group.",
        run=_create,
        permission=_may(Operation.CREATE),
        request=GroupRequest,
        response=GroupAnswer,
    ),
    Endpoint(
        method="GET",
        path="/api/groups/{id}",
        summary="Show a group.",
        run=_get,
        permission=_may(Operation.READ),
        response=GroupAnswer,
    ),
    Endpoint(
        method="PUT",
        path="/api/groups/{id}",
        summary="Rename a group and say who is in it.",
        run=_update,
        permission=_may(Operation.UPDATE),
        request=GroupRequest,
        response=GroupAnswer,
    ),
    Endpoint(
        method="DELETE",
        path="/api/groups/{id}",
        summary="Remove a group that nothing speaks of.",
        run=_delete,
        permission=_may(Operation.DELETE),
    ),
)
