"""From submitted to ingested: looking at the batch, cancelling it when asked, and reading what it did.

A claim goes through a chain, one action at a time: list (once, a settle time after the create call), look at one
stray, look at our batch, and then cancel it, read what is new, or wait.
"""

from msgspec.structs import replace

from batchway.core.job import facts
from batchway.core.job.batch import ProviderBatch, window_seconds
from batchway.core.job.closing import (
    GONE,
    NOT_OFFERED,
    checked,
    list_again,
    poll_stray,
    stray_cancelled,
    stray_missing,
    stray_polled,
    unchecked,
)
from batchway.core.job.commands import CancelBatch, Ingest, Poll
from batchway.core.job.ending import again, drop, settle_rest
from batchway.core.job.moment import Moment, told
from batchway.core.job.row import Job, Stray, Wish
from batchway.core.job.submission import candidates, doubt


def look(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    """The beginning of the chain."""
    if job.check_at is not None and m.now >= job.check_at:
        return list_again(m, job)
    return _look_at_strays(m, job)


def _look_at_strays(m: Moment, job: Job) -> Job:
    return poll_stray(m, job) if job.strays else _poll(m, job)


def _poll(m: Moment, job: Job) -> Job:
    assert job.provider_batch_id is not None
    m.do(Poll(batch_id=job.provider_batch_id, why="its time has come"))
    return replace(job, polls=job.polls + 1, next_at=m.spread(m.policy.poll_interval))


# Duplicates


def listed(m: Moment, job: Job, fact: facts.Listed) -> Job:
    """Ours alone, as nearly always; of several the same is adopted that anybody else would adopt."""
    job = checked(m, job, fact)
    found = [batch for batch in candidates(m, job, fact) if batch.tag == job.submit_tag]
    shown = any(batch.id == job.provider_batch_id for batch in found)
    if shown and found[0].id != job.provider_batch_id:
        job = _adopt_instead(m, job, found[0])
    return _look_at_strays(m, job)


def _adopt_instead(m: Moment, job: Job, batch: ProviderBatch) -> Job:
    """The one we had becomes the duplicate in its place."""
    assert job.provider_batch_id is not None
    m.note("adopted", f"of several with the same tag: {batch.id}")
    had = Stray(id=job.provider_batch_id)
    return replace(
        job,
        provider_batch_id=batch.id,
        strays=(*[stray for stray in job.strays if stray.id != batch.id], had),
        duplicates=(*[other for other in job.duplicates if other != batch.id], had.id),
        counts=None,
        output_file_id=None,
        error_file_id=None,
        expires_at=None,
        first_404_at=None,
        misses=0,
        fileless_polls=0,
    )


def list_failed(m: Moment, job: Job, fact: facts.ListFailed) -> Job:
    """Looked for duplicates in vain: again at a later claim, while the batch is looked at as ever."""
    if fact.fault.status in NOT_OFFERED:
        m.learn("no_listing", 1.0, told(fact.fault))
        job = unchecked(m, job, told(fact.fault))
    else:
        job = replace(job, check_at=m.spread(m.policy.settle), last_error=told(fact.fault))
    return _look_at_strays(m, job)


# Our batch, or a stray


def polled(m: Moment, job: Job, fact: facts.Polled) -> Job:
    """One look."""
    if fact.batch.id == job.provider_batch_id:
        return watch(m, replace(job, failures=0, first_404_at=None, misses=0), fact.batch)
    seen = stray_polled(m, job, fact)
    return seen if m.commands else _poll(m, seen)


def poll_failed(m: Moment, job: Job, fact: facts.PollFailed) -> Job:
    """A poll error says nothing about the batch; a 404 does, after a long grace (failures.md #18, #21, #22)."""
    if fact.batch_id != job.provider_batch_id:
        return _poll(m, stray_missing(m, job, fact))
    job = m.failed(job, fact.fault, m.policy.poll_interval)
    if fact.fault.status not in GONE:
        return job
    first = job.first_404_at if job.first_404_at is not None else m.now
    job = replace(job, first_404_at=first, misses=job.misses + 1)
    if m.now < first + m.policy.vanish_grace or job.misses < m.policy.vanish_polls:
        return job
    return _give_up(m, job, fact.batch_id)


def _give_up(m: Moment, job: Job, batch_id: str) -> Job:
    """Lost: its rows are paid again if it comes back after all, so it is cancelled whenever it does."""
    why = f"the provider does not know its batch {batch_id} any more"
    m.note("lost", f"{why}: what it did may be billed twice")
    stray = (Stray(id=batch_id),) if job.proven else ()
    return again(m, replace(job, strays=(*job.strays, *stray)), "batch_lost", why, risk=True, state="lost")


def watch(m: Moment, job: Job, batch: ProviderBatch) -> Job:
    """Take what the provider says of our batch, and what follows from it."""
    if batch.status == "unknown" and batch.said != job.provider_status:
        m.note("strange_status", f"the provider says {batch.said!r}, which we do not know; looking again")
    job = replace(
        job,
        status=batch.status,
        provider_status=batch.said,
        counts=batch.counts if batch.counts is not None else job.counts,
        output_file_id=batch.output_file_id or job.output_file_id,
        error_file_id=batch.error_file_id or job.error_file_id,
        expires_at=batch.expires_at if batch.expires_at is not None else job.expires_at,
        problems=batch.problems,
        next_at=m.spread(m.policy.poll_interval),
    )
    return _over(m, job) if batch.over else _running(m, job, batch)


def _running(m: Moment, job: Job, batch: ProviderBatch) -> Job:
    job = _overdue(m, job)
    if job.cancel is not None and job.proven and batch.status != "cancelling":
        m.do(CancelBatch(batch_id=batch.id, why=job.cancel.why))
    elif batch.readable and job.sources and _is_worth_reading(m, job):
        m.do(_ingest(m, job, "results can be read while it is running"))
    return job


def _overdue(m: Moment, job: Job) -> Job:
    """A batch that outlives its window is not over: it is cancelled if the policy says so, and waited for."""
    then = m.policy.on_overdue
    if then == "wait" or job.cancel is not None or job.submitted_at is None:
        return job
    window = window_seconds(job.window)
    end = job.expires_at or (None if window is None else job.submitted_at + window)
    if end is None or m.now < end + m.policy.overdue_grace:
        return job
    m.note("overdue", "it outlived its window")
    return replace(job, cancel=Wish(by="batchway", why="it outlived its window", then=then, at=m.now))


def _is_worth_reading(m: Moment, job: Job) -> bool:
    if job.counts is None:
        return True
    return job.counts.finished - job.done - job.failed >= max(1.0, job.n * m.policy.partial_step)


def cancel_taken(m: Moment, job: Job, fact: facts.Cancelled) -> Job:
    """No end yet: it is looked at until it is over, and what it finished is read."""
    if fact.batch_id != job.provider_batch_id:
        return _poll(m, stray_cancelled(job, fact))
    if fact.batch is None or not fact.batch.over:
        return job if fact.batch is None else replace(job, status=fact.batch.status, provider_status=fact.batch.said)
    return watch(m, job, fact.batch)


def cancel_failed(m: Moment, job: Job, fact: facts.CancelFailed) -> Job:
    """The wish stays: the next look shows whether it is over, and cancels again if not."""
    m.note("cancel_failed", told(fact.fault))
    job = replace(job, last_error=told(fact.fault))
    return job if fact.batch_id == job.provider_batch_id else _poll(m, job)


# Results


def _over(m: Moment, job: Job) -> Job:
    """However it ended, both files are read; files that are due and not there yet are waited for, by count."""
    job = replace(job, over_at=job.over_at if job.over_at is not None else m.now)
    if _files_are_due(job) and job.fileless_polls < m.policy.files_grace:
        return replace(job, fileless_polls=job.fileless_polls + 1)
    if job.sources:
        return _read(m, job)
    return settle_rest(m, job, unread=job.counts.finished if job.counts is not None else 0)


def _files_are_due(job: Job) -> bool:
    """By its counts there should be a file that it does not name. A batch refused as a whole never has one."""
    if job.counts is None or not job.counts.finished:
        return not job.sources and not (job.status == "failed" and job.problems)
    missing_output = job.counts.completed > 0 and job.output_file_id is None
    return missing_output or (job.counts.failed > 0 and job.error_file_id is None)


def _read(m: Moment, job: Job) -> Job:
    m.do(_ingest(m, job, f"the batch is over: {job.provider_status}"))
    return replace(job, state="ingesting", next_at=m.now, failures=0, first_404_at=None, misses=0)


def _ingest(m: Moment, job: Job, why: str) -> Ingest:
    wish = job.cancel
    last = wish.then == "fail" if wish is not None else job.attempt >= m.policy.max_jobs_per_row
    return Ingest(sources=job.sources, last=last, why=why)


def read_again(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    """A reading failed, or its worker died: from the beginning. What is settled already stays as it is."""
    m.do(_ingest(m, job, "reading the results again"))
    return replace(job, next_at=m.now)


def ingested(m: Moment, job: Job, fact: facts.Ingested) -> Job:
    """All that is there was read. Rows that the provider counts and that were not seen are looked for again."""
    job = _counted(job, fact)
    expected = job.counts.finished if job.counts is not None else 0
    if job.open > 0 and (fact.bad or fact.seen < expected) and job.downloads < m.policy.downloads:
        at = m.retry_at(m.policy.refusal_wait, job.downloads)
        return replace(job, next_at=at, last_error=f"{fact.seen} of {expected} rows read, {fact.bad} lines unreadable")
    if not job.proven and fact.ghosts and not fact.seen and not fact.bad:
        return _disown(m, job)
    return settle_rest(m, job, unread=expected - fact.seen)


def read_while_running(_m: Moment, job: Job, fact: facts.Ingested) -> Job:
    """Rows that are done already have their answers; the batch goes on."""
    return replace(_counted(job, fact), downloads=0)


def _counted(job: Job, fact: facts.Ingested) -> Job:
    return replace(
        job,
        done=fact.done,
        failed=fact.failed,
        ghosts=fact.ghosts,
        bad=fact.bad,
        downloads=job.downloads + 1,
        failures=0,
        first_404_at=None,
        misses=0,
    )


def _disown(m: Moment, job: Job) -> Job:
    """Its results are not ours: it only looked like our batch, and where ours is remains unknown."""
    assert job.provider_batch_id is not None
    stranger = job.provider_batch_id
    job = replace(
        job,
        not_ours=(*job.not_ours, stranger),
        provider_batch_id=None,
        status="unknown",
        counts=None,
        output_file_id=None,
        error_file_id=None,
        expires_at=None,
        problems=(),
        over_at=None,
        fileless_polls=0,
        downloads=0,
    )
    return doubt(m, job, f"{stranger} is not ours: none of its results carry our ids")


def read_failed(m: Moment, job: Job, fact: facts.IngestFailed) -> Job:
    """Read again, as long as it takes: the work is paid for. Results that are gone for long are lost."""
    job = replace(m.failed(job, fact.fault, m.policy.refusal_wait), done=fact.done, failed=fact.failed)
    if job.open <= 0:
        return settle_rest(m, job)
    if fact.fault.status not in GONE:
        return job
    first = job.first_404_at if job.first_404_at is not None else m.now
    job = replace(job, first_404_at=first, misses=job.misses + 1)
    if m.now < first + m.policy.vanish_grace or job.misses < m.policy.vanish_polls:
        return job
    why = "the provider does not have its results any more"
    m.note("gone", f"{why}: what it did may be billed twice")
    return drop(m, job, risk=True) if job.cancel is not None else again(m, job, "results_gone", why, risk=True)


def partial_read_failed(_m: Moment, job: Job, fact: facts.IngestFailed) -> Job:
    """Nothing is lost: the results are read when it is over, if not before."""
    return replace(job, last_error=told(fact.fault), done=fact.done, failed=fact.failed)
