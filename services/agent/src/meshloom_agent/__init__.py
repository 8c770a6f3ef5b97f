"""The agent on each machine: a daemon that keeps the mesh, and the command line that speaks to it."""
