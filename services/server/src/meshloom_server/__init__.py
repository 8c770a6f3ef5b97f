"""Management, signal, relay and STUN in one process."""
