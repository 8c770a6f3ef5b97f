"""Sans-IO protocols: bytes, events and ``now`` in; bytes, events and deadlines out. No clock, socket or randomness."""
