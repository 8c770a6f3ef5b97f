"""The pytest plugin: names the backends that the shipped contract suites are run on.

``pytest --pyargs meshloom.testing.contracts --meshloom-store NAME`` runs the store's suite on an installed backend.
This module is loaded into every pytest run where core is installed, so it imports nothing but pytest.
"""

import pytest

pytest.register_assert_rewrite("meshloom.testing.contracts")

KINDS = ("bus", "store", "transport", "tunnel")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option for each kind, and the backends' options."""
    group = parser.getgroup("meshloom", "Meshloom's contract suites")
    for kind in KINDS:
        group.addoption(
            f"--meshloom-{kind}", metavar="NAME", help=f"run the {kind} contract on the installed backend NAME"
        )
    group.addoption(
        "--meshloom-config", metavar="FILE", help="take the backends' options from the tables [<kind>.<name>] of FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marks that the suites use."""
    config.addinivalue_line("markers", "privileged: needs root; works in network namespaces of its own")
