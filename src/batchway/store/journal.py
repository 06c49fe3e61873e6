"""The journal: requests put on disk before they are acknowledged or sent, and how they ended before anybody is told."""

from collections.abc import Callable, Collection, Sequence

from msgspec import structs
from sqlalchemy import Connection

from batchway.core.commands import Keep, Save
from batchway.core.errors import Swept
from batchway.core.facts import Known
from batchway.core.fingerprint import reusable
from batchway.core.rescue import RescueRule, leave_at
from batchway.core.types import Answer, Fault, Request
from batchway.store import answers, requests
from batchway.store.answers import Result, Stored
from batchway.store.custody import Custodian
from batchway.store.database import Database
from batchway.store.failures import StoreDown, Taken
from batchway.store.requests import Entry


class StoreJournal:
    """`ports.Journal` over a store."""

    def __init__(
        self,
        database: Database,
        custodian: Custodian,
        now: Callable[[], float],
        *,
        retention: float | None,
        cache_ttl: float,
        rescue: RescueRule,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`retention`: seconds that bodies are kept after the answer, where the key says nothing; None: for good.
        `cache_ttl`: how old an answer may be that serves an equal request. `reached` is told of places in this code,
        for proofs."""
        self._database = database
        self._custodian = custodian
        self._now = now
        self._retention = retention
        self._cache_ttl = cache_ttl
        self._rescue = rescue
        self._reached = reached

    async def look(self, asked: Sequence[Request]) -> list[Known | Exception | None]:
        """See `ports.Journal`."""
        since = self._now() - self._cache_ttl if self._cache_ttl > 0 else None
        try:
            return list(await self._database.read(_look_all, asked, since))
        except StoreDown as down:
            return [down for _ in asked]
        except Exception as error:  # noqa: BLE001  # A row that nobody can read harms only who asks for it.
            return [error] if len(asked) == 1 else [(await self.look([request]))[0] for request in asked]

    async def save(self, saves: Sequence[Save]) -> list[Known | Exception | None]:
        """See `ports.Journal`."""
        self._reached("save.before")
        try:
            outcomes = await self._database.write_all(requests.save, list(map(self.entry, saves)))
        except StoreDown as closed:
            return [closed for _ in saves]
        found = [
            None if outcome.error is None else await self._not_saved(save.request, outcome.error)
            for save, outcome in zip(saves, outcomes, strict=True)
        ]
        self._reached("save.after")
        return found

    async def _not_saved(self, request: Request, error: Exception) -> Known | Exception | None:
        if isinstance(error, Taken):
            (known,) = await self.look([request])
            return known
        if isinstance(error, StoreDown):
            self._take_back(request)
        return error

    def _take_back(self, request: Request) -> None:
        """It may be on disk all the same, where the server went away during the commit, and its caller is told that it
        is not. Whoever gave it an id asks for it again by that, and finds it; nobody can find any other."""
        if not request.named:
            self._database.post(requests.forget, request.ask, size=len(request.ask), kept=True)

    def entry(self, save: Save) -> Entry:
        """A request as it is kept."""
        request = save.request
        return Entry(
            request=request,
            lane=save.lane,
            owner=self._custodian.owner,
            rescue_at=leave_at(request, self._rescue) if save.lane == "batch" else None,
            retention=kept_seconds(request, self._retention),
            why=save.why,
        )

    async def keep(self, keep: Keep) -> None:
        """See `ports.Journal`. Whoever was first is told; what came late is charged as overhead by its own driver."""
        self._reached("keep.before")
        await self._database.write_each(answers.add, kept(keep, self._now()))
        self._reached("keep.after")

    async def outcomes(self, asks: Collection[str]) -> dict[str, tuple[str, Answer | Fault]]:
        """See `ports.Journal`."""
        return await self._database.read(answers.outcomes, list(asks))


def kept_seconds(request: Request, default: float | None) -> float | None:
    """How long its bodies are kept after the answer; None: for good."""
    if request.retention is None:
        return default
    return 0.0 if request.retention == "none" else request.retention


def kept(keep: Keep, now: float) -> Result:
    """How it ended, as a row."""
    return Result(
        ask=keep.request.ask,
        outcome=keep.result,
        via=keep.via,
        finished_at=now,
        batch_id=keep.call_id if keep.via == "batch" else None,
        packed=keep.packed,
        cost=keep.cost,
        saved=keep.saved,
        charges=keep.charges,
        # Several charges of one packed call may be for nothing, so each has a call id of its own.
        late_call=f"{keep.call_id}-{keep.request.ask}" if keep.packed > 1 else keep.call_id,
        why=keep.why,
    )


def _look_all(connection: Connection, asked: Sequence[Request], since: float | None) -> list[Known | None]:
    """By its id if it was given one, else by what it asks, if it may be served so."""
    named = answers.find_all(connection, [(request.tenant, request.id) for request in asked if request.named])
    return [_look(connection, request, named.get((request.tenant, request.id)), since) for request in asked]


def _look(connection: Connection, request: Request, named: Stored | None, since: float | None) -> Known | None:
    if named is not None:
        return _known(connection, named, request)
    if since is None or reusable(request) is not None:
        return None
    shared = answers.find_shared(connection, request.tenant, request.fingerprint, since)
    return None if shared is None else _known(connection, shared, request)


def _known(connection: Connection, stored: Stored, asked: Request) -> Known:
    """What is on disk, as the planner is told: its request need not be read whole, but for what is under way."""
    request = requests.load(connection, stored.ask) if stored.outcome is None else None
    if request is None:
        request = _like(asked, stored)
    return Known(request=request, result=_result(stored), call_id=stored.batch_id or stored.ask)


def _like(asked: Request, stored: Stored) -> Request:
    """The stored request as far as an answered one matters: who it was, and whether it asked the same."""
    return structs.replace(asked, ask=stored.ask, id=stored.request_id, fingerprint=stored.fingerprint)


def _result(stored: Stored) -> Answer | Fault | None:
    if stored.status == requests.CANCELLED:
        return answers.CANCELLED_BY_OWNER
    if stored.swept:
        return Swept("The request was answered, and its answer is not kept any more; ask again under another id.").fault
    return stored.outcome
