"""What tests of the batch lane stand on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.batch.lane import Lane, open_lane


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    """A gateway whose batch lane is quick."""
    async with open_lane(tmp_path) as opened:
        yield opened
