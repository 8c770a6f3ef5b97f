"""Forwards messages between peers that have no direct path."""
