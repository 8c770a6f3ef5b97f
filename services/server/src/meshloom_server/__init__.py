"""Management, signal and STUN in one process."""
