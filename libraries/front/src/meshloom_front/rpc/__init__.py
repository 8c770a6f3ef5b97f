"""A gRPC server on the port's own connections: what the services are called through."""
