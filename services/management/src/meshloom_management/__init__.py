"""The control plane: accounts, policy, network maps; gRPC for peers and HTTP for people."""
