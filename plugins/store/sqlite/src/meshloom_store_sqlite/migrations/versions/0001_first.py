"""The schema of version 0.1."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table("accounts", _id(), _body())
    for table in ("users", "groups", "policies"):
        op.create_table(table, _id(), _account(), _body())
    op.create_table("personal_access_tokens", _id(), _account(), _refers("user_id", "users"), _text("hashed"), _body())
    op.create_table("setup_keys", _id(), _account(), _text("hashed"), _body())
    op.create_table("peers", _id(), _account(), _text("key"), _body())
    for table in ("users", "groups", "policies", "personal_access_tokens", "setup_keys", "peers"):
        op.create_index(f"ix_{table}_account_id", table, ["account_id"])
    op.create_index("ix_personal_access_tokens_user_id", "personal_access_tokens", ["user_id"])
    op.create_index("ix_personal_access_tokens_hashed", "personal_access_tokens", ["hashed"], unique=True)
    op.create_index("ix_setup_keys_hashed", "setup_keys", ["hashed"], unique=True)
    op.create_index("ix_peers_key", "peers", ["key"], unique=True)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.Text, primary_key=True, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _body() -> sa.Column[str]:
    return _text("body")


def _account() -> sa.Column[str]:
    return _refers("account_id", "accounts")


def _refers(name: str, table: str) -> sa.Column[str]:
    target = sa.ForeignKey(f"{table}.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    return sa.Column(name, sa.Text, target, nullable=False)
