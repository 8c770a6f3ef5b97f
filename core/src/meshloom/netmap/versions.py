"""What agents of a version understand."""

from functools import lru_cache

from meshloom.model.peer import Peer
from meshloom.model.state import AccountState

PORT_RANGES = (0, 48)
"""Rules with ranges of ports."""
OWN_SSH_PORT = (0, 60)
"""The agent's SSH server listens on a port of its own, behind port 22."""
FORWARDER_PORT = (0, 59)
"""DNS is forwarded on a port of its own, so that port 5353 is left to multicast DNS."""

DNS_FORWARDER_PORT = 22054
OLD_DNS_FORWARDER_PORT = 5353


@lru_cache(maxsize=4096)
def version_at_least(version: str, least: tuple[int, int]) -> bool:
    """Whether an agent's version is that new; what is no number is a build of its developers, newer than all."""
    parts = version.lstrip("v").split("-")[0].split(".")
    try:
        return (int(parts[0]), int(parts[1])) >= least
    except (ValueError, IndexError):
        return True


def is_old_forwarder(peer: Peer | None) -> bool:
    """Whether a peer forwards DNS on the old port only."""
    return peer is not None and not version_at_least(peer.meta.agent_version, FORWARDER_PORT)


def dns_forwarder_port(state: AccountState) -> int:
    """The port for all peers of the account: the old one while any of them knows no other."""
    versions = {peer.meta.agent_version for peer in state.peers.values()}
    new = all(version_at_least(version, FORWARDER_PORT) for version in versions)
    return DNS_FORWARDER_PORT if new else OLD_DNS_FORWARDER_PORT
