"""The life of a job, step by step: what each fact leads to, with numbers worked by hand."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from batchway.core.errors import SettingsError
from batchway.core.job import (
    BatchTerms,
    Counts,
    Job,
    JobPolicy,
    Problem,
    ProviderBatch,
    Rules,
    State,
    Wish,
    advance,
    commands,
    facts,
    look_again,
    stray_batches,
    window_seconds,
)
from batchway.core.job.facts import JobFact
from batchway.core.job.life import TABLE
from batchway.core.types import Fault

TAG = "01JTAG0000"
POLICY = JobPolicy(settle=60, skew=300, poll_interval=60, vanish_grace=900, vanish_polls=3, files_grace=2)
TERMS = BatchTerms(endpoints=("chat",))


class Half:
    """Dice that always show a half: every spread time is its mean."""

    def random(self) -> float:
        return 0.5


def rules(policy: JobPolicy = POLICY, **terms: Any) -> Rules:
    return Rules(policy=policy, terms=replace(TERMS, **terms), dice=Half())


def job(**fields: Any) -> Job:
    given: dict[str, Any] = {
        "id": "job-1",
        "submit_tag": TAG,
        "provider": "openai",
        "account": "main",
        "endpoint": "chat",
        "model": "m",
        "window": "24h",
        "n": 4,
        "size": 400,
        "tokens": 40,
        "created_at": 1000.0,
        "next_at": 1000.0,
    }
    return Job(**(given | fields))


def submitting(**fields: Any) -> Job:
    return job(**({"state": "submitting", "input_file_id": "file-1", "submissions": 1, "intent_at": 1000.0} | fields))


def in_doubt(**fields: Any) -> Job:
    return submitting(**({"state": "submit_unknown", "unknown_since": 1000.0, "next_at": 1060.0} | fields))


def running(**fields: Any) -> Job:
    given = {"state": "submitted", "provider_batch_id": "b-1", "status": "running", "submitted_at": 1000.0}
    return submitting(**(given | fields))


def ingesting(**fields: Any) -> Job:
    given = {"state": "ingesting", "status": "completed", "provider_status": "completed", "output_file_id": "out"}
    return running(**(given | fields))


def batch(name: str = "b-1", **fields: Any) -> ProviderBatch:
    given: dict[str, Any] = {"id": name, "status": "running", "said": "in_progress", "created_at": 1000.0, "tag": TAG}
    return ProviderBatch(**(given | fields))


def fault(status: int, message: str = "no", **fields: Any) -> Fault:
    given: dict[str, Any] = {"whose": "theirs", "status": status, "type": "t", "code": None, "message": message}
    return Fault(**(given | fields))


def listed(*batches: ProviderBatch, complete: bool = True, claimed: Iterable[str] = ()) -> facts.Listed:
    return facts.Listed(batches=batches, complete=complete, claimed=frozenset(claimed))


def step(
    before: Job, fact: JobFact, now: float = 2000.0, by: Rules | None = None
) -> tuple[Job, list[commands.JobCommand]]:
    """The row after it and its commands without notes, each stripped of its words."""
    after, wanted = advance(before, fact, now, by or rules())
    return after, [replace(command, why="") for command in wanted if not isinstance(command, commands.Note)]


def notes(before: Job, fact: JobFact, now: float = 2000.0, by: Rules | None = None) -> list[str]:
    _, wanted = advance(before, fact, now, by or rules())
    return [command.kind for command in wanted if isinstance(command, commands.Note)]


def requeue(**fields: Any) -> commands.Requeue:
    given: dict[str, Any] = {"parts": 1, "attempt": 1, "splits": 0, "crowded": 0, "not_before": 2000.0, "why": ""}
    return commands.Requeue(**(given | fields))


UPLOAD = commands.Upload(why="")
SUBMIT = commands.Submit(why="")
POLL = commands.Poll(batch_id="b-1", why="")
LIST = commands.List(tag=TAG, since=700.0, why="")
DELETE = commands.DeleteFiles(file_ids=("file-1",), why="")


# Sending


def test_the_intent_is_stored_before_the_create_call() -> None:
    formed, wanted = step(job(), facts.Claimed())
    assert (formed.state, wanted) == ("uploading", [UPLOAD])
    intended, wanted = step(formed, facts.Uploaded("file-1"), 2001.0)
    assert (intended.state, intended.intent_at, intended.submissions, wanted) == ("submitting", 2001.0, 1, [SUBMIT])
    made, wanted = step(intended, facts.Submitted(batch()), 2002.0)
    assert (made.state, made.provider_batch_id, made.next_at, made.check_at) == ("submitted", "b-1", 2062.0, 2062.0)
    assert wanted == []


def test_rows_that_travel_in_the_create_call_are_not_uploaded() -> None:
    after, wanted = step(job(), facts.Claimed(), by=rules(uploads=False))
    assert (after.state, wanted) == ("submitting", [SUBMIT])


def test_a_job_waits_for_its_time() -> None:
    after, wanted = step(job(not_before=2500.0), facts.Claimed())
    assert (after.state, after.next_at, wanted) == ("formed", 2500.0, [])


def test_an_upload_that_was_cut_short_is_made_again() -> None:
    after, wanted = step(job(state="uploading", uploads=1), facts.Claimed())
    assert (after.state, after.uploads, wanted) == ("uploading", 2, [UPLOAD])


def test_what_was_not_sent_is_sent_again_soon() -> None:
    after, wanted = step(submitting(), facts.SubmitFailed(fault(502), sent=False))
    assert (after.state, after.next_at, wanted) == ("uploaded", 2002.0, [])
    again, wanted = step(after, facts.Claimed(), 2002.0)
    assert (again.state, again.submissions, again.intent_at, wanted) == ("submitting", 2, 1000.0, [SUBMIT])


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 409, 425])
def test_an_outcome_that_is_not_a_refusal_is_unknown(status: int) -> None:
    after, wanted = step(submitting(), facts.SubmitFailed(fault(status)))
    assert (after.state, after.unknown_since, after.next_at, wanted) == ("submit_unknown", 2000.0, 2060.0, [])


def test_a_worker_that_died_while_creating_leaves_a_doubt() -> None:
    after, wanted = step(submitting(), facts.Claimed())
    assert (after.state, after.next_at, wanted) == ("submit_unknown", 2060.0, [])


def test_a_429_is_a_refusal_that_names_its_wait() -> None:
    after, wanted = step(submitting(), facts.SubmitFailed(fault(429, retry_after=100.0)))
    assert (after.state, after.next_at, after.failures, wanted) == ("uploaded", 2105.0, 1, [])


def test_refusals_without_a_wait_back_off() -> None:
    waits = []
    waiting = submitting()
    for _ in range(4):
        waiting, _ = step(replace(waiting, state="submitting"), facts.SubmitFailed(fault(429)))
        waits.append((waiting.next_at or 0.0) - 2000.0)
    assert waits == [2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize("refused", [fault(401), fault(402), fault(403), fault(429, code="insufficient_quota")])
def test_what_only_the_owner_can_mend_is_held_and_told(refused: Fault) -> None:
    after, wanted = step(submitting(), facts.SubmitFailed(refused))
    assert (after.state, after.next_at, wanted) == ("uploaded", 2600.0, [])
    assert notes(submitting(), facts.SubmitFailed(refused)) == ["held"]


def test_too_large_is_halved_and_learnt() -> None:
    after, wanted = step(job(state="uploading"), facts.UploadFailed(fault(413)))
    assert wanted == [commands.Learn(name="max_bytes", value=200, why=""), requeue(parts=2, splits=1)]
    assert (after.state, after.reason) == ("done", "refused")


def test_a_single_row_that_is_refused_fails_with_the_providers_text() -> None:
    refused = fault(400, "no such parameter")
    after, wanted = step(submitting(n=1), facts.SubmitFailed(refused))
    assert wanted == [commands.Fail(fault=refused, positions=None, why=""), DELETE]
    assert after.state == "closing"


def test_a_deterministic_refusal_divides_the_rows() -> None:
    _, wanted = step(submitting(), facts.SubmitFailed(fault(422)))
    assert wanted == [requeue(parts=2, splits=1), DELETE]


@pytest.mark.parametrize("status", [404, 405])
def test_no_batch_api_turns_the_lane_off(status: int) -> None:
    refused = fault(status)
    after, wanted = step(job(state="uploading"), facts.UploadFailed(refused))
    assert wanted == [commands.Learn(name="no_batch", value=1.0, why=""), commands.Reroute(fault=refused, why="")]
    assert after.state == "done"


@pytest.mark.parametrize("refused", [fault(404, "No such File object: file-1"), fault(404, param="input_file_id")])
def test_a_file_that_is_gone_is_uploaded_again(refused: Fault) -> None:
    after, wanted = step(submitting(), facts.SubmitFailed(refused))
    assert (after.state, after.input_file_id, wanted) == ("formed", None, [])


def test_a_window_that_is_not_sold_becomes_the_longest() -> None:
    refused = fault(400, param="completion_window")
    by = rules(windows=("1h", "24h"))
    after, wanted = step(submitting(window="1h"), facts.SubmitFailed(refused), by=by)
    assert wanted == [commands.Learn(name="longest_window", value=1.0, why="")]
    assert (after.state, after.window) == ("uploaded", "24h")
    assert notes(submitting(window="24h"), facts.SubmitFailed(refused), by=by) == ["held"]


# Doubt


def test_nothing_is_listed_before_it_would_show() -> None:
    after, wanted = step(in_doubt(), facts.Claimed(), 1030.0)
    assert (after.next_at, wanted) == (1060.0, [])
    after, wanted = step(after, facts.Claimed(), 1060.0)
    assert (after.state, wanted) == ("submit_unknown", [LIST])


def test_only_two_listings_a_settle_time_apart_allow_another_create_call() -> None:
    once, wanted = step(in_doubt(), listed(batch("b-9", tag="other")), 1060.0)
    assert (once.silent_listings, once.next_at, wanted) == (1, 1120.0, [])
    early, wanted = step(once, facts.Claimed(), 1100.0)
    assert (early.next_at, wanted) == (1120.0, [])
    twice, wanted = step(early, listed(), 1120.0)
    assert (twice.state, twice.submissions, wanted) == ("submitting", 2, [SUBMIT])


def test_a_listing_that_was_cut_short_proves_nothing() -> None:
    after, wanted = step(in_doubt(silent_listings=1, listed_at=1060.0), listed(complete=False), 1120.0)
    assert (after.state, after.silent_listings, wanted) == ("submit_unknown", 1, [])


def test_one_that_is_found_is_adopted() -> None:
    after, wanted = step(in_doubt(silent_listings=1), listed(batch("b-7")), 1120.0)
    assert (after.state, after.provider_batch_id, after.strays, wanted) == ("submitted", "b-7", (), [])


def test_of_several_the_lowest_id_is_adopted_and_the_others_are_ended() -> None:
    found = listed(batch("b-9"), batch("b-2", status="failed"), batch("b-5"))
    after, _ = step(in_doubt(), found, 1060.0)
    assert (after.provider_batch_id, after.duplicates) == ("b-5", ("b-9", "b-2"))
    assert [stray.id for stray in after.strays] == ["b-9"]
    assert "duplicate" in notes(in_doubt(), found)


def test_a_failed_listing_is_no_listing() -> None:
    after, wanted = step(in_doubt(), facts.ListFailed(fault(503)), 1060.0)
    assert (after.state, after.silent_listings, after.next_at, wanted) == ("submit_unknown", 0, 1120.0, [])


@pytest.mark.parametrize(
    ("on_unknown", "state", "wanted"),
    [
        ("hold", "submit_unknown", []),
        ("resubmit", "submitting", [SUBMIT]),
        ("fail", "closing", ["submit_unknown", "unknown", DELETE]),
    ],
)
def test_where_nothing_can_be_listed_the_policy_decides(on_unknown: Any, state: str, wanted: list[Any]) -> None:
    by = rules(msgspec.structs.replace(POLICY, on_unknown=on_unknown), tagging="none")
    after, got = step(in_doubt(), facts.Claimed(), by=by)
    assert after.state == state
    if on_unknown == "fail":
        assert isinstance(got[0], commands.Fail)
        assert [got[0].fault.code, got[0].fault.billed, got[1]] == wanted
    else:
        assert got == wanted


def test_a_clean_create_needs_no_listing() -> None:
    by = rules(tagging="none")
    after, _ = step(submitting(), facts.Submitted(batch()), by=by)
    assert (after.state, after.check_at) == ("submitted", None)


def test_an_untagged_batch_is_adopted_on_trial() -> None:
    by = rules(tagging="results")
    others = [
        batch("b-1", tag=None, counts=Counts(total=3)),
        batch("b-2", tag=None, counts=Counts(total=4), created_at=600.0),
        batch("b-3", tag=None, counts=Counts(total=4)),
        batch("b-4", tag=None, counts=Counts(total=4)),
    ]
    after, _ = step(in_doubt(), listed(*others, claimed=["b-3"]), 1060.0, by)
    assert (after.provider_batch_id, after.proven, after.strays) == ("b-4", False, ())
    asked, wanted = step(replace(after, cancel=Wish(by="x", why="y", at=0.0)), facts.Polled(batch("b-4")), by=by)
    assert wanted == [], "it may be somebody else's"
    assert asked.state == "submitted"


def test_results_disprove_a_batch() -> None:
    trial = ingesting(proven=False, counts=Counts(total=4, completed=4), downloads=2)
    by = rules(tagging="results")
    no_more = replace(trial, downloads=POLICY.downloads - 1)
    after, wanted = step(no_more, facts.Ingested(done=0, failed=0, seen=0, ghosts=4), by=by)
    assert (after.state, after.not_ours, after.provider_batch_id, wanted) == ("submit_unknown", ("b-1",), None, [])
    again, _ = step(after, listed(batch("b-1", tag=None, counts=Counts(total=4))), 2060.0, by)
    assert (again.state, again.silent_listings) == ("submit_unknown", 1)


# Watching


def test_a_poll_is_planned_before_it_is_made() -> None:
    after, wanted = step(running(), facts.Claimed())
    assert (after.next_at, after.polls, wanted) == (2060.0, 1, [POLL])


def test_a_poll_error_says_nothing_about_the_batch() -> None:
    worse, now = running(), 2000.0
    for wait in (60.0, 120.0, 240.0, 480.0, 900.0, 900.0):
        worse, wanted = step(worse, facts.PollFailed("b-1", fault(502)), now)
        assert (worse.state, worse.next_at, wanted) == ("submitted", now + wait, [])
        now += wait


def test_a_404_is_believed_after_a_long_grace_and_several_polls() -> None:
    missing, _ = step(running(), facts.PollFailed("b-1", fault(404)), 2000.0)
    missing, _ = step(missing, facts.PollFailed("b-1", fault(404)), 2900.0)
    assert missing.state == "submitted", "long enough, not often enough"
    back, _ = step(missing, facts.Polled(batch()), 2901.0)
    assert (back.first_404_at, back.misses) == (None, 0)
    early, _ = step(replace(missing, misses=9), facts.PollFailed("b-1", fault(404)), 2899.0)
    assert early.state == "submitted", "often enough, not long enough"
    lost, wanted = step(missing, facts.PollFailed("b-1", fault(404)), 2901.0)
    assert (lost.state, lost.reason) == ("lost", "batch_lost")
    assert wanted[0] == requeue(attempt=2, not_before=2901.0)
    assert [stray.id for stray in lost.strays] == ["b-1"]
    assert "lost" in notes(missing, facts.PollFailed("b-1", fault(404)), 2901.0)


def test_an_unknown_state_keeps_polling_and_is_told_once() -> None:
    strange = facts.Polled(batch(status="unknown", said="PartiallyCompleted"))
    after, wanted = step(running(), strange)
    assert (after.state, after.provider_status, after.next_at, wanted) == (
        "submitted",
        "PartiallyCompleted",
        2060.0,
        [],
    )
    assert notes(running(), strange) == ["strange_status"]
    assert notes(after, strange) == []


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_every_end_reads_both_files_answers_first(status: Any) -> None:
    ended = batch(status=status, said=status, output_file_id="out", error_file_id="err")
    after, wanted = step(running(), facts.Polled(ended))
    assert after.state == "ingesting"
    assert wanted == [commands.Ingest(sources=("out", "err"), last=False, why="")]


def test_files_that_are_due_are_waited_for_by_count() -> None:
    ended = facts.Polled(batch(status="completed", said="completed", counts=Counts(total=4, completed=4)))
    once, wanted = step(running(), ended)
    twice, more = step(once, ended)
    assert (once.state, twice.state, wanted + more) == ("submitted", "submitted", [])
    after, wanted = step(twice, ended)
    assert wanted[0] == requeue(attempt=2)
    assert "gone" in notes(twice, ended), "the provider counts four finished rows and shows none"
    shown = facts.Polled(batch(status="completed", said="completed", output_file_id="out"))
    after, wanted = step(once, shown)
    assert (after.state, wanted) == ("ingesting", [commands.Ingest(sources=("out",), last=False, why="")])


def test_a_missing_error_file_is_waited_for_if_rows_failed() -> None:
    counts = Counts(total=4, completed=2, failed=2)
    ended = facts.Polled(batch(status="completed", said="completed", counts=counts, output_file_id="out"))
    assert step(running(), ended)[0].state == "submitted"


def test_one_place_for_answers_and_errors_is_read_once_and_not_waited_for() -> None:
    counts = Counts(total=4, completed=2, failed=2)
    ended = batch(status="completed", said="completed", counts=counts, output_file_id="all", error_file_id="all")
    after, wanted = step(running(), facts.Polled(ended))
    assert (after.state, wanted) == ("ingesting", [commands.Ingest(sources=("all",), last=False, why="")])


def test_results_that_show_while_it_is_running_are_read_when_enough_is_new() -> None:
    shows = batch(output_file_id="out", readable=True, counts=Counts(total=4, completed=2))
    after, wanted = step(running(), facts.Polled(shows))
    assert (after.state, wanted) == ("submitted", [commands.Ingest(sources=("out",), last=False, why="")])
    read, _ = step(after, facts.Ingested(done=2, failed=0, seen=2))
    assert (read.state, read.done) == ("submitted", 2)
    assert step(read, facts.Polled(shows))[1] == []


def test_a_batch_that_outlives_its_window_is_cancelled_if_the_policy_says_so() -> None:
    policy = msgspec.structs.replace(POLICY, on_overdue="requeue", overdue_grace=100.0)
    day = 1000.0 + 86_400
    assert step(running(), facts.Polled(batch()), day + 99, rules(policy))[1] == []
    after, wanted = step(running(), facts.Polled(batch()), day + 100, rules(policy))
    assert wanted == [commands.CancelBatch(batch_id="b-1", why="")]
    assert after.cancel is not None
    assert after.cancel.then == "requeue"
    assert step(running(), facts.Polled(batch()), day * 9)[0].cancel is None


# Duplicates after the create call


def test_after_a_create_call_its_tag_is_looked_for_once() -> None:
    made = running(check_at=1060.0)
    listing, wanted = step(made, facts.Claimed(), 1060.0)
    assert wanted == [LIST]
    after, wanted = step(listing, listed(batch()), 1060.0)
    assert (after.check_at, after.duplicates, wanted) == (None, (), [POLL])


def test_a_duplicate_is_adopted_if_its_id_is_lower_and_the_other_ended() -> None:
    after, wanted = step(running(check_at=1060.0), listed(batch("b-0"), batch()), 1060.0)
    assert (after.provider_batch_id, after.duplicates) == ("b-0", ("b-1",))
    assert [stray.id for stray in after.strays] == ["b-1"]
    assert wanted == [commands.Poll(batch_id="b-1", why="")]
    after, wanted = step(after, facts.Polled(batch()))
    assert wanted == [commands.CancelBatch(batch_id="b-1", why="")]
    after, wanted = step(after, facts.Cancelled("b-1"))
    assert (wanted, len(after.strays)) == ([commands.Poll(batch_id="b-0", why="")], 1)
    after, wanted = step(after, facts.Polled(batch(status="cancelled")))
    assert (after.strays, wanted) == ((), [commands.Poll(batch_id="b-0", why="")])


def test_listings_without_tags_are_learnt() -> None:
    _, wanted = step(running(check_at=1060.0), listed(batch(tag=None)), 1060.0)
    assert wanted[0] == commands.Learn(name="no_tags", value=1.0, why="")


def test_a_job_is_not_done_before_its_duplicates_are() -> None:
    settled = facts.Ingested(done=4, failed=0, seen=4)
    waiting, wanted = step(ingesting(check_at=2500.0), settled)
    assert (waiting.state, waiting.next_at, wanted) == ("closing", 2500.0, [])
    found, _ = step(waiting, listed(batch(), batch("b-2")), 2500.0)
    assert [stray.id for stray in found.strays] == ["b-2"]
    ended, wanted = step(found, facts.Polled(batch("b-2", status="cancelled")), 2600.0)
    assert wanted == [commands.DeleteFiles(file_ids=("file-1", "out"), why="")]
    assert step(ended, facts.FilesDeleted())[0].state == "done"


def test_the_sweeper_finds_what_nobody_recorded() -> None:
    jobs = {TAG: running(strays=()), "01JDOUBT00": submitting(submit_tag="01JDOUBT00")}
    batches = [
        batch("b-1"),
        batch("b-2"),
        batch("b-3", status="completed"),
        batch("b-4", tag="01JDOUBT00"),
        batch("b-5", tag="somebody"),
        batch("b-6", tag=None),
    ]
    assert [stray.id for stray in stray_batches(batches, jobs)] == ["b-2"]


# Cancelling


def test_a_wish_is_noted_and_acted_on_at_the_next_claim() -> None:
    asked, wanted = step(job(), facts.CancelAsked(by="owner", why="enough"))
    assert (asked.state, asked.next_at, wanted) == ("formed", 2000.0, [])
    after, wanted = step(asked, facts.Claimed())
    assert isinstance(wanted[0], commands.Fail)
    assert (after.state, wanted[0].fault.code, wanted[0].fault.billed) == ("done", "job_cancelled", "no")


def test_cancelling_goes_on_until_it_is_over_and_what_finished_is_read() -> None:
    asked, _ = step(running(), facts.CancelAsked(by="owner", why="enough"))
    looking, wanted = step(asked, facts.Claimed())
    assert wanted == [POLL]
    cancelling, wanted = step(looking, facts.Polled(batch()))
    assert wanted == [commands.CancelBatch(batch_id="b-1", why="")]
    refused, wanted = step(cancelling, facts.CancelFailed("b-1", fault(400)))
    assert (refused.state, refused.next_at, wanted) == ("submitted", 2060.0, [])
    assert step(refused, facts.Polled(batch()))[1] == [commands.CancelBatch(batch_id="b-1", why="")]
    assert step(refused, facts.Polled(batch(status="cancelling")))[1] == []
    reading, wanted = step(refused, facts.Polled(batch(status="cancelled", said="cancelled", output_file_id="out")))
    assert wanted == [commands.Ingest(sources=("out",), last=True, why="")]
    after, wanted = step(reading, facts.Ingested(done=3, failed=0, seen=3))
    assert isinstance(wanted[0], commands.Fail)
    assert (after.done, wanted[0].fault.status) == (3, 499)


def test_a_batch_that_completed_in_spite_of_the_wish_is_read() -> None:
    asked = running(cancel=Wish(by="x", why="y", at=0.0))
    after, _ = step(asked, facts.Polled(batch(status="completed", output_file_id="out")))
    finished, wanted = step(after, facts.Ingested(done=4, failed=0, seen=4))
    assert (finished.reason, [type(command) for command in wanted]) == ("completed", [commands.DeleteFiles])


def test_a_wish_in_doubt_does_not_create_anything() -> None:
    asked = in_doubt(silent_listings=1, listed_at=1060.0, cancel=Wish(by="x", why="y", at=0.0))
    after, wanted = step(asked, listed(), 1120.0)
    assert (after.state, after.check_at, isinstance(wanted[0], commands.Fail)) == ("closing", 1180.0, True)
    found, _ = step(asked, listed(batch()), 1120.0)
    assert (found.state, found.provider_batch_id) == ("submitted", "b-1")


@pytest.mark.parametrize(
    ("then", "expected"),
    [("requeue", [requeue(attempt=2)]), ("reroute", [commands.Reroute])],
)
def test_a_wish_says_what_becomes_of_the_rows(then: Any, expected: list[Any]) -> None:
    asked = ingesting(status="cancelled", cancel=Wish(by="x", why="y", then=then, at=0.0))
    _, wanted = step(asked, facts.Ingested(done=1, failed=0, seen=1))
    assert wanted[0] == expected[0] or isinstance(wanted[0], commands.Reroute)


# Results


def test_rows_that_are_missing_are_looked_for_again_before_they_are_sent_again() -> None:
    short = facts.Ingested(done=3, failed=0, seen=3)
    reading = ingesting(counts=Counts(total=4, completed=4))
    for wait in (2.0, 4.0):
        reading, wanted = step(reading, short)
        assert (reading.state, reading.next_at, wanted) == ("ingesting", 2000.0 + wait * 2, [])
    after, wanted = step(reading, short)
    assert (after.state, wanted[0]) == ("closing", requeue(attempt=2))


def test_an_unreadable_line_is_read_again() -> None:
    after, wanted = step(ingesting(), facts.Ingested(done=3, failed=0, seen=3, bad=1))
    assert (after.state, wanted) == ("ingesting", [])
    assert step(after, facts.Claimed())[1] == [commands.Ingest(sources=("out",), last=False, why="")]


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed", "completed"])
def test_only_unfinished_rows_go_into_another_job_and_into_no_third(status: Any) -> None:
    partly = facts.Ingested(done=2, failed=1, seen=3)
    first, wanted = step(ingesting(status=status), partly)
    assert (first.state, first.reason, wanted[0]) == ("closing", f"batch_{status}", requeue(attempt=2))
    _, wanted = step(ingesting(status=status, attempt=2), partly)
    assert isinstance(wanted[0], commands.Fail)
    assert wanted[0].fault.code == f"batch_{status}"
    assert status in wanted[0].fault.message
    assert "2 jobs" in wanted[0].fault.message


def test_the_last_job_takes_passing_faults_as_they_are() -> None:
    ended = facts.Polled(batch(status="completed", output_file_id="out"))
    _, wanted = step(running(attempt=2), ended)
    assert wanted == [commands.Ingest(sources=("out",), last=True, why="")]


def test_a_broken_download_is_read_again_for_as_long_as_it_takes() -> None:
    reading = ingesting()
    for wait in (2.0, 4.0, 8.0):
        reading, wanted = step(reading, facts.IngestFailed(fault=fault(503), done=1, failed=0))
        assert (reading.state, reading.next_at, reading.done, wanted) == ("ingesting", 2000.0 + wait, 1, [])


def test_results_that_are_gone_for_long_are_lost() -> None:
    gone = facts.IngestFailed(fault=fault(404), done=1, failed=0)
    first, wanted = step(ingesting(), gone)
    assert (first.state, first.first_404_at, wanted) == ("ingesting", 2000.0, [])
    second, wanted = step(first, gone, 2900.0)
    assert (second.state, wanted) == ("ingesting", []), "so long, but not so often"
    after, wanted = step(second, gone, 2900.0)
    assert (after.reason, wanted[0]) == ("results_gone", requeue(attempt=2, not_before=2900.0))


def test_rows_of_a_cancelled_job_are_not_sent_again_when_its_results_are_gone() -> None:
    gone = facts.IngestFailed(fault=fault(404), done=1, failed=0)
    wish = Wish(by="owner", why="no longer needed", at=1500.0)
    _, wanted = step(ingesting(cancel=wish, first_404_at=2000.0, misses=2), gone, 2900.0)
    assert [type(each) for each in wanted[:1]] == [commands.Fail]


# A batch that failed for a reason


def failed_for(*problems: Problem) -> facts.Polled:
    return facts.Polled(batch(status="failed", said="failed", problems=problems))


def test_a_token_limit_waits_and_does_not_count() -> None:
    crowded = failed_for(Problem(code="token_limit_exceeded", message="Enqueued", limit=1000))
    after, wanted = step(running(crowded=2), crowded)
    assert wanted[0] == commands.Learn(name="enqueued_tokens", value=1000, why="")
    assert wanted[1] == requeue(attempt=1, crowded=3, not_before=2000.0 + 1200.0)
    assert after.reason == "crowded"


def test_what_is_larger_than_the_token_limit_is_divided() -> None:
    crowded = failed_for(Problem(code="token_limit_exceeded", message="Enqueued", limit=15))
    _, wanted = step(running(), crowded)
    assert wanted[1] == requeue(parts=3, splits=1)


def test_a_token_limit_met_for_a_day_is_told() -> None:
    crowded = failed_for(Problem(code="token_limit_exceeded", message="Enqueued"))
    _, wanted = step(running(crowded=POLICY.max_crowded), crowded)
    assert isinstance(wanted[0], commands.Fail)
    assert wanted[0].fault.code == "token_limit_exceeded"


def test_lines_that_are_named_fail_alone() -> None:
    named = failed_for(Problem(code="invalid_json_line", message="line 2 is bad", line=2))
    _, wanted = step(running(), named)
    assert isinstance(wanted[0], commands.Fail)
    assert (wanted[0].positions, wanted[0].fault.message) == ((1,), "line 2 is bad")
    assert wanted[1] == requeue(splits=1)


def test_rows_that_are_refused_without_a_line_are_divided() -> None:
    _, wanted = step(running(), failed_for(Problem(code="invalid_request", message="bad")))
    assert wanted[0] == requeue(parts=2, splits=1)


def test_a_model_that_is_not_batched_leaves_the_lane() -> None:
    _, wanted = step(running(), failed_for(Problem(code="model_not_found", message="no such model")))
    assert isinstance(wanted[0], commands.Learn)
    assert wanted[0].name == "no_batch"
    assert isinstance(wanted[1], commands.Reroute)


def test_an_unexplained_failure_counts_as_a_job() -> None:
    _, wanted = step(running(), failed_for(Problem(code="server_error", message="oops")))
    assert wanted[0] == requeue(attempt=2)


# A stray that turns up later


@pytest.mark.parametrize(
    ("state", "then"),
    [
        ("done", "closing"),
        ("closing", "closing"),
        ("lost", "lost"),
        ("submitted", "submitted"),
        ("ingesting", "ingesting"),
    ],
)
def test_a_job_looks_for_duplicates_once_more(state: State, then: State) -> None:
    again = look_again(job(state=state, next_at=None, check_at=None), 2000.0)
    assert again is not None
    assert (again.state, again.check_at, again.next_at) == (then, 2000.0, 2000.0)


@pytest.mark.parametrize("state", ["formed", "uploading", "uploaded", "submitting", "submit_unknown"])
def test_a_job_that_has_yet_to_create_its_batch_looks_by_itself(state: State) -> None:
    assert look_again(job(state=state), 2000.0) is None


def test_a_done_job_that_looks_again_ends_what_it_finds() -> None:
    done = running(state="done", next_at=None)
    again = look_again(done, 2000.0)
    assert again is not None
    listing, wanted = step(again, facts.Claimed())
    assert [type(each) for each in wanted] == [commands.List]
    found = facts.Listed(batches=(batch(id="b-1", tag=TAG), batch(id="b-2", tag=TAG)), complete=True)
    after, wanted = step(listing, found)
    assert after.duplicates == ("b-2",)
    assert commands.Poll in [type(each) for each in wanted]


# The whole


def test_what_a_state_cannot_be_told_is_a_defect() -> None:
    with pytest.raises(ValueError, match="job-1 is formed and cannot be told Polled"):
        advance(job(), facts.Polled(batch()), 2000.0, rules())
    with pytest.raises(ValueError, match="done"):
        advance(job(state="done", next_at=None), facts.Claimed(), 2000.0, rules())


def test_every_state_that_is_not_done_can_be_claimed_and_cancelled() -> None:
    assert {state for state, row in TABLE.items() if facts.Claimed in row} == TABLE.keys() - {"done"}
    assert all(facts.CancelAsked in row for row in TABLE.values())


def test_the_row_and_the_facts_survive_being_stored() -> None:
    stored = running(counts=Counts(total=4), strays=(), cancel=Wish(by="x", why="y", at=1.0), problems=())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=Job) == stored


@pytest.mark.parametrize("tag", ["", "short", "x" * 31, "with space", "ünïcode00"])
def test_a_tag_must_fit_into_every_id(tag: str) -> None:
    with pytest.raises(ValueError, match="submit_tag"):
        job(submit_tag=tag)


@pytest.mark.parametrize(
    ("field", "value"), [("settle", -1.0), ("poll_interval", 0.0), ("max_jobs_per_row", 0), ("settle", float("nan"))]
)
def test_a_policy_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(SettingsError, match=field):
        JobPolicy(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sold", "asked", "window"),
    [
        (("24h",), "1h", "24h"),
        (("24h",), "24h", "24h"),
        (("1h", "24h", "background"), "background", "background"),
        (("1h", "24h"), "2h", "24h"),
        (("24h", "7d"), "30d", "7d"),
        (("24h",), "background", "24h"),
    ],
)
def test_the_window_that_is_sold(sold: tuple[str, ...], asked: str, window: str) -> None:
    assert replace(TERMS, windows=sold).window(asked) == window


def test_windows_are_durations() -> None:
    assert [window_seconds(text) for text in ("1h", "24h", "7d", "background", "h", "")] == [
        3600.0,
        86_400.0,
        604_800.0,
        None,
        None,
        None,
    ]
