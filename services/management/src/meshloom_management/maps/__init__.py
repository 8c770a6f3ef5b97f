"""Network maps in their encoded form, spliced from parts that are encoded once.

The encoding of a repeated protobuf field is that of its items, one after the other; so a map is a join of bytes.
"""

from meshloom_management.maps.builder import MapBuilder
from meshloom_management.maps.fragments import Fragments

__all__ = ["Fragments", "MapBuilder"]
