"""Forming jobs: what a Batch API cannot take is refused at once, and what it can is dealt out to jobs of rows."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from msgspec import Struct

from batchway.core.commands import FormJob
from batchway.core.errors import BadRequest, Refusal
from batchway.core.events import Event, JobMoved
from batchway.core.job import Job
from batchway.core.job.forming import Share, deal, limits_of, together
from batchway.core.types import Fault, Request
from batchway.engine.job_calls import Account
from batchway.engine.job_terms import Learning
from batchway.ports import JobStore, Successor

AGAIN = 1.0
"""Seconds to the next try while the store is down."""

_log = structlog.get_logger()


class Herald(Protocol):
    """Whom forming tells of the jobs that it formed, and of a store that takes none: the engine."""

    def publish(self, event: Event) -> None: ...
    def store_failed(self, fault: Fault) -> None: ...


class Naming(Struct, frozen=True):
    """Makes ids of jobs, and tags that are unique for ever and go into every custom_id."""

    ids: Callable[[], str]

    def successor(self) -> Successor:
        """An id and its tag."""
        job_id = self.ids()
        return Successor(id=job_id, tag=tag_of(job_id))


def tag_of(job_id: str) -> str:
    """The tag of a job: its id without dashes, in fewer digits, so that a custom_id stays short."""
    number, digits = int(job_id.replace("-", ""), 16), []
    while number:
        number, digit = divmod(number, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return "bw-" + "".join(reversed(digits)).rjust(25, "0")


class Forming:
    """Makes jobs of requests that are on disk. A crash before a job is stored leads its requests back to a window."""

    def __init__(
        self,
        store: JobStore,
        accounts: Mapping[str, Account],
        herald: Herald,
        now: Callable[[], float],
        *,
        window: str,
        metadata: tuple[tuple[str, str], ...],
        learning: Learning,
        naming: Naming,
        wake: Callable[[], None],
        reached: Callable[[str], None],
    ) -> None:
        """`accounts` by provider; `now`: by the database's clock; `wake`: there is something due."""
        self._store = store
        self._accounts = accounts
        self._herald = herald
        self._now = now
        self._window = window
        self._metadata = metadata
        self._learning = learning
        self._naming = naming
        self._wake = wake
        self._reached = reached
        self._tasks: set[asyncio.Task[None]] = set()

    def check(self, request: Request) -> None:
        """Raises BadRequest, naming what is wrong, for what its provider's Batch API cannot take (failures.md #16)."""
        account = self._accounts[request.provider]
        terms = self._learning.terms(account, request.prompt.model)
        if request.endpoint not in terms.endpoints:
            allowed = ", ".join(terms.endpoints)
            raise BadRequest(
                f"strategy: the Batch API of '{account.provider}' takes {allowed}, and no {request.endpoint}; leave "
                "strategy out, or use 'direct'.",
                param="strategy",
                code="not_batchable",
            )
        size = account.dialect.measure(request)
        if terms.max_bytes is not None and size > terms.max_bytes:
            raise BadRequest(
                f"The request has {size} bytes as a line of a batch, and '{account.provider}' takes "
                f"{terms.max_bytes} of all lines; send it directly.",
                code="not_batchable",
            )

    def form(self, command: FormJob) -> None:
        """Form the job, or as many as its provider's limits make of it."""
        task = asyncio.get_running_loop().create_task(self._form(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, seconds: float) -> None:
        """Give what is under way so long to be stored. What is not is found in the store by whoever comes next."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _form(self, command: FormJob) -> None:
        first = command.requests[0]
        account = self._accounts[first.provider]
        terms = self._learning.terms(account, first.prompt.model)
        limits = limits_of(terms, self._learning.enqueued(account.provider, first.prompt.model))
        for number, share in enumerate(deal(command.requests, limits)):
            # The planner knows the first by the id it gave; the others are found by their requests.
            job_id = command.job_id if number == 0 else self._naming.ids()
            await self._form_share(account, job_id, share, terms.window(self._window), command.why)
        self._wake()

    async def _form_share(self, account: Account, job_id: str, share: Share, window: str, why: str) -> None:
        """Until it is stored, however long the store is down."""
        left = share
        while left.requests:
            job = self._job(account, job_id, left, window)
            self._reached("form.before")
            try:
                lost = await self._store.form(job, [request.ask for request in left.requests])
            except Refusal as refusal:
                self._herald.store_failed(refusal.fault)
                await asyncio.sleep(AGAIN)
                continue
            except Exception:  # noqa: BLE001  # A defect: those who wait would never be asked.
                _log.exception("a job cannot be stored yet by a defect", job_id=job_id)
                await asyncio.sleep(AGAIN)
                continue
            if not lost:
                self._reached("form.after")
                self._herald.publish(JobMoved(at=self._now(), job=job, before=None, reason=why))
                return
            gone = frozenset(lost)
            left = together([each for each in left.requests if each.ask not in gone])

    def _job(self, account: Account, job_id: str, share: Share, window: str) -> Job:
        first = share.requests[0]
        now = self._now()
        return Job(
            id=job_id,
            submit_tag=tag_of(job_id),
            provider=account.provider,
            account=account.id,
            endpoint=first.endpoint,
            model=first.prompt.model,
            window=window,
            n=len(share.requests),
            size=share.size,
            tokens=share.tokens,
            metadata=self._metadata,
            created_at=now,
            next_at=now,
        )
