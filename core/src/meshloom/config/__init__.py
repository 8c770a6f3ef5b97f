"""Configuration: one TOML file a service, the environment and flags, structured strictly into attrs classes."""

from meshloom.config.keys import Key, key, keys_of
from meshloom.config.load import load, read_toml
from meshloom.config.secret import Secret
from meshloom.config.selection import Chosen, choose, choose_several

__all__ = ["Chosen", "Key", "Secret", "choose", "choose_several", "key", "keys_of", "load", "read_toml"]
