"""Identifiers of entities: opaque text, made by the service that creates the entity."""

from typing import NewType

AccountID = NewType("AccountID", str)
UserID = NewType("UserID", str)
PeerID = NewType("PeerID", str)
GroupID = NewType("GroupID", str)
PolicyID = NewType("PolicyID", str)
SetupKeyID = NewType("SetupKeyID", str)
TokenID = NewType("TokenID", str)
