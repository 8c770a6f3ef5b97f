"""Setup keys: pre-authorised enrolment of machines."""

from datetime import datetime
from enum import StrEnum

import attrs

from meshloom.model.fields import indexed, reference
from meshloom.model.ids import AccountID, GroupID, SetupKeyID


class SetupKeyType(StrEnum):
    """How often a key may be used."""

    REUSABLE = "reusable"
    ONE_OFF = "one-off"


@attrs.frozen(kw_only=True)
class SetupKey:
    """A secret that enrols machines, kept as its hash only.

    Args:
        hashed: Hexadecimal SHA-256 of the key's upper-case text: what a key is found by.
        hint: What may be shown of the key after its making (its first characters, the rest masked).
        usage_limit: How many machines it may enrol; 0 for no limit.
        expires_at: None for never.
    """

    id: SetupKeyID
    account_id: AccountID = reference("Account")
    hashed: str = indexed(unique=True, repr=False)
    hint: str
    name: str
    type: SetupKeyType
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    auto_groups: tuple[GroupID, ...] = ()
    usage_limit: int = 0
    used_times: int = 0
    last_used: datetime | None = None
    revoked: bool = False
    ephemeral: bool = False
    allow_extra_dns_labels: bool = False

    def is_used_up(self) -> bool:
        """Whether its uses are spent."""
        return 0 < self.usage_limit <= self.used_times

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at

    def is_valid(self, now: datetime) -> bool:
        """Whether it may enrol one more machine."""
        return not (self.revoked or self.is_used_up() or self.is_expired(now))
