"""HTTP/2 as a server needs it for gRPC, without input and output (RFC 9113)."""
