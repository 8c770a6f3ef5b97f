"""Peers: enrolled machines as the control plane knows them."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

import attrs

from meshloom.model.fields import indexed, reference
from meshloom.model.ids import AccountID, PeerID, UserID
from meshloom.model.keys import PublicKey


@attrs.frozen
class PeerFlags:
    """Switches that the machine's user set on it, as it reports them."""

    rosenpass_enabled: bool = False
    rosenpass_permissive: bool = False
    server_ssh_allowed: bool = False
    disable_client_routes: bool = False
    disable_server_routes: bool = False
    disable_dns: bool = False
    disable_firewall: bool = False
    block_lan_access: bool = False
    block_inbound: bool = False
    lazy_connection_enabled: bool = False
    disable_ipv6: bool = False


@attrs.frozen
class PeerMeta:
    """What a machine reports of itself (wire: ``PeerSystemMeta``)."""

    hostname: str = ""
    go_os: str = ""
    kernel: str = ""
    core: str = ""
    platform: str = ""
    os: str = ""
    os_version: str = ""
    kernel_version: str = ""
    agent_version: str = ""
    ui_version: str = ""
    serial_number: str = ""
    product_name: str = ""
    manufacturer: str = ""
    network_addresses: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bool, bool], ...] = ()
    flags: PeerFlags = PeerFlags()
    capabilities: frozenset[int] = frozenset()


@attrs.frozen(kw_only=True)
class Peer:
    """An enrolled machine.

    Args:
        name: Shown to people; the host name until renamed.
        dns_label: First label of its name in the account's domain, unique in the account.
        user_id: Who enrolled it by logging in; None where a setup key did.
        ephemeral: Removed some time after it was last connected.
        connected: Whether its update stream is open, as last written; ``last_seen`` goes with it.
        proves: Whether it is an agent that proves that its requests are fresh; from then on none counts without.
    """

    id: PeerID
    account_id: AccountID = reference("Account")
    key: PublicKey = indexed(unique=True)
    ip: IPv4Address
    ipv6: IPv6Address | None
    name: str
    dns_label: str
    meta: PeerMeta
    created_at: datetime
    last_login: datetime
    last_seen: datetime
    user_id: UserID | None = None
    setup_key_id: str = ""
    ssh_key: str = ""
    ssh_enabled: bool = False
    ephemeral: bool = False
    connected: bool = False
    connection_ip: str = ""
    login_expiration_enabled: bool = False
    inactivity_expiration_enabled: bool = False
    login_expired: bool = False
    extra_dns_labels: tuple[str, ...] = ()
    proves: bool = False
