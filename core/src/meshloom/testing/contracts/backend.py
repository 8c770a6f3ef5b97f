"""What core relies on in every backend, whatever its kind."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from meshloom.backend import AUTO, Backend

pytestmark = pytest.mark.anyio

IMPORTS = """
import sys
import anyio, attrs, cattrs, pluggy
import meshloom.plugins, meshloom.service, meshloom.model.state
before = set(sys.modules)
__import__(sys.argv[1])
own = sys.argv[1].partition(".")[0]
tops = {name.partition(".")[0] for name in set(sys.modules)} - {name.partition(".")[0] for name in before}
print(*sorted(tops - set(sys.stdlib_module_names) - {own, "meshloom"}))
"""


class BackendContract:
    """A subclass gives the fixtures ``backend`` and ``context``, and ``options`` where the defaults do not do."""

    @pytest.fixture
    def backend(self) -> Backend[Any, Any]:
        """The backend under test."""
        raise LookupError("override the fixture `backend`")

    @pytest.fixture
    def options(self, backend: Backend[Any, Any]) -> Any:
        """What it is opened with."""
        return backend.options()

    @pytest.fixture
    def context(self) -> Any:
        """Where it is opened."""
        raise LookupError("override the fixture `context`")

    def test_its_name_is_in_kebab_case(self, backend: Backend[Any, Any]) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", backend.name)
        assert backend.name not in (AUTO, "backend")

    def test_every_option_has_a_default(self, backend: Backend[Any, Any]) -> None:
        assert attrs.has(backend.options)
        backend.options()

    def test_importing_its_plugin_imports_only_what_core_does(self, backend: Backend[Any, Any]) -> None:
        package = backend.options.__module__.partition(".")[0]
        module = backend.options.__module__ if package == "meshloom" else package
        done = subprocess.run([sys.executable, "-c", IMPORTS, module], capture_output=True, text=True, check=True)
        assert done.stdout.split() == []

    def test_probing_changes_nothing(
        self, backend: Backend[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        environment, before = dict(os.environ), held()
        objection = backend.probe()
        assert objection is None or objection.strip()
        assert backend.probe() == objection
        assert (dict(os.environ), held(), list(tmp_path.iterdir())) == (environment, before, [])

    async def test_it_can_be_opened_again(self, backend: Backend[Any, Any], options: Any, context: Any) -> None:
        for _ in range(2):
            async with backend.open(options, context):
                pass

    async def test_a_body_that_raises_is_heard(self, backend: Backend[Any, Any], options: Any, context: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with backend.open(options, context):
                raise ZeroDivisionError

    async def test_a_cancelled_open_leaves_nothing(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        async with backend.open(options, context):
            """Once, so that what is kept for the whole process is there."""
        before = held()
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with backend.open(options, context):
                await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert held() == before
        async with backend.open(options, context):
            """It is not left locked or half made."""


def held() -> tuple[int, int]:
    """How many files and threads this process has."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - names are enough
