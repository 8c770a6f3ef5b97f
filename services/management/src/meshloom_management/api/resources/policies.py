"""``/api/policies``: who may reach what."""

from collections.abc import Callable, Iterable, Sequence

import attrs

from meshloom.model.ids import GroupID, PolicyID
from meshloom.model.policy import Policy, Rule
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.json import optional
from meshloom_management.api.permissions import Module, Operation
from meshloom_management.api.resources.groups import GroupMinimum, ResourceReference, minimum
from meshloom_management.operations import policies
from meshloom_management.operations.policies import PolicyWish, RuleWish, Target


@attrs.frozen
class Ports:
    """Ports from ``start`` to ``end``, both included."""

    start: int = 0
    end: int = 0


@attrs.frozen
class RuleRequest:
    """One sentence of a policy.

    Args:
        sources: Ids of groups.
        sourceResource: One peer (``{"id": ..., "type": "peer"}``) instead of groups.
        authorized_groups: With protocol ``netbird-ssh``: local users by group.
    """

    id: str | None = None
    name: str = ""
    description: str = ""
    enabled: bool = False
    action: str = ""
    bidirectional: bool = False
    protocol: str = ""
    ports: list[str] | None = None
    port_ranges: list[Ports] | None = None
    sources: list[str] | None = None
    destinations: list[str] | None = None
    sourceResource: ResourceReference | None = None  # noqa: N815 - as clients spell it
    destinationResource: ResourceReference | None = None  # noqa: N815
    authorized_groups: dict[str, list[str]] | None = None


@attrs.frozen
class PolicyRequest:
    """What a policy shall be.

    Args:
        source_posture_checks: Ids of posture checks; those that there are not are left out.
    """

    name: str = ""
    description: str = ""
    enabled: bool = False
    rules: list[RuleRequest] | None = None
    source_posture_checks: list[str] | None = None


@attrs.frozen
class RuleAnswer:
    """One sentence of a policy."""

    id: str
    name: str
    description: str
    enabled: bool
    action: str
    bidirectional: bool
    protocol: str
    sources: list[GroupMinimum]
    destinations: list[GroupMinimum]
    ports: list[str] | None = optional()
    port_ranges: list[Ports] | None = optional()
    sourceResource: ResourceReference | None = optional()  # noqa: N815
    destinationResource: ResourceReference | None = optional()  # noqa: N815
    authorized_groups: dict[str, list[str]] | None = optional()


@attrs.frozen
class PolicyAnswer:
    """A policy.

    Args:
        warnings: What of the request was left out, and what of the policy is not enforced everywhere.
    """

    id: str
    name: str
    description: str
    enabled: bool
    rules: list[RuleAnswer]
    source_posture_checks: list[str]
    warnings: list[str] | None = optional()


def _wish(request: PolicyRequest) -> PolicyWish:
    return PolicyWish(
        name=request.name,
        description=request.description,
        enabled=request.enabled,
        rules=[_rule_wish(rule) for rule in request.rules or ()],
        posture_checks=request.source_posture_checks or (),
    )


def _rule_wish(rule: RuleRequest) -> RuleWish:
    return RuleWish(
        id=rule.id,
        name=rule.name,
        description=rule.description,
        enabled=rule.enabled,
        action=rule.action,
        bidirectional=rule.bidirectional,
        protocol=rule.protocol,
        ports=rule.ports or (),
        port_ranges=[(ports.start, ports.end) for ports in rule.port_ranges or ()],
        sources=rule.sources,
        destinations=rule.destinations,
        source_resource=_target(rule.sourceResource),
        destination_resource=_target(rule.destinationResource),
        authorized_groups=rule.authorized_groups or {},
    )


def _target(resource: ResourceReference | None) -> Target | None:
    return Target(resource.id, resource.type) if resource is not None else None


def _answer(state: AccountState, policy: Policy, left_out: Sequence[str] = ()) -> PolicyAnswer:
    return PolicyAnswer(
        id=policy.id,
        name=policy.name,
        description=policy.description,
        enabled=policy.enabled,
        rules=[_rule_answer(state, rule) for rule in policy.rules],
        source_posture_checks=list(policy.source_posture_checks),
        warnings=[*left_out, *policies.unenforced(policy)] or None,
    )


def _rule_answer(state: AccountState, rule: Rule) -> RuleAnswer:
    return RuleAnswer(
        id=rule.id,
        name=rule.name,
        description=rule.description,
        enabled=rule.enabled,
        action=rule.action.value,
        bidirectional=rule.bidirectional,
        protocol=rule.protocol.value,
        sources=_minima(state, rule.sources),
        destinations=_minima(state, rule.destinations),
        ports=list(rule.ports) or None,
        port_ranges=[Ports(ports.start, ports.end) for ports in rule.port_ranges] or None,
        sourceResource=ResourceReference(rule.source_peer, "peer") if rule.source_peer else None,
        destinationResource=ResourceReference(rule.destination_peer, "peer") if rule.destination_peer else None,
        authorized_groups={group: list(names) for group, names in rule.authorized_groups.items()} or None,
    )


def _minima(state: AccountState, groups: Iterable[GroupID]) -> list[GroupMinimum]:
    return [minimum(state.groups[id]) for id in sorted(groups) if id in state.groups]


async def _list(call: Call) -> list[PolicyAnswer]:
    return [_answer(call.state, policy) for _, policy in sorted(call.state.policies.items())]


async def _get(call: Call) -> PolicyAnswer:
    return _answer(call.state, policies.existing(call.state, call.path["id"]))


async def _create(call: Call) -> PolicyAnswer:
    return await _written(call, _wish(call.body), policies.create)


async def _update(call: Call) -> PolicyAnswer:
    id = PolicyID(call.path["id"])
    return await _written(call, _wish(call.body), lambda draft, wish: policies.update(draft, id, wish))


async def _written(call: Call, wish: PolicyWish, write: Callable[[Draft, PolicyWish], Policy]) -> PolicyAnswer:
    policy, left_out = await call.change(lambda draft: (write(draft, wish), policies.left_out_of(draft.state, wish)))
    call.warn(f"policy {policy.name!r}", left_out)
    return _answer(call.latest(), policy, left_out)


async def _delete(call: Call) -> None:
    id = PolicyID(call.path["id"])
    await call.change(lambda draft: policies.delete(draft, id))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/policies",
        summary="List all policies.",
        run=_list,
        permission=(Module.POLICIES, Operation.READ),
        response=list[PolicyAnswer],
    ),
    Endpoint(
        method="POST",
        path="/api/policies",
        summary="Make a policy.",
        run=_create,
        permission=(Module.POLICIES, Operation.CREATE),
        request=PolicyRequest,
        response=PolicyAnswer,
    ),
    Endpoint(
        method="GET",
        path="/api/policies/{id}",
        summary="Show a policy.",
        run=_get,
        permission=(Module.POLICIES, Operation.READ),
        response=PolicyAnswer,
    ),
    Endpoint(
        method="PUT",
        path="/api/policies/{id}",
        summary="Replace a policy.",
        run=_update,
        permission=(Module.POLICIES, Operation.UPDATE),
        request=PolicyRequest,
        response=PolicyAnswer,
    ),
    Endpoint(
        method="DELETE",
        path="/api/policies/{id}",
        summary="Remove a policy.",
        run=_delete,
        permission=(Module.POLICIES, Operation.DELETE),
    ),
)
