"""Frozen values that every part of Meshloom speaks about: keys, identifiers, and the entities of an account."""
