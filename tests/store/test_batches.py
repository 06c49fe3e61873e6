"""Batches as the gateway's people see them."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, update
from tests.store.things import NOW, OWNER, entry, job

from batchway.store import batches, jobs, requests
from batchway.store.batches import Count, Filter
from batchway.store.tables import jobs as jobs_table


def form(connection: Connection, number: int, **fields: object) -> None:
    """A job, finished if its state is `done`."""
    requests.save(connection, [entry(f"a-{number}")])
    finished = fields.get("state") == "done"
    jobs.form(connection, job(number, **fields | ({"state": "formed"} if finished else {})), [f"a-{number}"], OWNER)
    if finished:
        held = next(held for held in jobs.claim(connection, "me", 60, 99) if held.job.id == f"j-{number}")
        jobs.write(connection, held, replace(held.job, state="done", next_at=None))


def ids(connection: Connection, **which: object) -> list[str]:
    """What a search finds."""
    return [batch.job.id for batch in batches.search(connection, Filter(**which))]  # type: ignore[arg-type]


def test_a_batch_is_found_by_our_id_and_by_the_providers(connection: Connection) -> None:
    form(connection, 1, provider_batch_id="batch_abc", next_at=4e9)

    for batch_id in ("j-1", "batch_abc"):
        found = batches.find(connection, batch_id)
        assert found is not None
        assert (found.job.id, found.finished_at, found.hidden, found.owner) == ("j-1", None, False, None)
    assert batches.find(connection, "nothing") is None


def test_batches_are_searched(connection: Connection) -> None:
    form(connection, 1, state="done")
    form(connection, 2, state="submitted", next_at=4e9)
    form(connection, 3, provider="mistral", next_at=4e9)

    assert ids(connection) == ["j-3", "j-2", "j-1"]
    assert ids(connection, provider="openai") == ["j-2", "j-1"]
    assert ids(connection, states=("submitted", "formed")) == ["j-3", "j-2"]
    assert ids(connection, states=()) == []
    assert ids(connection, finished=True) == ["j-1"]
    assert ids(connection, finished=False) == ["j-3", "j-2"]
    assert ids(connection, created_before=NOW + 3) == ["j-2", "j-1"]
    assert ids(connection, ids=("j-1", "j-9")) == ["j-1"]


def test_a_batch_that_nobody_can_read_hides_no_other(connection: Connection) -> None:
    for number in range(1, 6):
        form(connection, number, next_at=4e9)
    connection.execute(update(jobs_table).where(jobs_table.c.id.in_(["j-5", "j-3"])).values(data=b"\xc1"))
    told: list[str] = []

    def found(limit: int) -> list[str]:
        read = batches.search(connection, Filter(), limit=limit, pass_over=lambda job_id, _: told.append(job_id))
        return [batch.job.id for batch in read]

    assert found(9) == ["j-4", "j-2", "j-1"]
    assert told == ["j-5", "j-3"]
    assert found(2) == ["j-4", "j-2"], "a page is as long as if they were not there"
    with pytest.raises(msgspec.DecodeError):
        ids(connection)


def test_pages_follow_each_other(connection: Connection) -> None:
    for number in range(1, 6):
        form(connection, number, created_at=NOW + number // 2, next_at=4e9)

    seen: list[str] = []
    while page := batches.search(connection, Filter(), limit=2, after=seen[-1] if seen else None):
        seen += [batch.job.id for batch in page]

    assert seen == ["j-5", "j-4", "j-3", "j-2", "j-1"]
    assert batches.search(connection, Filter(), after="nothing") == []


def test_a_hidden_batch_is_shown_to_who_asks_for_it(connection: Connection) -> None:
    form(connection, 1, next_at=4e9)

    assert batches.hide(connection, "j-1")
    assert not batches.hide(connection, "j-2")

    assert ids(connection) == []
    assert ids(connection, hidden=True) == ids(connection, hidden=None) == ["j-1"]
    assert batches.find(connection, "j-1").hidden  # type: ignore[union-attr]


def test_a_purge_hides_what_is_finished(connection: Connection) -> None:
    form(connection, 1, state="done")
    form(connection, 2, state="done")
    form(connection, 3, next_at=4e9)
    everything = Filter(created_before=NOW + 99)

    assert batches.purge(connection, everything, dry_run=True) == ["j-1", "j-2"]
    assert ids(connection) == ["j-3", "j-2", "j-1"]
    assert batches.purge(connection, replace(everything, ids=("j-2",))) == ["j-2"]
    assert batches.purge(connection, everything) == ["j-1"]
    assert ids(connection) == ["j-3"]


def test_a_holder_that_writes_does_not_show_it_again(connection: Connection) -> None:
    form(connection, 1)
    (held,) = jobs.claim(connection, "me", 60, 1)
    batches.hide(connection, "j-1")

    jobs.write(connection, held, held.job)

    assert batches.find(connection, "j-1").hidden  # type: ignore[union-attr]


def test_jobs_and_waiting_requests_are_counted(connection: Connection) -> None:
    form(connection, 1, tokens=5, next_at=4e9)
    form(connection, 2, tokens=6, next_at=4e9)
    form(connection, 3, next_at=4e9)
    batches.hide(connection, "j-3")
    requests.save(connection, [entry("a-8", tokens=7), entry("a-9", tokens=None, lane="direct", asked_at=NOW - 5)])
    requests.cancel(connection, "t", "a-3")

    common: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini"}
    formed = Count(state="formed", status="formed", n=2, tokens=11, oldest_at=NOW + 1, **common)
    assert batches.count_jobs(connection) == [formed]
    assert batches.count_active(connection) == 2
    assert batches.count_waiting(connection) == [
        Count(state="batch", n=1, tokens=7, oldest_at=NOW, **common),
        Count(state="direct", n=1, tokens=0, oldest_at=NOW - 5, **common),
        Count(state="in_job", n=2, tokens=24, oldest_at=NOW, **common),
    ]
