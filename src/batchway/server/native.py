"""The native surface: what became of a request, looked up by its id, and taking one back. (`/submit` is hot: `openai`.)

Every look-up is by tenant and id: another tenant's request is not there.
"""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from batchway.assemble import Gateway
from batchway.core import errors, facts
from batchway.core.job.facts import CancelAsked
from batchway.engine.intake import Identity
from batchway.server.access import Access
from batchway.server.exchange import JSON, PRIVATE, Headers
from batchway.server.telling import Telling
from batchway.store import answers
from batchway.store.answers import Stored
from batchway.store.requests import CANCELLED
from batchway.store.withdrawal import Withdrawal, withdraw
from batchway.wire import native
from batchway.wire.hints import MAX_ID

EMPTIED = CancelAsked(by="the owners of its requests", why="every one of them was cancelled")
"""What is said to a job that nobody waits for any more."""


def add(app: FastAPI, gateway: Gateway, access: Access) -> None:
    """Add the routes."""

    @app.get("/requests/{request_id:path}", tags=["native"], response_class=Response)
    async def show_request(request_id: str, request: Request) -> Response:
        """What became of a request: `pending` with a message, `completed` with its response, `failed` with its error.

        410 where its answer is not kept any more (or never was: `record`, `retention`).
        """
        return await _Lookup(gateway, access.identify(request.headers), request_id).show()

    @app.delete("/requests/{request_id:path}", tags=["native"], response_class=Response)
    async def cancel_request(request_id: str, request: Request) -> Response:
        """Take a request back: whoever waits for it is told, and its answer is not delivered.

        A row of a provider's batch that was submitted is billed all the same, unless it was the last that anybody
        waits for: then the batch is cancelled there. 409 for a request that has ended.
        """
        return await _Lookup(gateway, access.identify(request.headers), request_id).cancel()


class _Lookup:
    """One look at one request, by whoever asks."""

    def __init__(self, gateway: Gateway, identity: Identity, request_id: str) -> None:
        self._telling = Telling(gateway, "/requests")
        self._gateway = gateway
        if not (request_id.isascii() and request_id.isprintable()):
            raise _unknown(request_id)
        self._storage = self._telling.storage
        self._tenants = gateway.intake.tenants(identity)
        self._id = request_id

    async def show(self) -> Response:
        found = await self._find()
        if found is not None:
            return _response(*await self._telling.tell(found))
        if self._is_held():
            return _response([], native.pending(self._id))
        raise _unknown(self._id)

    async def cancel(self) -> Response:
        for tenant in self._tenants:
            withdrawn = await self._storage.database.write(withdraw, tenant, self._id, self._gateway.clock.now())
            if withdrawn is not None:
                await self._let_go(withdrawn)
        found = await self._find()
        if found is None and not self._is_held():
            raise _unknown(self._id)
        if found is None:
            raise _too_late(self._id, "is being answered and not on disk; close its connection to end it.")
        if found.status != CANCELLED:
            raise _too_late(self._id, f"has ended already: {found.status}.")
        return _response(*await self._telling.tell(found))

    async def _let_go(self, withdrawn: Withdrawal) -> None:
        self._gateway.engine.tell(facts.Withdrawn(withdrawn.ask))
        if withdrawn.emptied is not None and self._gateway.jobs is not None:
            await self._storage.jobs.cancel(withdrawn.emptied, EMPTIED)
            self._gateway.jobs.wake()

    async def _find(self) -> Stored | None:
        for tenant in self._tenants:
            stored = await self._storage.database.read(answers.find, tenant, self._id)
            if stored is not None:
                return stored
        return None

    def _is_held(self) -> bool:
        return any(self._gateway.engine.holds(tenant, self._id) for tenant in self._tenants)


def _unknown(request_id: str) -> errors.NotFound:
    if not request_id:
        what = "Name a request: /requests/{request_id}. Those whose ids begin alike are listed by /results?prefix=."
        return errors.NotFound(what, param="request_id")
    return errors.NotFound(f"There is no request '{request_id[:MAX_ID]}'.", param="request_id")


def _too_late(request_id: str, why: str) -> errors.Conflict:
    return errors.Conflict(f"'{request_id[:MAX_ID]}' {why}", code="not_cancellable", param="request_id")


def _response(headers: Headers, content: bytes) -> Response:
    response = Response(content)
    response.raw_headers += [JSON, PRIVATE, *headers]
    return response
