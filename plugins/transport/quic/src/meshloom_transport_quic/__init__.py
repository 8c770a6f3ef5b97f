"""Relay messages in QUIC datagrams (RFC 9221), on the aioquic library."""
