"""How the runnable contract modules run: on asyncio, as services do."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio."""
    return "asyncio"
