"""Relay messages over WebSocket, on the websockets library."""
