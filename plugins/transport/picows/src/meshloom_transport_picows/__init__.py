"""Relay messages over WebSocket, on the picows library: the same wire, several times faster."""
