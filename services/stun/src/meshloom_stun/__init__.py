"""The STUN service: tells a host its address as seen from outside (RFC 8489)."""
