"""One TCP port for gRPC and HTTP, certificates, metrics and health: what every Meshloom server stands on."""
