"""One gateway for all tests that want nothing special of it: starting one costs more than most tests do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.gate import Gate, open_gate, until

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share a loop, so that they may share a gateway."""
    for item in items:
        if HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared() -> AsyncIterator[Gate]:
    """A gateway with its default settings. Tests use `gate`."""
    async with open_gate() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def gate(shared: Gate) -> AsyncIterator[Gate]:
    """A gateway with its default settings, nothing under way, nothing remembered but its totals."""
    yield shared
    shared.sandbox.faults.switch_off()
    await until(lambda: shared.under_way(0)() and shared.waiting(0)())
    memory = shared.gateway.planner.memory
    for shelf in (memory.cache, memory.undelivered, memory.named):
        shelf.clear()
    shared.sandbox.ledger.clear()
