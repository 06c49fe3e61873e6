"""A step in the life of a job, written as one: the row, what came of its requests, what it cost and what is told."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection

from batchway.core.job import Job
from batchway.core.types import Answer
from batchway.store import answers, events, jobs, requests
from batchway.store.answers import Result
from batchway.store.events import Told
from batchway.store.jobs import Held


class Successor(Struct, frozen=True, kw_only=True):
    """A further job for rows without an outcome."""

    job: Job
    asks: tuple[str, ...]


class JobStep(Struct, frozen=True, kw_only=True):
    """What a step changes."""

    held: Held
    job: Job
    """As it is now."""
    release: bool = True
    results: tuple[Result, ...] = ()
    """Of its rows. For a row that has its end already they are ignored."""
    successors: tuple[Successor, ...] = ()
    rerouted: tuple[str, ...] = ()
    """`ask` of rows without an outcome that leave the batch lane."""
    reroute_to: str | None = None
    """The owner that finds them another."""
    told: tuple[Told, ...] = ()


def take(connection: Connection, step: JobStep) -> list[bool] | None:
    """Write the step. Returns for each result whether it is its request's answer now; None: another has taken the job,
    and nothing is written."""
    if not jobs.write(connection, step.held, step.job, release=step.release):
        return None
    ended = _end_rows(connection, step.job.id, step.results)
    new = [result for result in step.results if result.ask in ended]
    first = dict(zip([result.ask for result in new], answers.add(connection, new), strict=True))
    for successor in step.successors:
        jobs.succeed(connection, successor.job, successor.asks, step.job.id)
    if step.rerouted:
        jobs.set_rows(connection, step.job.id, step.rerouted, jobs.REQUEUED)
        requests.requeue(connection, step.rerouted, step.reroute_to)
    events.tell(connection, step.told)
    return [first.get(result.ask, False) for result in step.results]


def _end_rows(connection: Connection, job_id: str, results: Sequence[Result]) -> set[str]:
    done = [result.ask for result in results if isinstance(result.outcome, Answer)]
    failed = [result.ask for result in results if not isinstance(result.outcome, Answer)]
    return jobs.set_rows(connection, job_id, done, "done") | jobs.set_rows(connection, job_id, failed, "failed")
