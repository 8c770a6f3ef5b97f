"""What Linux tunnels share: links and addresses, the raw socket beside WireGuard's port, changes of the network."""
