"""Hypothesis searches longer where ``--hypothesis-profile=fuzz`` asks for it, as ``tools/fuzz`` does."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=2_000, deadline=None, print_blob=True)
