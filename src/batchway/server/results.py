"""Results: what became of many requests, as JSON Lines in the order of their ids, and how many there are of each.

What they asked comes the same way, as lines that can be submitted again.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from batchway.assemble import Gateway
from batchway.core.errors import BadRequest, Refusal, Swept
from batchway.engine.intake import Identity
from batchway.ports import Pending
from batchway.server.access import Access
from batchway.server.exchange import PRIVATE, Gone, Receive, Scope, Send, write
from batchway.server.telling import Telling
from batchway.server.visits import Visits
from batchway.store import requests, results
from batchway.store.answers import Stored
from batchway.store.results import STATUSES, Alike, Entry
from batchway.wire.hints import MAX_ID
from batchway.wire.lines import MEDIA_TYPE, anew, one
from batchway.wire.native import error_body

PAGE = 1000
"""Requests that are looked up at a time."""

HEAVY = 4 << 20
"""Bytes of answers that are held at a time, or little more."""

FEW = 16
"""Requests whose bodies are held at a time: how large they are is known only when they are there."""

Prefix = Annotated[str, Query(description="How their ids begin; all of them where it is not given")]
Status = Annotated[str | None, Query(description="Only of these statuses, with commas between")]

Page = Sequence[Entry]
Tell = Callable[[Page], AsyncIterator[bytes]]
"""Says of some requests what is to be said of them, a line for each."""


def add(app: FastAPI, gateway: Gateway, access: Access, visits: Visits) -> None:
    """Add the routes."""

    async def flow(telling: Telling, request: Request, prefix: str, status: str | None, tell: Tell) -> Response:
        whose = _alike(gateway, access.identify(request.headers), prefix, status)
        lines = _lines(telling, whose, tell)
        # Once the answer has begun, a store that is down can no longer be told of.
        first = await anext(lines, b"")
        return Flow(visits, first, lines)

    @app.get("/results", tags=["native"], response_class=Response)
    async def list_results(request: Request, prefix: Prefix = "", status: Status = None) -> Response:
        """What became of one's requests: a line for each as `/requests/{request_id}` shows it, by their ids."""
        telling = Telling(gateway, "/results")
        return await flow(telling, request, prefix, status, lambda page: _answers(telling, page))

    @app.get("/results/requests", tags=["native"], response_class=Response)
    async def list_requests(request: Request, prefix: Prefix = "", status: Status = None) -> Response:
        """What they asked: a line for each as `/submit` takes it, by their ids. `custom_id` is its id without the
        prefix, and its body says what held for it (a deadline begins anew), so that it can be asked again as it was."""
        telling = Telling(gateway, "/results/requests")
        return await flow(telling, request, prefix, status, lambda page: _asked(telling, prefix, page))

    @app.get("/results/counts", tags=["native"])
    async def count_results(request: Request, prefix: Prefix = "") -> dict[str, int]:
        """How many of one's requests there are, by status."""
        database = Telling(gateway, "/results").storage.database
        counted = dict.fromkeys(STATUSES, 0)
        for which in _alike(gateway, access.identify(request.headers), prefix):
            for status, number in (await database.read(results.count, which)).items():
                counted[status] += number
        return counted


class Flow(Response):
    """JSON Lines as they come. A reader who does not read is taken for gone."""

    def __init__(self, visits: Visits, first: bytes, rest: AsyncIterator[bytes]) -> None:
        super().__init__(None)
        self._visits = visits
        self._first = first
        self._rest = rest

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._visits.begin(receive, send) as visit:
                visit.has_asked()
                headers = [(b"content-type", MEDIA_TYPE.encode()), PRIVATE]
                await visit.send({"type": "http.response.start", "status": 200, "headers": headers})
                await write(visit.send, self._first, more=True)
                async for lines in self._rest:
                    await write(visit.send, lines, more=True)
                await write(visit.send, b"", more=False)
        except Gone:
            return


def _alike(gateway: Gateway, identity: Identity, prefix: str, status: str | None = None) -> list[Alike]:
    """What is meant, of every tenant whose data this caller's is. Raises BadRequest for a word that is no status."""
    words = None if status is None else tuple([word.strip() for word in status.split(",")])
    unknown = [word for word in words or () if word not in STATUSES]
    if unknown:
        raise BadRequest(f"status: '{unknown[0][:50]}' is not one of {', '.join(STATUSES)}.", param="status")
    return [Alike(tenant=tenant, prefix=prefix, statuses=words) for tenant in gateway.intake.tenants(identity)]


async def _lines(telling: Telling, whose: Sequence[Alike], tell: Tell) -> AsyncIterator[bytes]:
    database = telling.storage.database
    for which in whose:
        after: str | None = None
        while page := await database.read(results.page, which, after, PAGE):
            async for told in tell(page):
                yield told
            after = page[-1].request_id


async def _answers(telling: Telling, page: Page) -> AsyncIterator[bytes]:
    for group in _groups(page):
        found = await telling.storage.database.read(results.load, [entry.ask for entry in group])
        told = [await _line(telling, entry, found[entry.ask]) for entry in group if entry.ask in found]
        yield b"".join(told)


async def _asked(telling: Telling, prefix: str, page: Page) -> AsyncIterator[bytes]:
    for group in (page[start : start + FEW] for start in range(0, len(page), FEW)):
        found = await telling.storage.database.read(requests.load_many, [entry.ask for entry in group])
        yield b"".join([_asked_line(prefix, entry, found.get(entry.ask)) for entry in group])


def _asked_line(prefix: str, entry: Entry, found: Pending | None) -> bytes:
    if found is not None:
        return anew(found.request, entry.request_id.removeprefix(prefix) or entry.request_id)
    swept = Swept(f"What '{entry.request_id[:MAX_ID]}' asked is not kept (any more); take it from where it came from.")
    return one(error_body(swept.fault, entry.request_id))


async def _line(telling: Telling, entry: Entry, stored: Stored) -> bytes:
    try:
        _, told = await telling.tell(stored, stateful=entry.stateful)
    except Refusal as refusal:
        told = error_body(refusal.fault, entry.request_id)
    return one(told)


def _groups(page: Page) -> Iterator[list[Entry]]:
    """So that no group is heavy, but for one answer that is so by itself."""
    group: list[Entry] = []
    weight = 0
    for entry in page:
        if group and weight + entry.size > HEAVY:
            yield group
            group, weight = [], 0
        group.append(entry)
        weight += entry.size
    if group:
        yield group
