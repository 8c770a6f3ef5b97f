"""Doubles that keep the contracts of what they stand for, in memory, on any host."""
