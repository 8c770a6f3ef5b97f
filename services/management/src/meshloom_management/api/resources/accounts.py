"""``/api/accounts``: the account and its settings.

Settings of features that this server does not offer yet are shown with the value that says so, and cannot be changed.
"""

from datetime import datetime

import attrs

from meshloom.model.account import Account, Settings
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.permissions import Module, Operation
from meshloom_management.errors import PermissionDenied
from meshloom_management.nearby import resolved
from meshloom_management.operations import settings
from meshloom_management.operations.settings import SettingsWish


@attrs.frozen
class ExtraSettings:
    """Settings of features that this server does not offer yet."""

    peer_approval_enabled: bool = False
    user_approval_required: bool = True
    network_traffic_logs_enabled: bool = False
    network_traffic_logs_groups: list[str] | None = None
    network_traffic_packet_counter_enabled: bool = False


@attrs.frozen
class SettingsRequest:
    """What the settings shall be; a switch that is left out is off.

    Args:
        peer_login_expiration: Seconds, from an hour to 180 days.
        network_range: Overlay addresses of IPv4 come from here; left out, it stays.
        network_range_v6: The same of IPv6.
    """

    peer_login_expiration_enabled: bool = False
    peer_login_expiration: int = 0
    peer_inactivity_expiration_enabled: bool = False
    peer_inactivity_expiration: int = 0
    regular_users_view_blocked: bool = False
    groups_propagation_enabled: bool = False
    routing_peer_dns_resolution_enabled: bool = False
    lazy_connection_enabled: bool = False
    metrics_push_enabled: bool = False
    auto_update_version: str = ""
    auto_update_always: bool = False
    dns_domain: str = ""
    network_range: str | None = None
    network_range_v6: str | None = None
    ipv6_enabled_groups: list[str] | None = None
    jwt_groups_enabled: bool = False
    jwt_groups_claim_name: str = ""
    jwt_allow_groups: list[str] | None = None
    local_mfa_enabled: bool = False
    peer_expose_enabled: bool = False
    peer_expose_groups: list[str] | None = None
    agent_network_only: bool = False
    extra: ExtraSettings | None = None


@attrs.frozen
class AccountRequest:
    """What can be changed of an account."""

    settings: SettingsRequest = SettingsRequest()


@attrs.frozen
class SettingsAnswer:
    """The settings of an account."""

    peer_login_expiration_enabled: bool
    peer_login_expiration: int
    peer_inactivity_expiration_enabled: bool
    peer_inactivity_expiration: int
    regular_users_view_blocked: bool
    groups_propagation_enabled: bool
    routing_peer_dns_resolution_enabled: bool
    lazy_connection_enabled: bool
    metrics_push_enabled: bool
    auto_update_version: str
    auto_update_always: bool
    dns_domain: str
    network_range: str
    network_range_v6: str
    ipv6_enabled_groups: list[str]
    jwt_groups_enabled: bool = False
    jwt_groups_claim_name: str = ""
    jwt_allow_groups: list[str] = attrs.field(factory=list)
    local_auth_disabled: bool = False
    local_mfa_enabled: bool = False
    embedded_idp_enabled: bool = False
    peer_expose_enabled: bool = False
    peer_expose_groups: list[str] = attrs.field(factory=list)
    agent_network_only: bool = False
    extra: ExtraSettings = ExtraSettings()


@attrs.frozen
class Onboarding:
    """What a dashboard shall still ask; nothing."""

    onboarding_flow_pending: bool = False
    signup_form_pending: bool = False


@attrs.frozen
class AccountAnswer:
    """An account."""

    id: str
    domain: str
    domain_category: str
    created_at: datetime
    created_by: str
    settings: SettingsAnswer
    onboarding: Onboarding = Onboarding()


_NOT_OFFERED: dict[str, object] = {
    "jwt_allow_groups": [],
    "peer_expose_groups": [],
    "jwt_groups_enabled": False,
    "local_mfa_enabled": False,
    "peer_expose_enabled": False,
    "agent_network_only": False,
}


def _unoffered(request: SettingsRequest) -> list[str]:
    """Names of settings that ask for what this server cannot do."""
    names = [name for name, value in _NOT_OFFERED.items() if (getattr(request, name) or value) != value]
    if request.extra is not None:
        wished = attrs.asdict(request.extra)
        names += [
            f"extra.{name}" for name, value in attrs.asdict(ExtraSettings()).items() if (wished[name] or value) != value
        ]
    return names


def _wish(request: SettingsRequest) -> SettingsWish:
    return SettingsWish(
        **{
            field.name: getattr(request, field.name)
            for field in attrs.fields(SettingsWish)
            if field.name != "unoffered"
        },
        unoffered=_unoffered(request),
    )


def _settings_answer(settings: Settings) -> SettingsAnswer:
    return SettingsAnswer(
        peer_login_expiration_enabled=settings.peer_login_expiration_enabled,
        peer_login_expiration=int(settings.peer_login_expiration.total_seconds()),
        peer_inactivity_expiration_enabled=settings.peer_inactivity_expiration_enabled,
        peer_inactivity_expiration=int(settings.peer_inactivity_expiration.total_seconds()),
        regular_users_view_blocked=settings.regular_users_view_blocked,
        groups_propagation_enabled=settings.groups_propagation_enabled,
        routing_peer_dns_resolution_enabled=settings.routing_peer_dns_resolution_enabled,
        lazy_connection_enabled=settings.lazy_connection_enabled,
        metrics_push_enabled=settings.metrics_push_enabled,
        auto_update_version=settings.auto_update_version,
        auto_update_always=settings.auto_update_always,
        dns_domain=settings.dns_domain,
        network_range=str(settings.network_range),
        network_range_v6=str(settings.network_range_v6),
        ipv6_enabled_groups=sorted(settings.ipv6_enabled_groups),
    )


def _answer(account: Account) -> AccountAnswer:
    return AccountAnswer(
        id=account.id,
        domain=account.domain,
        domain_category="",
        created_at=account.created_at,
        created_by=account.created_by,
        settings=_settings_answer(account.settings),
    )


async def _list(call: Call) -> list[AccountAnswer]:
    return [_answer(call.state.account)]


async def _update(call: Call) -> AccountAnswer:
    if call.path["id"] != call.state.account.id:
        raise PermissionDenied("failed to validate user permissions: user is not part of this account")
    wish = _wish(call.body.settings)
    now = call.state.account.settings
    is_same = {wish.network_range, wish.network_range_v6} <= {None, str(now.network_range), str(now.network_range_v6)}
    servers = {} if is_same else await resolved(call.config.servers)
    return _answer(await call.change(lambda draft: settings.update(draft, wish, servers)))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/accounts",
        summary="Show the caller's account, in a list of one.",
        run=_list,
        permission=(Module.ACCOUNTS, Operation.READ),
        response=list[AccountAnswer],
    ),
    Endpoint(
        method="PUT",
        path="/api/accounts/{id}",
        summary="Change the settings of the account.",
        run=_update,
        permission=(Module.SETTINGS, Operation.UPDATE),
        request=AccountRequest,
        response=AccountAnswer,
    ),
)
