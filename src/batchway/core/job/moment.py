"""One fact at one time: what the transitions have at hand, and the commands they lead to."""

from typing import Any, TypeVar

from msgspec.structs import replace

from batchway.core.job.commands import Fail, JobCommand, Learn, Learnt, Note, Noted, Requeue, Reroute
from batchway.core.job.policy import Rules
from batchway.core.job.row import Job, State
from batchway.core.limits import JITTER
from batchway.core.types import Fault

Command = TypeVar("Command", bound=JobCommand)


class Moment:
    """Given to every transition. Times are seconds since the epoch by the database's clock."""

    __slots__ = ("commands", "dice", "now", "policy", "terms")

    def __init__(self, now: float, rules: Rules) -> None:
        self.now = now
        self.policy = rules.policy
        self.terms = rules.terms
        self.dice = rules.dice
        self.commands: list[JobCommand] = []

    def do(self, command: JobCommand) -> None:
        """Want this done."""
        self.commands.append(command)

    def note(self, kind: Noted, why: str) -> None:
        """Tell the owner."""
        self.do(Note(kind=kind, why=why))

    def learn(self, name: Learnt, value: float, why: str) -> None:
        """Remember this of the provider."""
        self.do(Learn(name=name, value=value, why=why))

    def enter(self, job: Job, state: State, **fields: Any) -> Job:
        """In this state, to be looked at again at once unless `next_at` says otherwise: a lease goes before it."""
        return replace(job, **({"next_at": self.now, "failures": 0} | fields), state=state)

    def spread(self, seconds: float) -> float:
        """So far from now on average, half to one and a half times: many jobs formed together spread out."""
        return self.now + seconds * (0.5 + self.dice.random())

    def retry_at(self, base: float, failures: int, fault: Fault | None = None, cap: float | None = None) -> float:
        """When to try again after so many earlier failures. A Retry-After is kept or exceeded, never undercut."""
        told = fault.retry_after if fault is not None else None
        if told is not None and told > 0:
            return self.now + told * (1 + JITTER * self.dice.random())
        # 2**32 seconds are longer than any cap; a greater exponent would only overflow.
        bound = self.policy.backoff_cap if cap is None else cap
        return self.spread(min(bound, base * 2.0 ** min(failures, 32)))

    def failed(self, job: Job, fault: Fault, base: float, **fields: Any) -> Job:
        """The same state, tried again later."""
        at = self.retry_at(base, job.failures, fault)
        return replace(job, **({"next_at": at} | fields), failures=job.failures + 1, last_error=told(fault))

    # What becomes of the rows without an outcome

    def fail(self, fault: Fault, why: str, positions: tuple[int, ...] | None = None) -> None:
        """End them (or these) with this fault."""
        self.do(Fail(fault=fault, positions=positions, why=why))

    def reroute(self, fault: Fault, why: str) -> None:
        """Let them leave the batch lane."""
        self.do(Reroute(fault=fault, why=why))

    def requeue(self, job: Job, why: str, *, parts: int = 1, counts: bool = False, **fields: Any) -> None:
        """Give them new jobs. `counts`: the provider had its chance at them, this was one of their jobs."""
        same = {"splits": job.splits, "crowded": job.crowded, "not_before": self.now}
        self.do(Requeue(parts=parts, attempt=job.attempt + counts, why=why, **(same | fields)))


def told(fault: Fault) -> str:
    """A fault in one line, for people."""
    return f"{fault.code or fault.status}: {fault.message}"[:500]
