"""What all tests may use: a gateway before a sandbox, and a clock moved by hand."""

from collections.abc import AsyncIterator

import pytest

from tests.clock import HandClock
from tests.gate import Gate, open_gate


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gateway with its default settings."""
    async with open_gate() as opened:
        yield opened


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands still."""
    return HandClock()
