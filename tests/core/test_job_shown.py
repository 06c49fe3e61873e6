"""What people see of a job: over when its rows are, and not before."""

from typing import Any

import pytest
from tests.store.things import job

from batchway.core.job import Wish


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"state": "formed"}, "formed"),
        ({"state": "submit_unknown"}, "submit_unknown"),
        ({"state": "submitted", "provider_batch_id": "b", "status": "validating"}, "validating"),
        ({"state": "submitted", "provider_batch_id": "b", "status": "unknown"}, "unknown"),
        ({"state": "submitted", "provider_batch_id": "b", "status": "cancelling"}, "cancelling"),
        ({"state": "ingesting", "provider_batch_id": "b", "status": "completed"}, "finalizing"),
        ({"state": "closing", "provider_batch_id": "b", "status": "expired"}, "expired"),
        ({"state": "closing", "provider_batch_id": "b", "status": "completed"}, "completed"),
        ({"state": "lost", "provider_batch_id": "b", "status": "running"}, "failed"),
        ({"state": "done", "provider_batch_id": "b", "status": "expired"}, "expired"),
        ({"state": "done", "provider_batch_id": "b", "status": "running"}, "failed"),
        ({"state": "done"}, "failed"),
    ],
)
def test_a_job_is_shown(fields: dict[str, Any], shown: str) -> None:
    assert job(**fields).shown == shown


def test_one_that_was_cancelled_before_it_was_sent() -> None:
    assert job(state="done", cancel=Wish(by="somebody", why="w", at=0.0)).shown == "cancelled"
