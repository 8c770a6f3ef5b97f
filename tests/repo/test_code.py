"""Rules of the code: what can be read from it without running it."""

import ast
import importlib
import itertools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
FILES = [ROOT / name for name in LISTED.split("\n") if name and (ROOT / name).exists() and "_pb2" not in name]
SOURCES = [file for file in FILES if "src" in file.parts]
TESTS = [file for file in FILES if file.is_relative_to(ROOT / "tests")]


def tree(file):
    return ast.parse(file.read_text(), str(file))


def module(file):
    parts = file.with_suffix("").parts
    parts = parts[len(parts) - parts[::-1].index("src") :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def called(node):
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def where(file, node):
    return f"{file.relative_to(ROOT)}:{node.lineno}"


def test_every_module_says_what_it_is():
    assert [str(file.relative_to(ROOT)) for file in FILES if not ast.get_docstring(tree(file))] == []


def test_every_folder_of_modules_is_a_package():
    folders = {file.parent for file in SOURCES if file.parent.name != "versions"}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def exporting():
    """Modules with ``__all__``, and that list as it is written."""
    for file in SOURCES:
        for node in tree(file).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                yield file, ast.literal_eval(node.value)


def test_what_a_module_exports_is_there():
    found = list(exporting())
    assert len(found) > 5
    for file, names in found:
        made = importlib.import_module(module(file))
        assert [name for name in names if not hasattr(made, name)] == [], file
        assert len(names) == len(set(names)), file


def test_a_package_exports_what_it_gathers():
    """What ``__init__`` imports from its own submodules it exports; nothing is there by accident."""
    for file, names in exporting():
        own = module(file)
        gathered = {
            alias.asname or alias.name
            for node in tree(file).body
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{own}.")
            for alias in node.names
        }
        assert {name for name in gathered if not name.startswith("_")} <= set(names), file


def test_no_test_waits_for_a_time():
    """It waits for a condition, with a deadline. A sleep inside a loop that asks is part of such a wait."""
    found = []
    for file in [file for file in TESTS if "benchmarks" not in file.parts]:  # a load may well take its time
        whole = tree(file)
        loops = [node for node in ast.walk(whole) if isinstance(node, (ast.While, ast.For, ast.AsyncFor))]
        within = {id(each) for loop in loops for each in ast.walk(loop)}
        for node in ast.walk(whole):
            is_sleep = re.fullmatch(r"(time|asyncio|anyio|trio)\.sleep|sleep", called(node))
            if is_sleep and id(node) not in within and ast.unparse(node.args[0]) not in ("0", "3600", "inf"):
                found.append(where(file, node))
    assert found == []


BINDING = {
    *("bind", "create_server", "start_server", "create_datagram_endpoint", "create_tcp_listener", "create_udp_socket"),
}


def fixed_ports(node):
    """Ports that are written where a call binds them, and fixtures whose ports another process may take."""
    if called(node).rpartition(".")[2] in BINDING:
        named = {each.arg: ast.unparse(each.value) for each in node.keywords}
        places = [*map(ast.unparse, node.args), named.get("local_addr", ""), f"(_, {named.get('local_port', 0)})"]
        yield from (place for place in places if re.fullmatch(r"\(.*, [1-9]\d*\)", place))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from (each.arg for each in node.args.args if re.match("free_(tcp|udp)_port", each.arg))


def test_no_test_binds_a_port_that_another_process_of_tests_could_have():
    shared = [file for file in TESTS if "import own_address" not in file.read_text()]
    found = [where(file, node) for file in shared for node in ast.walk(tree(file)) if [*fixed_ports(node)]]
    assert found == [], "give meshloom.testing.ports's free_port() or own_address()"


@pytest.mark.parametrize(
    "mistake",
    [
        "bind(('127.0.0.1', 5351))",
        "loop.create_datagram_endpoint(make, local_addr=(ROUTER, 53))",
        "anyio.create_tcp_listener(local_port=80)",
        "async def test_something(free_tcp_port): ...",
    ],
)
def test_a_port_that_is_fixed_is_found(mistake):
    assert [port for node in ast.walk(ast.parse(mistake)) for port in fixed_ports(node)]


def test_doubles_are_fakes_not_mocks():
    names = "unittest." + "mock"
    assert [
        str(file)
        for file in FILES
        if re.search(rf"{names}|from unittest import mock|\bMagicMock\b", file.read_text()) and file != Path(__file__)
    ] == []


def test_nothing_is_left_for_later():
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|[Nn]ot (yet )?implemented")
    found = []
    for file in [file for file in FILES if file != Path(__file__) and "contracts" not in file.parts]:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if words.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_programs_print_by_one_function_only():
    """What else writes to a terminal hands others' words on as they are."""
    printing = re.compile(r"print|(click|rich)\.(\w*echo\w*|prompt|confirm|pager)|sys\.(__)?std(out|err)(__)?\.\w+")
    found = [
        where(file, node)
        for file in SOURCES
        if "testing" not in file.parts and file.name != "terminal.py"
        for node in ast.walk(tree(file))
        if printing.fullmatch(called(node))
    ]
    assert found == []


def test_every_log_handler_has_the_format_of_one_printable_line():
    found = [
        where(file, node)
        for file in SOURCES
        if file.name != "log_lines.py"
        for node in ast.walk(tree(file))
        if called(node).endswith((".setFormatter", "logging.Formatter"))
        or (called(node) == "logging.basicConfig" and "log_to(" not in ast.unparse(node))
    ]
    assert found == []


def test_core_and_plugins_do_not_configure_logging():
    configuring = {
        file: [
            node for node in ast.walk(tree(file)) if called(node).startswith(("logging.basicConfig", "logging.config"))
        ]
        for file in SOURCES
    }
    found = [file.relative_to(ROOT) for file, calls in configuring.items() if calls]
    assert found, "somebody must"
    assert [file for file in found if file.parts[0] in ("core", "plugins")] == []


def test_loggers_are_named_after_their_modules():
    for file in SOURCES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("_log", "log", "logger", "_logger"):
                assert ast.unparse(node.value) == "logging.getLogger(__name__)", where(file, node)


def test_no_task_is_forgotten():
    """A task that nobody holds may vanish, and its error with it."""
    found = [
        where(file, node)
        for file in SOURCES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Expr) and called(node.value).endswith(("create_task", "ensure_future"))
    ]
    assert found == []


def test_tests_repeat_the_tree_of_what_they_test():
    folders = {file.parent.relative_to(ROOT / "tests") for file in TESTS}
    strange = []
    for folder in sorted(folders):
        top, *rest = folder.parts or ("",)
        if top in ("core", "services", "libraries"):
            member = ROOT / top / (rest[0] if rest and top != "core" else "")
            inner = rest if top == "core" else rest[1:]
            package = (
                next((each for each in (member / "src").glob("meshloom*")), None) if rest or top == "core" else member
            )
            known = package is not None and all(
                (package.joinpath(*inner[:depth])).is_dir()
                or (package.joinpath(*inner[:depth])).with_suffix(".py").exists()
                for depth in range(1, len(inner) + 1)
            )
            if not known:
                strange.append(str(folder))
        elif top == "plugins" and len(rest) >= 2 and not (ROOT / "plugins" / rest[0] / rest[1]).is_dir():
            strange.append(str(folder))
    assert strange == []


def test_names_of_tests_are_not_twice_in_a_file():
    """The second would hide the first."""
    for file in TESTS:
        for scope in [tree(file), *(node for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef))]:
            names = [node.name for node in scope.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
            twice = [name for name, group in itertools.groupby(sorted(names)) if len(list(group)) > 1]
            assert twice == [], file


def functions(files):
    for file in files:
        for node in ast.walk(tree(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield file, node


def test_every_test_can_fail():
    """It asserts, expects an error, or calls what does, directly or by others. Properties also fail by any error."""
    everything = list(functions([*TESTS, *(file for file in SOURCES if "testing" in file.parts)]))
    names = {node: {name for each in ast.walk(node) for name in _names(each)} for _, node in everything}
    judges = {"assert", "raises", "warns", "wait_until", "AssertionError"}
    while more := {node.name for _, node in everything if node.name not in judges and judges & names[node]}:
        judges |= more
    found = [
        where(file, node)
        for file, node in everything
        if node.name.startswith("test_") and node.name not in judges
        if not any(called(each) == "given" for each in node.decorator_list)
    ]
    assert found == []


def _names(node):
    if isinstance(node, ast.Assert):
        yield "assert"
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, (ast.Name, ast.arg)):
        yield node.id if isinstance(node, ast.Name) else node.arg
