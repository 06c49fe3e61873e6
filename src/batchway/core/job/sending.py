"""From formed to submitted: uploading, creating the batch once, and finding out what became of a create call."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from batchway.core.job import facts
from batchway.core.job.batch import ProviderBatch
from batchway.core.job.closing import NOT_OFFERED, finish, with_strays
from batchway.core.job.commands import List, Submit, Upload
from batchway.core.job.ending import divide, drop
from batchway.core.job.moment import Moment, told
from batchway.core.job.row import Job
from batchway.core.job.submission import Blame, blame, candidates, doubt, refuses
from batchway.core.job.watching import watch
from batchway.core.types import Fault


def begin(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    """Upload, or create at once where rows travel in the create call.

    Also after a worker died while uploading: an upload costs nothing, and one that nobody knows of expires by itself.
    """
    if job.cancel is not None:
        return drop(m, job)
    if m.now < job.not_before:
        return replace(job, next_at=job.not_before)
    if not m.terms.uploads:
        return _submit(m, job, "its time has come")
    m.do(Upload(why="its time has come"))
    return replace(job, state="uploading", next_at=m.now, uploads=job.uploads + 1)


def uploaded(m: Moment, job: Job, fact: facts.Uploaded) -> Job:
    """The file is there: create the batch."""
    job = replace(job, input_file_id=fact.file_id)
    return drop(m, job) if job.cancel is not None else _submit(m, job, "its rows are uploaded")


def upload_failed(m: Moment, job: Job, fact: facts.UploadFailed) -> Job:
    """Nothing is created by an upload: whatever happened, it can be tried again."""
    return _refused(m, job, fact.fault)


def resume(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    """The file is there, and the last create call was refused: once more."""
    return drop(m, job) if job.cancel is not None else _submit(m, job, "trying again after a refusal")


def _submit(m: Moment, job: Job, why: str) -> Job:
    """The intent is stored with this state, before the first byte of the call."""
    m.do(Submit(why=why))
    intent = job.intent_at if job.intent_at is not None else m.now
    return replace(job, state="submitting", next_at=m.now, intent_at=intent, submissions=job.submissions + 1)


# What came of the create call


def died_submitting(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    """The worker died between storing the intent and storing the outcome."""
    return doubt(m, job, "the worker died while it created the batch")


def submitted(m: Moment, job: Job, fact: facts.Submitted) -> Job:
    """A clean create. What the tag finds beside it a little later is a duplicate."""
    return _adopt(m, job, fact.batch, proven=True)


def submit_failed(m: Moment, job: Job, fact: facts.SubmitFailed) -> Job:
    """Nothing sent: again soon. Refused: what it is about decides. Anything else: unknown."""
    if not fact.sent:
        return _wait(m, job, fact.fault)
    if refuses(fact.fault):
        return _refused(m, job, fact.fault)
    return doubt(m, job, f"the create call was not answered ({told(fact.fault)})")


def _adopt(m: Moment, job: Job, batch: ProviderBatch, *, proven: bool) -> Job:
    job = m.enter(
        job,
        "submitted",
        provider_batch_id=batch.id,
        proven=proven,
        submitted_at=m.now,
        silent_listings=0,
        # Only a tag that listings show can tell a duplicate from somebody else's batch.
        check_at=m.now + m.policy.settle if m.terms.tagging in ("listed", "perhaps") else None,
    )
    return watch(m, job, batch)


# Refusals: nothing was created


def _refused(m: Moment, job: Job, fault: Fault) -> Job:
    return _AFTER_REFUSAL[blame(fault, job)](m, job, fault)


def _wait(m: Moment, job: Job, fault: Fault, base: float | None = None) -> Job:
    state = "formed" if job.input_file_id is None else "uploaded"
    waiting = m.failed(job, fault, base or m.policy.refusal_wait)
    return replace(waiting, state=state)


def _wait_for_owner(m: Moment, job: Job, fault: Fault) -> Job:
    """A refused key or an empty account is not the rows' fault, and heals when its owner acts."""
    m.note("held", told(fault))
    return _wait(m, job, fault, m.policy.hold)


def _halve(m: Moment, job: Job, fault: Fault) -> Job:
    m.learn("max_bytes", job.size // 2 if job.n > 1 else job.size - 1, told(fault))
    return divide(m, job, fault, f"too large for the provider at {job.size} bytes")


def _leave_lane(m: Moment, job: Job, fault: Fault) -> Job:
    why = f"the provider has no Batch API here ({told(fault)})"
    m.learn("no_batch", 1.0, why)
    m.reroute(fault, why)
    return finish(m, job, "no_batch")


def _upload_again(m: Moment, job: Job, fault: Fault) -> Job:
    return replace(_wait(m, replace(job, input_file_id=None), fault), state="formed")


def _take_other_window(m: Moment, job: Job, fault: Fault) -> Job:
    """Its window is not for sale here after all: the longest is taken instead, and its deadline with it."""
    longest = m.terms.windows[-1]
    if job.window == longest:
        return _wait_for_owner(m, job, fault)
    m.learn("longest_window", 1.0, told(fault))
    m.note("window", f"the provider does not sell {job.window}: {longest} it is")
    return _wait(m, replace(job, window=longest), fault)


def _divide(m: Moment, job: Job, fault: Fault) -> Job:
    return divide(m, job, fault, f"the provider refuses its rows ({told(fault)})")


_AFTER_REFUSAL: Mapping[Blame, Callable[[Moment, Job, Fault], Job]] = {
    "load": _wait,
    "account": _wait_for_owner,
    "size": _halve,
    "lane": _leave_lane,
    "file": _upload_again,
    "window": _take_other_window,
    "rows": _divide,
}


# Resolving an unknown outcome


def resolve(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    """List, but not before what was created would show, nor sooner after a listing that did not show it."""
    earliest = max(job.listed_at or 0.0, job.unknown_since or 0.0) + m.policy.settle
    if m.now < earliest:
        return replace(job, next_at=earliest)
    if m.terms.tagging == "none":
        return _cannot_know(m, job)
    since = (job.intent_at or job.created_at) - m.policy.skew
    m.do(List(tag=job.submit_tag, since=since, why="was the create call accepted?"))
    return replace(job, next_at=m.now + m.policy.settle)


def doubt_listed(m: Moment, job: Job, fact: facts.Listed) -> Job:
    """One is ours: adopt it. Several: adopt the first, end the others. None, twice: it was not accepted."""
    found = candidates(m, job, fact)
    if found:
        return _adopt_found(m, job, found)
    if not fact.complete:
        return replace(job, next_at=m.retry_at(m.policy.settle, job.failures), failures=job.failures + 1)
    job = replace(job, listed_at=m.now, silent_listings=job.silent_listings + 1, failures=0)
    if job.silent_listings < 2:
        return replace(job, next_at=m.now + m.policy.settle)
    if job.cancel is not None:
        # A create call may be delayed for long: what it makes after all is looked for once more.
        return drop(m, replace(job, check_at=m.now + m.policy.settle))
    return _submit(m, job, "two listings, a settle time apart, do not show it: it was not accepted")


def _adopt_found(m: Moment, job: Job, found: list[ProviderBatch]) -> Job:
    first, *others = found
    m.note("adopted", f"found in a listing: {first.id}")
    proven = first.tag == job.submit_tag
    if proven:
        job = with_strays(m, job, others)
    return _adopt(m, job, first, proven=proven)


def doubt_list_failed(m: Moment, job: Job, fact: facts.ListFailed) -> Job:
    """It proves nothing: listed again later, unless the provider cannot list at all."""
    if fact.fault.status in NOT_OFFERED:
        m.learn("no_listing", 1.0, told(fact.fault))
        return _cannot_know(m, job)
    return m.failed(job, fact.fault, m.policy.settle)


def _cannot_know(m: Moment, job: Job) -> Job:
    """No listing can tell: the owner's policy decides, and the risk is recorded."""
    if job.cancel is not None:
        return drop(m, job, risk=True)
    return _WITHOUT_LISTING[m.policy.on_unknown](m, job)


def _hold(m: Moment, job: Job) -> Job:
    m.note("held", "nobody can say whether the batch was created: on_unknown=hold waits for its owner")
    return replace(job, next_at=m.spread(m.policy.hold))


def _submit_blindly(m: Moment, job: Job) -> Job:
    return _submit(m, job, "on_unknown=resubmit: it may be paid twice")


def _fail_unknown(m: Moment, job: Job) -> Job:
    why = "the provider did not answer the create call and cannot list its batches (on_unknown=fail)"
    fault = Fault(
        whose="theirs",
        status=502,
        type="upstream_error",
        code="submit_unknown",
        message=f"{why[0].upper()}{why[1:]}.",
        billed="unknown",
    )
    m.fail(fault, why)
    return finish(m, job, "submit_unknown")


_WITHOUT_LISTING: Mapping[str, Callable[[Moment, Job], Job]] = {
    "hold": _hold,
    "resubmit": _submit_blindly,
    "fail": _fail_unknown,
}
