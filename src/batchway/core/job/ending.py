"""The end of a job's rows: who has no outcome when nothing more will come gets another job, another lane or a fault.

It is stored in the same transaction that makes the job `closing` (or `lost`), so each row gets exactly one end.
"""

from collections.abc import Callable, Mapping
from math import ceil

from batchway.core.job.batch import Problem
from batchway.core.job.closing import finish
from batchway.core.job.moment import Moment
from batchway.core.job.row import Job, State, Then
from batchway.core.types import Fault

TOKEN_LIMIT = "token_limit_exceeded"  # noqa: S105  # A code of OpenAI's.
"""The batch was created and then failed, because too many tokens are enqueued (providers.md §3.6)."""

ABOUT_THE_MODEL = frozenset({"model_not_found", "model_not_batchable", "invalid_model"})
"""Codes that hold for every row alike, since all have one model. The third is a guess."""

VALIDATION = frozenset(
    {
        "duplicate_custom_id",
        "empty_batch",
        "empty_file",
        "input_modified",
        "input_no_permissions",
        "invalid_json_line",
        "invalid_request",
        "mismatched_model",
        "model_mismatch",
        "too_many_tasks",
        "url_mismatch",
    }
)
"""Codes of input that is refused again each time it is sent unchanged (providers.md §3.6, Azure's names)."""


def settle_rest(m: Moment, job: Job, *, unread: int = 0) -> Job:
    """The batch is over and its results are read: whoever has no outcome gets another job, another lane or a fault.

    `unread`: rows that the provider counts as finished and does not show. They are billed, and nobody ever sees them.
    """
    if job.open <= 0:
        return finish(m, job, job.status)
    if unread > 0:
        m.note("gone", f"the provider counts {unread} more finished rows than it shows: they may be billed twice")
    if job.cancel is not None:
        return drop(m, job, risk=unread > 0)
    if job.status == "failed" and job.problems:
        return _settle_problems(m, job)
    why = f"the provider's batch ended {job.status} without them"
    return again(m, job, f"batch_{job.status}", why, risk=unread > 0)


def again(m: Moment, job: Job, code: str, why: str, *, risk: bool = False, state: State = "closing") -> Job:
    """One more job for the rows if they may have one, else a fault that names how this one ended.

    `risk`: what the provider did may be billed, and is paid again by the next job.
    """
    if job.open <= 0:
        return finish(m, job, code, state)
    if job.attempt < m.policy.max_jobs_per_row:
        m.requeue(job, why, counts=True)
    else:
        m.fail(_theirs(code, f"{why}; {_jobs(job.attempt)} tried.", billed=risk), why)
    return finish(m, job, code, state)


def drop(m: Moment, job: Job, *, risk: bool = False) -> Job:
    """End the rows as the wish says: nothing of the job is running any more. `risk`: as far as anybody can say."""
    wish = job.cancel
    assert wish is not None
    why = f"the job was cancelled by {wish.by}: {wish.why}"
    fault = Fault(
        whose="yours",
        status=499,
        type="cancelled",
        code="job_cancelled",
        message=f"{why}.",
        billed="unknown" if risk else "no",
    )
    _DROPS[wish.then](m, job, fault, why)
    return finish(m, job, "cancelled")


def _requeue_dropped(m: Moment, job: Job, fault: Fault, why: str) -> None:
    began = job.provider_batch_id is not None
    if began and job.attempt >= m.policy.max_jobs_per_row:
        m.fail(fault, f"{why}; its rows may not have another job")
    else:
        m.requeue(job, why, counts=began)


_DROPS: Mapping[Then, Callable[[Moment, Job, Fault, str], None]] = {
    "fail": lambda m, _job, fault, why: m.fail(fault, why),
    "reroute": lambda m, _job, fault, why: m.reroute(fault, why),
    "requeue": _requeue_dropped,
}


def _theirs(code: str, message: str, *, billed: bool = False) -> Fault:
    return Fault(
        whose="theirs",
        status=502,
        type="upstream_error",
        code=code,
        message=message,
        billed="unknown" if billed else "no",
    )


def _jobs(attempt: int) -> str:
    return f"{attempt} job was" if attempt == 1 else f"{attempt} jobs were"


# A batch that failed for a reason


def _settle_problems(m: Moment, job: Job) -> Job:
    """Heed what the provider says was wrong; send nothing again unchanged that will be refused again."""
    first = job.problems[0]
    codes = {problem.code for problem in job.problems}
    if TOKEN_LIMIT in codes:
        return _crowded(m, job, next(problem for problem in job.problems if problem.code == TOKEN_LIMIT))
    if codes & ABOUT_THE_MODEL:
        why = f"the provider does not batch this model: {first.message}"
        m.learn("no_batch", 1.0, why)
        m.reroute(_theirs(first.code or "batch_failed", first.message), why)
        return finish(m, job, "refused")
    lines = {problem.line: problem for problem in job.problems if problem.line and problem.line <= job.n}
    if lines:
        return _fail_lines(m, job, lines)
    if codes & VALIDATION:
        return divide(m, job, _theirs(first.code or "batch_failed", first.message), "the provider refuses its rows")
    return again(m, job, "batch_failed", f"the provider's batch failed: {first.message}")


def _fail_lines(m: Moment, job: Job, lines: Mapping[int, Problem]) -> Job:
    for line, problem in lines.items():
        fault = _theirs(problem.code or "invalid_request", problem.message)
        m.fail(fault, f"the provider refuses line {line}", (line - 1,))
    if job.open > len(lines):
        m.requeue(job, "other rows of its job were refused", splits=job.splits + 1)
    return finish(m, job, "refused")


def _crowded(m: Moment, job: Job, problem: Problem) -> Job:
    """Too much is enqueued: wait for other jobs to end; what is larger than the limit by itself is divided first."""
    m.note("crowded", problem.message)
    if problem.limit is not None:
        m.learn("enqueued_tokens", problem.limit, problem.message)
    fault = _theirs(TOKEN_LIMIT, problem.message)
    if problem.limit is not None and job.tokens > problem.limit:
        return divide(m, job, fault, "it is larger than the provider's limit", ceil(job.tokens / problem.limit))
    if job.crowded >= m.policy.max_crowded:
        m.fail(fault, "the provider's limit on enqueued tokens was met too often")
        return finish(m, job, "crowded")
    wait = m.retry_at(m.policy.token_wait, job.crowded, cap=m.policy.token_cap)
    m.requeue(job, "the provider's limit on enqueued tokens was met", crowded=job.crowded + 1, not_before=wait)
    return finish(m, job, "crowded")


def divide(m: Moment, job: Job, fault: Fault, why: str, parts: int = 2) -> Job:
    """Never send again unchanged what is refused: smaller jobs find the row that is to blame, which fails alone."""
    if job.open <= 1:
        m.fail(fault, why)
    else:
        m.requeue(job, why, parts=min(parts, job.open), splits=job.splits + 1)
    return finish(m, job, "refused")
