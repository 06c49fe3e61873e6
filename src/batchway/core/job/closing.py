"""Closing a job: ending batches that carry its tag beside its own, deleting its files, and then it is done.

Nobody waits for this any more: every row has its end. Each claim does a little, and what fails is tried a few times.
"""

from msgspec.structs import replace

from batchway.core.job import facts
from batchway.core.job.batch import ProviderBatch
from batchway.core.job.commands import CancelBatch, DeleteFiles, List, Poll
from batchway.core.job.moment import Moment, told
from batchway.core.job.row import Job, State, Stray

GONE = frozenset({404, 410})
"""Statuses by which a provider says that it does not know something, for the moment or for good."""

NOT_OFFERED = frozenset({404, 405, 501})
"""Statuses by which a provider says that it has no such call."""


def finish(m: Moment, job: Job, reason: str, state: State = "closing") -> Job:
    """Every row has its end; look after what is left at the provider."""
    return tidy(m, m.enter(job, state, reason=reason))


def tidy(m: Moment, job: Job) -> Job:
    """The next thing to do: list once more, end one stray batch, delete the files; nothing left: done.

    Files stay until nothing can read them any more.
    """
    if job.check_at is not None and m.now >= job.check_at:
        return list_again(m, job)
    if job.strays:
        return poll_stray(m, job)
    if job.check_at is not None:
        return replace(job, next_at=job.check_at)
    files = tuple([file_id for file_id in (job.input_file_id, *job.sources) if file_id is not None])
    if m.terms.deletes and files:
        m.do(DeleteFiles(file_ids=files, why="all rows have their outcome"))
        return replace(job, next_at=m.spread(m.policy.poll_interval))
    return _done(job)


def list_again(m: Moment, job: Job) -> Job:
    """Look for what a delayed or repeated create call may have made beside our batch."""
    since = (job.intent_at or job.created_at) - m.policy.skew
    m.do(List(tag=job.submit_tag, since=since, why="looking for duplicates"))
    return replace(job, next_at=m.spread(m.policy.poll_interval))


def poll_stray(m: Moment, job: Job) -> Job:
    """See whether it is over; `stray_polled` goes on from there."""
    m.do(Poll(batch_id=job.strays[0].id, why="it carries our tag and is not the batch that we adopted"))
    return replace(job, next_at=m.spread(m.policy.poll_interval))


def stray_polled(m: Moment, job: Job, fact: facts.Polled) -> Job:
    """Forget a stray that is over; cancel one that lives on, each time it is seen to."""
    batch = fact.batch
    if batch.over:
        return _without(job, batch.id)
    if batch.status != "cancelling":
        m.do(CancelBatch(batch_id=batch.id, why="a duplicate of the batch that we adopted"))
    return _turned(job, Stray(id=batch.id))


def stray_missing(m: Moment, job: Job, fact: facts.PollFailed) -> Job:
    """Forget a stray that has been gone for long; before that it may come back."""
    stray = next(stray for stray in job.strays if stray.id == fact.batch_id)
    if fact.fault.status in GONE:
        first = stray.first_404_at if stray.first_404_at is not None else m.now
        stray = replace(stray, first_404_at=first, misses=stray.misses + 1)
        if m.now >= first + m.policy.vanish_grace and stray.misses >= m.policy.vanish_polls:
            return _without(job, stray.id)
    return replace(_turned(job, stray), last_error=told(fact.fault))


def stray_cancelled(job: Job, fact: facts.Cancelled) -> Job:
    """A cancel call that was taken is no end yet: only a batch that is over is forgotten."""
    return _without(job, fact.batch_id) if fact.batch is not None and fact.batch.over else job


def _without(job: Job, batch_id: str) -> Job:
    return replace(job, strays=tuple([stray for stray in job.strays if stray.id != batch_id]))


def _turned(job: Job, stray: Stray) -> Job:
    """This one is last next time: none waits for the end of another."""
    return replace(job, strays=(*[other for other in job.strays if other.id != stray.id], stray))


# A job that is closing or lost


def closing_polled(m: Moment, job: Job, fact: facts.Polled) -> Job:
    """A stray was looked at; the next one, unless this one has to be cancelled or to end first."""
    return _go_on(m, job, stray_polled(m, job, fact))


def closing_poll_failed(m: Moment, job: Job, fact: facts.PollFailed) -> Job:
    """A stray could not be looked at."""
    return _go_on(m, job, stray_missing(m, job, fact))


def closing_cancelled(m: Moment, job: Job, fact: facts.Cancelled) -> Job:
    """A stray will end, or has."""
    return _go_on(m, job, stray_cancelled(job, fact))


def closing_cancel_failed(m: Moment, job: Job, fact: facts.CancelFailed) -> Job:
    """It is looked at again, and cancelled again if it lives."""
    m.note("cancel_failed", told(fact.fault))
    return replace(job, last_error=told(fact.fault))


def _go_on(m: Moment, before: Job, job: Job) -> Job:
    return tidy(m, job) if len(job.strays) < len(before.strays) else job


def closing_listed(m: Moment, job: Job, fact: facts.Listed) -> Job:
    """Whatever lives and carries our tag is ended now."""
    return tidy(m, checked(m, job, fact))


def checked(m: Moment, job: Job, fact: facts.Listed) -> Job:
    """Note what carries our tag beside our batch, and whether this provider's listings can be relied on."""
    own = next((batch for batch in fact.batches if batch.id == job.provider_batch_id), None)
    if own is not None and own.tag is None:
        m.learn("no_tags", 1.0, "a listing shows our batch without its tag")
    others = [batch for batch in fact.batches if batch.tag == job.submit_tag and batch.id != job.provider_batch_id]
    job = replace(with_strays(m, job, others), check_at=None, failures=0)
    if fact.complete and (own is not None or job.provider_batch_id is None):
        return job
    # A listing that does not even show our batch can hide others too.
    if job.silent_listings < m.policy.tidy_tries:
        return replace(job, silent_listings=job.silent_listings + 1, check_at=m.now + m.policy.settle)
    return unchecked(m, job, "listings do not show our batch")


def unchecked(m: Moment, job: Job, why: str) -> Job:
    """Enough tries: if there is a duplicate, the sweeper finds it."""
    m.note("unchecked", f"nobody looked for duplicates of this job: {why}")
    return replace(job, check_at=None, failures=0)


def with_strays(m: Moment, job: Job, others: list[ProviderBatch]) -> Job:
    """These are duplicates: to be ended where they live, and counted once."""
    new = [batch.id for batch in others if batch.id not in job.duplicates]
    if new:
        m.note("duplicate", f"{len(new)} more with the same tag: {', '.join(new)}")
    known = {stray.id for stray in job.strays}
    strays = [Stray(id=batch.id) for batch in others if not batch.over and batch.id not in known]
    return replace(job, duplicates=(*job.duplicates, *new), strays=(*job.strays, *strays))


def closing_list_failed(m: Moment, job: Job, fact: facts.ListFailed) -> Job:
    """A few tries; the sweeper finds what this listing would have."""
    if fact.fault.status in NOT_OFFERED:
        m.learn("no_listing", 1.0, told(fact.fault))
    if fact.fault.status in NOT_OFFERED or job.failures + 1 >= m.policy.tidy_tries:
        return tidy(m, unchecked(m, job, told(fact.fault)))
    return m.failed(job, fact.fault, m.policy.poll_interval)


def files_deleted(_m: Moment, job: Job, _fact: facts.FilesDeleted) -> Job:
    """That was the last of it."""
    return _done(job)


def delete_failed(m: Moment, job: Job, fact: facts.DeleteFailed) -> Job:
    """A few tries: the files expire by themselves, and nobody waits for this."""
    if job.failures + 1 >= m.policy.tidy_tries:
        return replace(_done(job), last_error=told(fact.fault))
    return m.failed(job, fact.fault, m.policy.poll_interval)


def _done(job: Job) -> Job:
    return replace(job, state="done", next_at=None)
