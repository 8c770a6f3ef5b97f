"""One TCP port for gRPC and HTTP, certificates, metrics and health: what every Meshloom server stands on."""

import os

# Read by grpc when it is imported. Its newer listener hands each message from thread to thread: a quarter more CPU time
# for small ones. A grpc that does not know the name says so in its log and goes on.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
