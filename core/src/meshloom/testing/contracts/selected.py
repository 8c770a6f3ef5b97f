"""The backend that the command line of a test run names, for the runnable contract modules."""

from pathlib import Path
from typing import Any

import pytest

from meshloom.backend import Backend
from meshloom.config import Chosen, choose, read_toml
from meshloom.plugins import Plugins


def chosen(config: pytest.Config, kind: str) -> Chosen[Any, Any]:
    """The backend of ``--meshloom-<kind>``, with its options from ``--meshloom-config``; skips where none is named."""
    name = config.getoption(f"--meshloom-{kind}")
    if not name:
        pytest.skip(f"no backend is named: give --meshloom-{kind} NAME")
    file = config.getoption("--meshloom-config")
    table = read_toml(Path(file)).get(kind, {}) if file else {}
    found = choose(Plugins().kinds()[kind], {**table, "backend": name})
    if objection := found.backend.probe():
        pytest.skip(f"{kind} backend {name} cannot run here: {objection}")
    return found


class Selected:
    """Fixtures that take backend and options from the command line; ``kind`` is the subclass's."""

    kind: str

    @pytest.fixture
    def backend(self, pytestconfig: pytest.Config) -> Backend[Any, Any]:
        """The backend under test."""
        return chosen(pytestconfig, self.kind).backend

    @pytest.fixture
    def options(self, pytestconfig: pytest.Config) -> Any:
        """Its options."""
        return chosen(pytestconfig, self.kind).options
