"""Meshloom's core: what a plugin author imports first.

The contracts are in :mod:`meshloom.tunnel`, :mod:`meshloom.store` and :mod:`meshloom.bus`; the hooks that offer
implementations of them in :mod:`meshloom.hookspecs`.
"""

from meshloom.backend import Backend
from meshloom.hookspecs import hookimpl, hookspec

__all__ = ["Backend", "__version__", "hookimpl", "hookspec"]

__version__ = "0.1.0"
