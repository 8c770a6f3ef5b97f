"""How all tests are run: how long Hypothesis searches, and in which order several processes take the tests.

Hypothesis searches longer where ``--hypothesis-profile=fuzz`` asks for it, as ``tools/fuzz`` does.
"""

import asyncio

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from meshloom.testing.loops import forgiving

TOGETHER = {
    "tests/mesh/namespaces/test_faults_agent.py",
    "tests/repo/test_distributions.py",
    "tests/services/agent/mesh/test_grid.py",
}
"""Files whose tests share what is dear to make, or build on one another: one process takes all of a file, in order."""

settings.register_profile("fuzz", max_examples=2_000, deadline=None, print_blob=True)


@pytest.fixture
def anyio_backend():
    """Asyncio alone: gRPC knows no other."""
    return "asyncio", {"loop_factory": forgiving(asyncio.SelectorEventLoop)}


def spread(some, others):
    """Both, each in its order, mixed evenly."""
    places = [(number / len(part), item) for part in (some, others) for number, item in enumerate(part)]
    return [item for _, item in sorted(places, key=lambda place: place[0])]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Spread the slow tests among the quick ones where several processes take tests (``-n``).

    The slow ones mostly wait for programs, and then leave the processors to the quick ones; in the order of the files,
    all processes would wait at once.
    """
    if hasattr(config, "workerinput"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = spread(slow, [item for item in items if not item.get_closest_marker("slow")])


class Scheduling(LoadScopeScheduling):
    """Each test goes to the first process that is free, but for those that stay together, which go first.

    By file, where ``xdist_group`` would do it by a mark: pytest-xdist 3.8 loses the mark with pytest 9.
    """

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)
