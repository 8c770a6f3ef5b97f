"""SSH servers of agents: where policies switch them on, and who may log in as whom."""

from collections.abc import Iterable, Mapping

import attrs

from meshloom.model.ids import GroupID, UserID
from meshloom.model.peer import Peer
from meshloom.model.policy import Protocol, Rule
from meshloom.model.state import AccountState
from meshloom.netmap.reach import EffectiveRule

ANY_LOGIN = "*"
"""Any user of the operating system."""
SSH_PORT = 22


@attrs.frozen
class SSHAccess:
    """What a peer's SSH server is told.

    Args:
        enabled: Whether it shall run.
        logins: Who may become which user of the operating system.
    """

    enabled: bool
    logins: Mapping[str, frozenset[UserID]] = attrs.field(factory=dict)


def covers_port(rule: Rule, port: int) -> bool:
    """Whether a rule that names ports names this one."""
    return str(port) in rule.ports or any(span.start <= port <= span.end for span in rule.port_ranges)


def speaks_of_ssh(rule: Rule, peer: Peer) -> bool:
    """Whether a rule towards a peer lets people log in there."""
    if rule.protocol is Protocol.NETBIRD_SSH:
        return True
    if not peer.ssh_enabled:
        return False
    return rule.protocol is Protocol.ALL or (rule.protocol is Protocol.TCP and covers_port(rule, SSH_PORT))


def ssh_access(state: AccountState, peer: Peer, towards: Iterable[EffectiveRule]) -> SSHAccess:
    """What the rules that have the peer as their destination mean for its SSH server."""
    enabled = peer.ssh_enabled
    logins: dict[str, frozenset[UserID]] = {}
    for effective in towards:
        rule = effective.rule
        if not speaks_of_ssh(rule, peer):
            continue
        enabled = True
        named = rule.authorized_groups if rule.protocol is Protocol.NETBIRD_SSH else {}
        for group, names in named.items():
            for name in names or (ANY_LOGIN,):
                logins[name] = logins.get(name, frozenset()) | _people(state, group)
        if not named:
            logins[ANY_LOGIN] = _people(state)
    return SSHAccess(enabled and peer.meta.flags.server_ssh_allowed, logins)


def _people(state: AccountState, group: GroupID | None = None) -> frozenset[UserID]:
    """Users who can log in; those whose peers join a group, where one is named."""
    return frozenset(
        UserID(user.id)
        for user in state.users.values()
        if not user.is_service_user and not user.is_blocked and (group is None or group in user.auto_groups)
    )
