"""A job is taken by one at a time, and whoever lost it writes nothing."""

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, update
from tests.store.forming import claim, form, land, lapse
from tests.store.things import NOW, OWNER, entry, job, request, result

from batchway.core.job.facts import CancelAsked
from batchway.core.types import Prompt
from batchway.store import answers, events, jobs, requests
from batchway.store.jobs import JobRow, OpenRow
from batchway.store.tables import jobs as table

WISH = CancelAsked(by="admin", why="changed our mind", then="requeue")


def test_a_job_comes_back_as_it_was_formed(connection: Connection) -> None:
    asks = form(connection, content_hash="abc", cancel=None, strays=())

    assert jobs.load(connection, "j-1") == job(n=3, content_hash="abc")
    assert jobs.rows(connection, "j-1") == [JobRow(position=place, ask=ask) for place, ask in enumerate(asks)]
    assert jobs.load(connection, "j-2") is None


def test_forming_counts_as_one_more_job_for_its_requests(connection: Connection) -> None:
    form(connection, attempt=2)

    found = requests.load_many(connection, ["a-1-0"])["a-1-0"]
    assert (found.job_id, found.attempts) == ("j-1", 2)


@pytest.mark.parametrize("lost", ["answered", "taken over", "in a job", "unknown"])
def test_a_job_is_formed_of_the_owners_waiting_requests_or_not_at_all(connection: Connection, lost: str) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2", owner="owner-2" if lost == "taken over" else OWNER)])
    if lost == "answered":
        answers.add(connection, [result("a-2")])
    if lost == "in a job":
        jobs.form(connection, job(9), ["a-2"], OWNER)
    asks = ["a-1", "a-3"] if lost == "unknown" else ["a-1", "a-2"]

    assert jobs.form(connection, job(n=2), asks, OWNER) == asks[1:]

    assert jobs.load(connection, "j-1") is None
    assert requests.load_many(connection, ["a-1"])["a-1"].job_id is None


def test_a_job_is_taken_once_until_it_is_let_go_of(connection: Connection) -> None:
    form(connection)
    held = claim(connection)

    assert jobs.claim(connection, "other", 3600, 10) == []
    assert jobs.write(connection, held, replace(held.job, polls=1))
    again = claim(connection, "other")

    assert (again.job.polls, again.fence) == (1, held.fence + 1)
    assert again.lease_until - again.taken_at == pytest.approx(3600)


def test_a_job_whose_time_has_not_come_is_left_alone(connection: Connection) -> None:
    form(connection, 1, next_at=4e9)
    form(connection, 2, next_at=None)

    assert jobs.claim(connection, "me", 60, 10) == []


def test_the_longest_due_are_taken_first(connection: Connection) -> None:
    for number, due in ((1, 300.0), (2, 100.0), (3, 200.0)):
        form(connection, number, next_at=due)

    assert [held.job.id for held in jobs.claim(connection, "me", 60, 2)] == ["j-2", "j-3"]
    assert [held.job.id for held in jobs.claim(connection, "me", 60, 2)] == ["j-1"]


def test_whoever_was_fenced_off_writes_nothing(connection: Connection) -> None:
    form(connection)
    old = claim(connection, "old")
    lapse(connection)
    new = claim(connection, "new")

    assert not jobs.write(connection, old, replace(old.job, state="done", next_at=None))
    assert jobs.prolong(connection, old, 60) is None
    assert jobs.load(connection, "j-1") == job(n=3)
    assert jobs.write(connection, new, replace(new.job, state="uploading"))


def test_a_lease_is_prolonged(connection: Connection) -> None:
    form(connection)
    held = claim(connection, seconds=10)

    longer = jobs.prolong(connection, held, 3600)

    assert longer is not None
    assert longer.lease_until > held.lease_until + 3000
    assert jobs.claim(connection, "other", 60, 10) == []
    assert jobs.write(connection, longer, longer.job)


def test_a_job_that_is_kept_cannot_be_taken(connection: Connection) -> None:
    form(connection)
    held = claim(connection)

    assert jobs.write(connection, held, replace(held.job, state="uploading"), release=False)

    assert jobs.claim(connection, "other", 60, 10) == []
    assert jobs.write(connection, held, replace(held.job, state="uploaded"))
    assert claim(connection).job.state == "uploaded"


def test_a_row_that_cannot_be_read_keeps_no_other_from_its_turn(connection: Connection) -> None:
    form(connection, 1, next_at=1.0)
    form(connection, 2, next_at=2.0)
    connection.execute(update(table).where(table.c.id == "j-1").values(data=b"\xc1 damaged"))

    assert [held.job.id for held in jobs.claim(connection, "me", 60, 10)] == ["j-2"]

    assert jobs.claim(connection, "me", 60, 10) == []
    assert [told.kind for told in events.of_job(connection, "j-1")] == ["job.unreadable"]


def test_what_an_owner_holds_is_handed_back(connection: Connection) -> None:
    form(connection, 1)
    form(connection, 2)
    mine, other = jobs.claim(connection, "me", 60, 1) + jobs.claim(connection, "other", 60, 1)

    jobs.let_go(connection, "me")

    assert [held.job.id for held in jobs.claim(connection, "other", 60, 10)] == [mine.job.id]
    assert jobs.write(connection, other, other.job)


def test_a_job_looks_for_duplicates_again_even_when_it_is_done(connection: Connection) -> None:
    form(connection, 1, state="done", next_at=None, provider_batch_id="batch_1")
    form(connection, 2, state="submitting", next_at=4e9)

    assert jobs.have_looked_again(connection, "j-1")
    assert not jobs.have_looked_again(connection, "j-2")
    assert not jobs.have_looked_again(connection, "j-9")

    held = claim(connection)
    assert (held.job.id, held.job.state) == ("j-1", "closing")
    assert held.job.check_at == held.job.next_at
    # Whoever holds it looks by itself soon enough.
    assert not jobs.have_looked_again(connection, "j-1")


def test_accounts_are_those_of_jobs_formed_since(connection: Connection) -> None:
    form(connection, 1, account="old", created_at=NOW - 10)
    form(connection, 2, account="new")
    form(connection, 3, account="new")

    assert jobs.accounts(connection, NOW) == ["new"]


def test_a_wish_to_cancel_reaches_the_next_holder_whenever_it_came(connection: Connection) -> None:
    form(connection, next_at=1.0)
    held = claim(connection)
    assert held.cancel is None
    assert jobs.ask_to_cancel(connection, "j-1", WISH)

    # The holder that knows nothing of it writes, and looks again tomorrow.
    assert jobs.write(connection, held, replace(held.job, next_at=4e9))

    again = claim(connection)
    assert again.cancel == WISH
    assert jobs.write(connection, again, replace(again.job, next_at=4e9))
    assert jobs.claim(connection, "me", 60, 10) == []


def test_what_is_done_cannot_be_cancelled(connection: Connection) -> None:
    form(connection)
    held = claim(connection)
    jobs.write(connection, held, replace(held.job, state="done", next_at=None))

    assert not jobs.ask_to_cancel(connection, "j-1", WISH)
    assert not jobs.ask_to_cancel(connection, "j-9", WISH)
    assert jobs.claim(connection, "me", 60, 10) == []


def test_rows_are_read_piece_by_piece_with_their_requests(connection: Connection) -> None:
    asks = form(connection, rows=5)

    first = jobs.requests_of(connection, job(model="its own"), limit=3)
    rest = jobs.requests_of(connection, job(model="its own"), after=first[-1][0], limit=3)

    assert [position for position, _ in first + rest] == [0, 1, 2, 3, 4]
    for (_, read), ask in zip(first + rest, asks, strict=True):
        saved = request(ask)
        assert (read.body, read.provider, read.endpoint) == (saved.body, saved.provider, saved.endpoint)
        assert read.prompt == Prompt(model="its own")


def test_enqueued_tokens_are_those_of_running_jobs_of_the_account_and_model(connection: Connection) -> None:
    form(connection, 1, state="submitted", tokens=100)
    form(connection, 2, state="submit_unknown", tokens=10)
    form(connection, 3, state="formed", tokens=1000)
    form(connection, 4, state="submitted", tokens=1000, account="other")
    form(connection, 5, state="submitted", tokens=1000, model="other")

    assert jobs.enqueued_tokens(connection, "openai/key-1", "gpt-4o-mini") == 110
    assert jobs.enqueued_tokens(connection, "openai/key-1", "none") == 0


def test_batches_of_other_jobs_of_the_account_are_known(connection: Connection) -> None:
    form(connection, 1, provider_batch_id="batch_1")
    form(connection, 2, provider_batch_id="batch_2")
    form(connection, 3, provider_batch_id="batch_3", account="other")
    form(connection, 4)

    assert jobs.recorded(connection, "openai/key-1", but="j-1") == {"batch_2"}
    assert set(jobs.by_tags(connection, ["tag-0001", "tag-0004", "tag-none"])) == {"tag-0001", "tag-0004"}


def test_the_rows_without_an_outcome_are_those_whose_requests_wait(connection: Connection) -> None:
    asks = form(connection, rows=4)
    land(connection, claim(connection), [result(asks[0])])
    answers.add(connection, [result(asks[1], via="direct", charges=())])

    assert jobs.unanswered(connection, "j-1") == [
        OpenRow(position=place, ask=asks[place], size=request(asks[place]).size, tokens=12) for place in (2, 3)
    ]


def test_jobs_at_their_provider_are_hurried(connection: Connection) -> None:
    form(connection, 1, state="submitted", next_at=4e9)
    form(connection, 2, next_at=4e9)
    form(connection, 3, state="closing", next_at=4e9)

    assert jobs.hurry(connection, "j-2") == []
    assert jobs.hurry(connection, "j-1") == jobs.hurry(connection) == ["j-1"]

    assert claim(connection).job.id == "j-1"


def test_when_the_next_job_is_due_counts_leases_and_wishes(connection: Connection) -> None:
    assert jobs.seconds_to_next(connection) is None
    form(connection, 1, next_at=4e9)
    assert (jobs.seconds_to_next(connection) or 0) > 3600

    form(connection, 2)
    assert (jobs.seconds_to_next(connection) or 0) < 0
    claim(connection, seconds=600)
    assert jobs.seconds_to_next(connection) == pytest.approx(600, abs=60)

    assert jobs.ask_to_cancel(connection, "j-1", WISH)
    assert jobs.seconds_to_next(connection) == pytest.approx(0, abs=60)


def test_of_those_who_claim_at_once_each_gets_its_own(engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(1, 5):
            form(connection, number)

    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one write at a time; test_processes claims from several")
    with engine.begin() as one, engine.begin() as two:
        first = jobs.claim(one, "one", 60, 3)
        second = jobs.claim(two, "two", 60, 3)

    assert sorted(held.job.id for held in first + second) == ["j-1", "j-2", "j-3", "j-4"]
