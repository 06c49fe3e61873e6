"""Submitting once: what a refusal is about, when an outcome is unknown, and which batches in a listing are ours.

No provider in reach makes create calls idempotent (providers.md §0), so our tag and listings have to (failures.md §5).
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec.structs import replace

from batchway.core.job.batch import ProviderBatch
from batchway.core.job.facts import Listed
from batchway.core.job.moment import Moment
from batchway.core.job.row import Job, State
from batchway.core.types import Fault

Blame = Literal["load", "account", "size", "lane", "file", "window", "rows"]
"""What a refusal is about. Nothing was created, so what follows is safe."""

UNSETTLED = frozenset({408, 409, 425})
"""Statuses of 4xx that do not prove that nothing was created."""

ACCOUNT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Codes or types of refusals that only the owner of the account can mend, whatever their status."""


def refuses(fault: Fault) -> bool:
    """The provider certainly made no batch. 429 is a refusal: it stands before all work (design.md §4.7)."""
    return 400 <= fault.status < 500 and fault.status not in UNSETTLED


def blame(fault: Fault, job: Job) -> Blame:
    """What the refusal of an upload or of a create call is about."""
    status = fault.status
    if status in (401, 402, 403) or not ACCOUNT_CODES.isdisjoint((fault.code, fault.type)):
        return "account"
    if status == 413:
        return "size"
    if status in (404, 405):
        return "file" if _speaks_of_file(fault, job) else "lane"
    if refuses(fault) and (fault.param == "completion_window" or "completion_window" in fault.message):
        return "window"
    return "rows" if refuses(fault) and status != 429 else "load"


def _speaks_of_file(fault: Fault, job: Job) -> bool:
    """A 404 for the file, not for the Batch API: it expired, or is not yet seen where the create call arrived."""
    return job.input_file_id is not None and (fault.param == "input_file_id" or job.input_file_id in fault.message)


def doubt(m: Moment, job: Job, why: str) -> Job:
    """Nobody knows whether the create call was accepted: neither failed nor to be repeated before it is known."""
    m.note("unknown", why)
    return m.enter(
        job,
        "submit_unknown",
        unknown_since=m.now,
        listed_at=None,
        silent_listings=0,
        next_at=m.now + m.policy.settle,
        last_error=why,
    )


def candidates(m: Moment, job: Job, listed: Listed) -> list[ProviderBatch]:
    """The listed batches that are this job's, the one to adopt first.

    Of several with our tag one is adopted that may still bring results, of those the one with the lowest id, so that
    any two workers who look at the same batches choose the same. Where only results can prove it: the oldest of those
    that look right.
    """
    tagged = [batch for batch in listed.batches if batch.tag == job.submit_tag]
    if tagged or m.terms.tagging == "listed":
        return sorted(tagged, key=lambda batch: (_fruitless(batch), batch.id))
    since = (job.intent_at or job.created_at) - m.policy.skew
    return sorted(
        (batch for batch in listed.batches if batch.id not in listed.claimed and _alike(batch, job, since)),
        key=lambda batch: (batch.created_at or 0.0, batch.id),
    )


def _fruitless(batch: ProviderBatch) -> bool:
    return batch.over and batch.status != "completed"


def _alike(batch: ProviderBatch, job: Job, since: float) -> bool:
    """It could be this job's: as many rows (or not yet counted), not older than the intent, untagged, not disproved."""
    total = batch.counts.total if batch.counts is not None else 0
    return (
        batch.id not in job.not_ours
        and batch.tag is None
        and (total == job.n or (total == 0 and batch.status in ("validating", "unknown")))
        and batch.created_at is not None
        and batch.created_at >= since
    )


def look_again(job: Job, now: float) -> Job | None:
    """The job as it has to be to look for batches beside its own once more, done or not. None: it will do so by itself,
    since its last create call has not ended well yet."""
    if job.state in ("formed", "uploading", "uploaded", "submitting", "submit_unknown"):
        return None
    state: State = "closing" if job.state == "done" else job.state
    return replace(job, state=state, check_at=now, next_at=now)


def stray_batches(batches: Iterable[ProviderBatch], jobs: Mapping[str, Job]) -> list[ProviderBatch]:
    """For the sweeper: live batches that carry the tag of a job of ours and that the job does not know.

    `jobs`: by tag. A job that is submitting or in doubt may own what it does not know yet; a tag that we never made
    belongs to another gateway at the same account. Both are left alone.
    """
    return [batch for batch in batches if not batch.over and _is_stray(batch, jobs.get(batch.tag or ""))]


def _is_stray(batch: ProviderBatch, job: Job | None) -> bool:
    if job is None or job.state in ("submitting", "submit_unknown"):
        return False
    known = {job.provider_batch_id, *[stray.id for stray in job.strays]}
    return batch.id not in known
