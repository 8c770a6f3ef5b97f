"""WireGuard in the kernel, configured over netlink."""
