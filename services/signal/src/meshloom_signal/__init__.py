"""The signal service: forwards sealed messages between agents that are connected now, and keeps nothing."""
