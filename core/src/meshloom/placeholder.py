"""What stands for a value in help: ``--listen HOST:PORT`` in place of ``--listen TEXT``."""

import types
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any

BY_NAME = {
    "url": "URL",
    "urls": "URL",
    "listen": "HOST:PORT",
    "metrics": "HOST:PORT",
    "port": "PORT",
    "level": "LEVEL",
    "address": "ADDRESS",
    "addr": "ADDRESS",
    "domain": "DOMAIN",
    "range": "NETWORK",
    "v6": "NETWORK",
    "proxies": "NETWORK",
    "dir": "FOLDER",
    "file": "FILE",
    "key": "KEY",
    "hostname": "NAME",
    "name": "NAME",
    "names": "NAME",
    "user": "USER",
}
"""By the last word of a key's or an option's name."""
BY_TYPE: dict[Any, str] = {int: "NUMBER", float: "NUMBER", bool: "true|false", timedelta: "DURATION", Path: "FILE"}


def placeholder(name: str, kind: Any = str) -> str:
    """Returns the word for a value, by the name of its key and its type; several of them end with an ellipsis."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    last = name.replace("-", "_").replace(".", "_").rpartition("_")[2]
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return f"{placeholder(name, inner[0])},..."
    if kind is Path:
        return "FOLDER" if last == "dir" else "FILE"
    return BY_NAME.get(last) or BY_TYPE.get(kind, "VALUE")
