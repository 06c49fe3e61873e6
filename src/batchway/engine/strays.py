"""Strays: batches at a provider that carry our tags beside those that our jobs know, found by looking for them.

A create call that was thought lost, or sent by a process that stood still, can make a batch long after its job looked
for duplicates. Such a batch is billed and read by nobody, so its job is made to look again, and ends it.
"""

from collections.abc import Callable, Mapping

import structlog

from batchway.core.errors import Refusal
from batchway.core.job import stray_batches
from batchway.core.types import Fault
from batchway.engine.job_calls import Account, list_batches
from batchway.engine.job_terms import Learning
from batchway.ports import JobStore, Sender

ROUND = 10
"""Settle times between two rounds of `look`: ten minutes at sixty seconds (failures.md §5.6)."""

OLDEST = 2 * 86_400.0
"""Seconds that the first round looks back: what is older is over."""

OVERLAP = 60
"""Settle times that a round looks back beyond the beginning of the last one."""

_log = structlog.get_logger()


class Strays:
    """Looks through each account that jobs were made at, where tags can be read in listings."""

    def __init__(
        self,
        store: JobStore,
        sender: Sender,
        accounts: Mapping[str, Account],
        learning: Learning,
        now: Callable[[], float],
        *,
        settle: float,
        wake: Callable[[], None],
    ) -> None:
        """`accounts` by id; `now`: by the database's clock; `wake`: there is something due."""
        self._store = store
        self._sender = sender
        self._accounts = accounts
        self._learning = learning
        self._now = now
        self._settle = settle
        self._wake = wake
        self._since: dict[str, float] = {}

    async def look(self) -> None:
        """One round. An account that cannot be listed now is looked through in the next."""
        for account_id in await self._store.accounts(self._now() - OLDEST):
            account = self._accounts.get(account_id)
            if account is not None and self._can_be_told(account):
                try:
                    await self._look_through(account)
                except Refusal as refusal:
                    # One that cannot be reached hides the strays of no other.
                    _log.warning("batches cannot be listed", account=account.id, reason=refusal.fault.message)

    def _can_be_told(self, account: Account) -> bool:
        return account.dialect.terms.tagging in ("listed", "perhaps") and self._learning.lists(account.provider)

    async def _look_through(self, account: Account) -> None:
        began = self._now()
        since = self._since.get(account.id, began - OLDEST)
        found = await list_batches(self._sender, account.dialect, None, since)
        if isinstance(found, Fault):
            _log.warning("batches cannot be listed", account=account.id, reason=found.message)
            return
        batches, complete = found
        jobs = await self._store.by_tags([batch.tag for batch in batches if batch.tag is not None])
        for batch in stray_batches(batches, jobs):
            job = jobs[batch.tag or ""]
            _log.warning("a stray batch was found", account=account.id, batch_id=batch.id, job_id=job.id)
            if await self._store.look_again(job.id):
                self._wake()
        if complete:
            self._since[account.id] = began - OVERLAP * self._settle
