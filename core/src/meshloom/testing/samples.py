"""Entities for tests, valid but for what a test says."""

import hashlib
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from meshloom.model.account import Account, Settings
from meshloom.model.group import Group
from meshloom.model.ids import AccountID, GroupID, PeerID, PolicyID, SetupKeyID, TokenID, UserID
from meshloom.model.keys import PublicKey
from meshloom.model.peer import Peer, PeerMeta
from meshloom.model.policy import Policy, PortRange, Protocol, Rule
from meshloom.model.setup_key import SetupKey, SetupKeyType
from meshloom.model.user import PersonalAccessToken, Role, User

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
ACCOUNT = AccountID("account")


def public_key(seed: str) -> PublicKey:
    """A key that the seed decides."""
    return PublicKey.of(hashlib.sha256(seed.encode()).digest())


def account(id: str = ACCOUNT, **more: Any) -> Account:
    """An account with default settings."""
    settings = Settings(IPv4Network("100.64.0.0/16"), IPv6Network("fd12:3456::/64"))
    return Account(AccountID(id), **{"created_at": MOMENT, "created_by": "user", "settings": settings, **more})


def user(id: str = "user", **more: Any) -> User:
    """A user who owns the account."""
    return User(**{"id": UserID(id), "account_id": ACCOUNT, "role": Role.OWNER, "email": f"{id}@example.test", **more})


def token(id: str = "token", **more: Any) -> PersonalAccessToken:
    """A token of ``user``."""
    fields = {"id": TokenID(id), "account_id": ACCOUNT, "user_id": UserID("user"), "hashed": _hash(id), "name": id}
    times = {"created_at": MOMENT, "created_by": UserID("user"), "expires_at": MOMENT + timedelta(days=30)}
    return PersonalAccessToken(**{**fields, **times, **more})


def group(id: str = "group", **more: Any) -> Group:
    """A group of two peers."""
    peers = frozenset({PeerID("peer"), PeerID("other")})
    return Group(**{"id": GroupID(id), "account_id": ACCOUNT, "name": id, "peers": peers, **more})


def policy(id: str = "policy", **more: Any) -> Policy:
    """A policy with every kind of value in its rule."""
    rule = Rule(
        id=id,
        name=id,
        protocol=Protocol.TCP,
        ports=("22", "80"),
        port_ranges=(PortRange(1000, 2000),),
        sources=frozenset({GroupID("a"), GroupID("b")}),
        destination_peer=PeerID("peer"),
        authorized_groups={GroupID("a"): ("root",)},
    )
    return Policy(**{"id": PolicyID(id), "account_id": ACCOUNT, "name": id, "rules": (rule,), **more})


def setup_key(id: str = "key", **more: Any) -> SetupKey:
    """A reusable key without an end."""
    fields = {"id": SetupKeyID(id), "account_id": ACCOUNT, "hashed": _hash(id), "hint": "ABCDE****", "name": id}
    times = {"created_at": MOMENT, "updated_at": MOMENT, "expires_at": None}
    return SetupKey(**{**fields, "type": SetupKeyType.REUSABLE, **times, **more})


def peer(id: str = "peer", **more: Any) -> Peer:
    """A peer whose key its id decides."""
    addresses = {"ip": IPv4Address("100.64.0.1"), "ipv6": IPv6Address("fd12:3456::1")}
    meta = PeerMeta(hostname=id, network_addresses=(("192.0.2.1/24", ""),), capabilities=frozenset({1, 2}))
    fields = {"id": PeerID(id), "account_id": ACCOUNT, "key": public_key(id), "name": id, "dns_label": id, "meta": meta}
    times = {"created_at": MOMENT, "last_login": MOMENT, "last_seen": MOMENT}
    return Peer(**{**fields, **addresses, **times, **more})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
