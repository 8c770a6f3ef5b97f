"""Groups: named sets of peers, what policies speak about."""

import attrs

from meshloom.model.fields import reference
from meshloom.model.ids import AccountID, GroupID, PeerID

ALL = "All"
"""Name of the group that holds every peer of the account."""


@attrs.frozen(kw_only=True)
class Group:
    """A named set of peers.

    Args:
        issued: Who made it: ``api``, ``jwt`` or ``integration``.
    """

    id: GroupID
    account_id: AccountID = reference("Account")
    name: str
    peers: frozenset[PeerID] = frozenset()
    issued: str = "api"

    @property
    def is_all(self) -> bool:
        """Whether it is the account's own group of all peers."""
        return self.name == ALL
