"""Relayed addresses of our own on TURN servers (RFC 8656)."""

from meshloom_agent.turn.client import TurnClient
from meshloom_agent.turn.server import TurnServer

__all__ = ["TurnClient", "TurnServer"]
