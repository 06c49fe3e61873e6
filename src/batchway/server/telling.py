"""Telling: what is said of a request that is on disk, to its owner alone."""

from batchway.assemble import Gateway
from batchway.assemble.storage import Storage
from batchway.core import errors
from batchway.core.types import Answer, Fault
from batchway.server.exchange import Headers, id_headers, money_headers, way_headers
from batchway.store import answers, requests
from batchway.store.answers import Stored
from batchway.store.requests import CANCELLED
from batchway.wire import native
from batchway.wire.hints import MAX_ID


class Telling:
    """Tells of stored requests."""

    def __init__(self, gateway: Gateway, what: str) -> None:
        """`what`: who needs a store. Raises NotServed where there is none."""
        if gateway.storage is None:
            raise errors.NotServed(f"{what} needs a store, and this gateway has none (database_url=none).")
        self.storage: Storage = gateway.storage
        self._relay = gateway.relay

    async def tell(self, stored: Stored, *, stateful: bool = True) -> tuple[Headers, bytes]:
        """Its headers and its body. `stateful`: it may have left something at its provider. Raises Swept."""
        if stored.status == CANCELLED:
            return _failed(stored.request_id, errors.Cancelled("The request was cancelled by its owner.").fault)
        if stored.outcome is None:
            return [], native.pending(stored.request_id)
        if isinstance(stored.outcome, Fault):
            return _failed(stored.request_id, stored.outcome)
        answer = stored.outcome
        if not answer.body and stored.via == "cache":
            answer = await self._cached(stored) or answer
        if stateful:
            await self._claim(stored, answer)
        if not answer.body:
            raise errors.Swept(f"'{stored.request_id[:MAX_ID]}' was answered, and its answer is not kept (any more).")
        return _completed(stored, answer)

    async def _cached(self, stored: Stored) -> Answer | None:
        """What the cache gave is on disk once: under the request that it was made for."""
        equal = await self.storage.database.read(
            answers.find_shared, stored.tenant, stored.fingerprint, 0.0, stored.finished_at
        )
        return equal.outcome if equal is not None and isinstance(equal.outcome, Answer) else None

    async def _claim(self, stored: Stored, answer: Answer) -> None:
        """Whoever did not wait first hears here by which name its answer stays at the provider."""
        request = await self.storage.database.read(requests.load, stored.ask)
        if request is not None:
            self._relay.note(request, answer)


def _completed(stored: Stored, answer: Answer) -> tuple[Headers, bytes]:
    via = stored.via or stored.lane
    headers = [*way_headers(via, stored.why or ""), *money_headers(stored.cost, stored.saved)]
    response = answer.body
    if stored.endpoint == "chat":
        response = native.envelope(
            answer.body,
            request_id=stored.request_id,
            provider=stored.provider,
            via=via,
            batch_id=stored.batch_id,
            completed_at=answer.finished_at,
            with_content=True,
        )
    return [*id_headers(stored.request_id), *headers], native.completed(stored.request_id, response)


def _failed(request_id: str, fault: Fault) -> tuple[Headers, bytes]:
    return id_headers(request_id), native.error_body(fault, request_id)
