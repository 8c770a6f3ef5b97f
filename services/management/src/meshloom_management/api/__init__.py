"""The HTTP API, in the shapes of NetBird."""
