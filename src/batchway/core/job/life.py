"""The life of a job: its states, and for each state and fact the transition, as one table.

    formed ──▶ uploading ──▶ uploaded ──▶ submitting ──▶ submitted ──▶ ingesting ──▶ closing ──▶ done
      ▲            │            ▲             │  ▲           ▲ │                        ▲
      └────────────┘            └── refused ──┤  │    adopted│ │404, for long           │
        refused                               ▼  │none twice │ ▼                        │
                                           submit_unknown ───┘ lost ────────────────────┘ (as closing)

A row is claimed by one worker at a time, told what happened, stored, and only then are its commands obeyed. A worker
may die anywhere: the row as last stored is claimed again. Invariants, held by tests/core/test_job_property.py:

1. `submitting` is stored before the first byte of a create call, and its outcome is unknown until a fact is stored.
2. A create call is repeated only after the last one was refused, was not sent, or was not seen in two listings a settle
   time apart (or `on_unknown=resubmit` where nothing can be listed).
3. Every row gets exactly one end, in one transaction: an answer, a fault, or a place in another job or lane.
4. A row is in at most `max_jobs_per_row` jobs that the provider began.
5. When a job is done, no live batch carries its tag but for what a create call makes still later: where such a stray
   is found (`look_again`), its job is closing once more, and ends it.
6. Results are read however the batch ended, and only rows without an outcome are sent again.
7. A job that is not done has a `next_at`; one that is done asks for nothing.
8. Each fact leads to at most one action.

What is absent: no fence, no lease and no id here. The fenced UPDATE is the driver's; ids come with the rows.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from batchway.core.job import closing, facts, sending, watching
from batchway.core.job.closing import tidy
from batchway.core.job.commands import JobCommand
from batchway.core.job.facts import JobFact
from batchway.core.job.moment import Moment
from batchway.core.job.policy import Rules
from batchway.core.job.row import Job, State, Wish

Transition = Callable[[Moment, Job, Any], Job]


def _close_on(m: Moment, job: Job, _fact: facts.Claimed) -> Job:
    return tidy(m, job)


def _note_wish(m: Moment, job: Job, fact: facts.CancelAsked) -> Job:
    if job.cancel is not None:
        return job
    return replace(job, cancel=Wish(by=fact.by, why=fact.why, then=fact.then, at=m.now), next_at=m.now)


def _too_late(_m: Moment, job: Job, _fact: facts.CancelAsked) -> Job:
    return job


_CLOSING: Mapping[type, Transition] = {
    facts.Claimed: _close_on,
    facts.CancelAsked: _too_late,
    facts.Listed: closing.closing_listed,
    facts.ListFailed: closing.closing_list_failed,
    facts.Polled: closing.closing_polled,
    facts.PollFailed: closing.closing_poll_failed,
    facts.Cancelled: closing.closing_cancelled,
    facts.CancelFailed: closing.closing_cancel_failed,
    facts.FilesDeleted: closing.files_deleted,
    facts.DeleteFailed: closing.delete_failed,
}

TABLE: Mapping[State, Mapping[type, Transition]] = {
    "formed": {
        facts.Claimed: sending.begin,
        facts.CancelAsked: _note_wish,
    },
    "uploading": {
        facts.Claimed: sending.begin,
        facts.CancelAsked: _note_wish,
        facts.Uploaded: sending.uploaded,
        facts.UploadFailed: sending.upload_failed,
    },
    "uploaded": {
        facts.Claimed: sending.resume,
        facts.CancelAsked: _note_wish,
    },
    "submitting": {
        facts.Claimed: sending.died_submitting,
        facts.CancelAsked: _note_wish,
        facts.Submitted: sending.submitted,
        facts.SubmitFailed: sending.submit_failed,
    },
    "submit_unknown": {
        facts.Claimed: sending.resolve,
        facts.CancelAsked: _note_wish,
        facts.Listed: sending.doubt_listed,
        facts.ListFailed: sending.doubt_list_failed,
    },
    "submitted": {
        facts.Claimed: watching.look,
        facts.CancelAsked: _note_wish,
        facts.Listed: watching.listed,
        facts.ListFailed: watching.list_failed,
        facts.Polled: watching.polled,
        facts.PollFailed: watching.poll_failed,
        facts.Cancelled: watching.cancel_taken,
        facts.CancelFailed: watching.cancel_failed,
        facts.Ingested: watching.read_while_running,
        facts.IngestFailed: watching.partial_read_failed,
    },
    "ingesting": {
        facts.Claimed: watching.read_again,
        facts.CancelAsked: _note_wish,
        facts.Ingested: watching.ingested,
        facts.IngestFailed: watching.read_failed,
    },
    "closing": _CLOSING,
    "lost": _CLOSING,
    "done": {facts.CancelAsked: _too_late},
}
"""For every state the facts that it can be told, and what follows. Any other pair is a defect of the driver."""


def advance(job: Job, fact: JobFact, now: float, rules: Rules) -> tuple[Job, tuple[JobCommand, ...]]:
    """The row after this fact, and what is to be done. `now`: seconds since the epoch, of the database's clock.

    Raises ValueError for a fact that this state cannot be told.
    """
    transition = TABLE[job.state].get(type(fact))
    if transition is None:
        raise ValueError(f"job {job.id} is {job.state} and cannot be told {type(fact).__name__}")
    moment = Moment(now, rules)
    changed = transition(moment, job, fact)
    return changed, tuple(moment.commands)
