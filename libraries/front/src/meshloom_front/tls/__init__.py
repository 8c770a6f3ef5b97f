"""TLS on the server's own port."""
