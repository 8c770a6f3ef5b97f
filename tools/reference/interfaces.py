"""Hooks with the contracts of what they offer, and the HTTP API."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from workspace import code, table

from meshloom import hookspecs
from meshloom_management.api.endpoints import description

ROLE = re.compile(r":\w+:`~?([^`]+)`")


def hooks() -> str:
    """The page of hooks."""
    parts = [f"# Hooks\n\n{_text(hookspecs.__doc__ or '')}\n"]
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction):
        if hasattr(hook, "meshloom_spec"):
            doc = hook.__doc__ or ""
            parts.append(f"## {name}\n\n```python\ndef {name}{_signature(hook)}\n```\n\n{_text(doc)}\n")
            for contract in re.findall(r"contract: :class:`([\w.]+)`", doc):
                parts += _contract(contract)
    return "\n".join(parts)


def _signature(function: Any) -> str:
    """As it is written, without ``self`` and without the quotes around late annotations."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)), function
    node.args.args = [each for each in node.args.args if each.arg != "self"]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}".replace("'", "")


def _contract(path: str) -> Iterator[str]:
    module, _, name = path.rpartition(".")
    contract = getattr(importlib.import_module(module), name)
    yield f"### Contract {code(path)}\n\n{_text(inspect.getdoc(contract) or '')}\n"
    rows = []
    for each in vars(contract):
        member = inspect.getattr_static(contract, each)
        function = member.fget if isinstance(member, property) else member
        if not each.startswith("_") and callable(function):
            signature = "" if isinstance(member, property) else _signature(function)
            rows.append((code(each + signature), _text(inspect.getdoc(function) or "")))
    yield table(("Method", "Promise"), rows)


def _text(doc: str) -> str:
    return ROLE.sub(r"`\1`", inspect.cleandoc(doc)).replace("``", "`")


def http_api() -> str:
    """The page of the HTTP API."""
    document = description()
    rows: dict[str, list[tuple[str, ...]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = _named(operation.get("requestBody"))
            answer = _named(next(iter(operation["responses"].values())))
            who = "anyone" if operation.get("security") == [] else "token"
            row = (code(f"{method.upper()} {path}"), operation["summary"], who, code(body), code(answer))
            rows.setdefault(operation["tags"][0], []).append(row)
    head = (
        "# HTTP API\n\nIn NetBird's shapes. `meshloom-server openapi` prints the whole document, with the fields of\n"
        "every body. A personal access token goes into the header `Authorization: Token TOKEN`. A path that is not\n"
        "listed answers 404.\n"
    )
    parts = [head]
    for tag, lines in rows.items():
        parts.append(f"## {tag}\n\n" + table(("Request", "Does", "Who", "Body", "Answer"), lines))
    return "\n".join(parts)


def _named(part: Any) -> str:
    """The name of the schema that a body or an answer has."""
    found = re.search(r"#/components/schemas/(\w+)'}(, 'type': 'array')?", str(part)) if part else None
    is_list = found is not None and "'array'" in str(part)
    return f"{found[1]}{'[]' if is_list else ''}" if found else ""
