"""The settings of an account: what they may be."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network

import attrs

from meshloom.model.account import Account, Settings
from meshloom.model.ids import GroupID
from meshloom.model.overlay import SMALLEST, IPAddress, IPNetwork, objection
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.errors import InvalidArgument
from meshloom_management.operations.addresses import readdress
from meshloom_management.operations.names import is_domain

_SHORTEST_LOGIN = timedelta(hours=1)
_LONGEST_LOGIN = timedelta(days=180)
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@attrs.frozen(kw_only=True)
class SettingsWish:
    """What the settings shall be.

    Args:
        network_range: None where it shall stay.
        network_range_v6: None where it shall stay.
        unoffered: Names of settings that ask for what this server cannot do.
    """

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
    network_range: str | None
    network_range_v6: str | None
    ipv6_enabled_groups: Sequence[str] | None
    unoffered: Sequence[str] = ()


def update(draft: Draft, wish: SettingsWish, servers: Mapping[IPAddress, str]) -> Account:
    """Change the settings; peers get new addresses where their range changes.

    Args:
        draft: Of the account.
        wish: What the settings shall be.
        servers: What machines must reach beside the mesh, by its address.

    Raises:
        InvalidArgument: The wish breaks a rule.
    """
    account = draft.state.account
    changed = attrs.evolve(account, settings=_settings(draft.state, wish))
    for old, new in (
        (account.settings.network_range, changed.settings.network_range),
        (account.settings.network_range_v6, changed.settings.network_range_v6),
    ):
        if new != old:
            _check_range(new, servers)
    if changed != account:
        draft.put(changed)
        readdress(draft)
    return changed


def _settings(state: AccountState, wish: SettingsWish) -> Settings:
    old = state.account.settings
    login = _login_expiration(wish.peer_login_expiration)
    for name in wish.unoffered:
        raise InvalidArgument(f"{name} is not offered by this server")
    return Settings(
        network_range=_ipv4_range(wish.network_range) if wish.network_range is not None else old.network_range,
        network_range_v6=_ipv6_range(wish.network_range_v6)
        if wish.network_range_v6 is not None
        else old.network_range_v6,
        dns_domain=_domain(wish.dns_domain),
        ipv6_enabled_groups=_groups(state, wish.ipv6_enabled_groups or ()),
        peer_login_expiration_enabled=wish.peer_login_expiration_enabled,
        peer_login_expiration=login,
        peer_inactivity_expiration_enabled=wish.peer_inactivity_expiration_enabled,
        peer_inactivity_expiration=_inactivity_expiration(wish.peer_inactivity_expiration),
        regular_users_view_blocked=wish.regular_users_view_blocked,
        groups_propagation_enabled=wish.groups_propagation_enabled,
        routing_peer_dns_resolution_enabled=wish.routing_peer_dns_resolution_enabled,
        lazy_connection_enabled=wish.lazy_connection_enabled,
        auto_update_version=_version(wish.auto_update_version),
        auto_update_always=wish.auto_update_always,
        metrics_push_enabled=wish.metrics_push_enabled,
    )


def _login_expiration(seconds: int) -> timedelta:
    if seconds < _SHORTEST_LOGIN.total_seconds():
        raise InvalidArgument("peer login expiration can't be smaller than one hour")
    if seconds > _LONGEST_LOGIN.total_seconds():
        raise InvalidArgument("peer login expiration can't be larger than 180 days")
    return timedelta(seconds=seconds)


def _inactivity_expiration(seconds: int) -> timedelta:
    if not 0 <= seconds <= _LONGEST_LOGIN.total_seconds():
        raise InvalidArgument("peer inactivity expiration must be between 0 seconds and 180 days")
    return timedelta(seconds=seconds)


def _ipv4_range(text: str) -> IPv4Network:
    network = _range(text)
    if not isinstance(network, IPv4Network):
        raise InvalidArgument("network range must be an IPv4 address")
    if network.prefixlen > SMALLEST[4]:
        raise InvalidArgument(f"network range too small: minimum size is /{SMALLEST[4]} for IPv4")
    return network


def _ipv6_range(text: str) -> IPv6Network:
    network = _range(text)
    if not isinstance(network, IPv6Network):
        raise InvalidArgument("network range must be an IPv6 address")
    if network.prefixlen > SMALLEST[6]:
        raise InvalidArgument(f"network range too small: minimum size is /{SMALLEST[6]} for IPv6")
    return network


def _check_range(network: IPNetwork, servers: Mapping[IPAddress, str]) -> None:
    """Machines would refuse such a range, or lose this server."""
    if why := objection(network, servers):
        like = "100.64.0.0/16" if network.version == 4 else "fd12:3456:789a:1::/64"
        raise InvalidArgument(f"network range {network} cannot be used: {why}: choose another, like {like}")


def _range(text: str) -> IPv4Network | IPv6Network:
    if "/" not in text:
        raise InvalidArgument(f"invalid CIDR format: {text}: no '/'")
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"invalid CIDR format: {text}") from None


def _domain(text: str) -> str:
    if text and not is_domain(text):
        raise InvalidArgument(f'invalid domain "{text}" provided for DNS domain')
    return text


def _groups(state: AccountState, groups: Sequence[str]) -> frozenset[GroupID]:
    for group in groups:
        if group not in state.groups:
            raise InvalidArgument(f"ipv6 enabled group {group} does not exist")
    return frozenset(GroupID(group) for group in groups)


def _version(text: str) -> str:
    if text not in ("", "disabled", "latest") and not _VERSION.fullmatch(text):
        raise InvalidArgument(f"auto_update_version {text} is none of: disabled, latest, a version such as 1.2.3")
    return text
