"""An account: the tenant that owns users, peers, groups and policies, with its settings and its overlay network."""

from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

import attrs

from meshloom.model.ids import AccountID, GroupID


@attrs.frozen
class Settings:
    """What an administrator decides for the whole account.

    Args:
        dns_domain: Domain of the peers' names; empty for the server's default.
        network_range: Overlay addresses of IPv4 come from here.
        network_range_v6: Overlay addresses of IPv6 come from here.
        ipv6_enabled_groups: Peers in these groups get an IPv6 overlay address.
        peer_login_expiration: How long a user's login on a peer lasts.
        auto_update_version: ``disabled``, ``latest`` or an exact version for agents to install.
    """

    network_range: IPv4Network
    network_range_v6: IPv6Network
    dns_domain: str = ""
    ipv6_enabled_groups: frozenset[GroupID] = frozenset()
    peer_login_expiration_enabled: bool = True
    peer_login_expiration: timedelta = timedelta(hours=24)
    peer_inactivity_expiration_enabled: bool = False
    peer_inactivity_expiration: timedelta = timedelta(minutes=10)
    regular_users_view_blocked: bool = True
    groups_propagation_enabled: bool = True
    routing_peer_dns_resolution_enabled: bool = True
    lazy_connection_enabled: bool = True
    auto_update_version: str = "disabled"
    auto_update_always: bool = False
    metrics_push_enabled: bool = False


@attrs.frozen
class Account:
    """A tenant.

    Args:
        serial: Grows with every change that any peer's network map may show; the maps' serial.
    """

    id: AccountID
    created_at: datetime
    created_by: str
    settings: Settings
    domain: str = ""
    serial: int = 1
