"""Which role may do what."""

from collections.abc import Mapping
from enum import StrEnum

from meshloom.model.user import Role, User


class Operation(StrEnum):
    """What is done to a thing."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"


class Module(StrEnum):
    """Kinds of things that permissions speak of; also those of which this server offers no endpoint yet."""

    ACCOUNTS = "accounts"
    AGENT_NETWORK = "agent_network"
    AGENT_NETWORK_BUDGETS = "agent_network.budgets"
    AGENT_NETWORK_GUARDRAILS = "agent_network.guardrails"
    AGENT_NETWORK_LOGS = "agent_network.logs"
    AGENT_NETWORK_POLICIES = "agent_network.policies"
    AGENT_NETWORK_PROVIDERS = "agent_network.providers"
    AGENT_NETWORK_SETTINGS = "agent_network.settings"
    AGENT_NETWORK_USAGE = "agent_network.usage"
    DNS = "dns"
    EVENTS = "events"
    GROUPS = "groups"
    IDENTITY_PROVIDERS = "identity_providers"
    NAMESERVERS = "nameservers"
    NETWORKS = "networks"
    PATS = "pats"
    PEERS = "peers"
    POLICIES = "policies"
    REMOTE_JOBS = "remote_jobs"
    ROUTES = "routes"
    SERVICES = "services"
    SETTINGS = "settings"
    SETUP_KEYS = "setup_keys"
    USERS = "users"


Permissions = Mapping[Module, frozenset[Operation]]
Need = tuple[Module, Operation]
"""What an endpoint needs of its caller's role."""

_ALL = frozenset(Operation)
_READ = frozenset({Operation.READ})
_NOTHING: frozenset[Operation] = frozenset()

_NETWORK_ADMIN_ALL = {
    Module.DNS,
    Module.GROUPS,
    Module.NAMESERVERS,
    Module.NETWORKS,
    Module.PATS,
    Module.POLICIES,
    Module.ROUTES,
}
_NETWORK_ADMIN_READ = {
    Module.ACCOUNTS,
    Module.EVENTS,
    Module.IDENTITY_PROVIDERS,
    Module.PEERS,
    Module.SETTINGS,
    Module.SETUP_KEYS,
    Module.USERS,
}


def _network_admin(module: Module) -> frozenset[Operation]:
    if module in _NETWORK_ADMIN_ALL:
        return _ALL
    return _READ if module in _NETWORK_ADMIN_READ else _NOTHING


_ROLES: Mapping[Role, Permissions] = {
    Role.OWNER: dict.fromkeys(Module, _ALL),
    Role.ADMIN: {module: _READ if module is Module.ACCOUNTS else _ALL for module in Module},
    Role.NETWORK_ADMIN: {module: _network_admin(module) for module in Module},
    Role.AUDITOR: dict.fromkeys(Module, _READ),
    Role.USER: dict.fromkeys(Module, _NOTHING),
    Role.BILLING_ADMIN: {},
}


def permissions_of(user: User) -> Permissions:
    """What the user may do. A machine without a special role may look at everything: it has nothing of its own."""
    if user.is_service_user and user.role is Role.USER:
        return _ROLES[Role.AUDITOR]
    return _ROLES[user.role]


def may(user: User, module: Module, operation: Operation) -> bool:
    """Whether the user's role allows it."""
    return operation in permissions_of(user).get(module, _NOTHING)


def covers(caller: User, other: User) -> bool:
    """Whether the caller may do everything that the other user may; only then does a token of the other add nothing."""
    held = permissions_of(caller)
    return all(operations <= held.get(module, _NOTHING) for module, operations in permissions_of(other).items())


def denial(user: User) -> str:
    """What to tell whom it is not allowed."""
    if _ROLES[user.role]:
        return "permission denied"
    return f"failed to validate user permissions: user role: {user.role} not found"
