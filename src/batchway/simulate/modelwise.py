"""Model-wise batching (seeds/001): one open batch per model, of the requests that no cache answers; no call is made.

A batch closes by `size` with the request that fills it; by `tokens` before a request that would exceed the bound, which
opens the next one (a request that exceeds it by itself goes alone and leaves the open batch be); by `wait` when the
time of its least patient request is over. At that very instant it closes before a request that arrives then. After the
last request time goes on, so that every batch closes by its own rule.

Times are milliseconds. The batcher only adds and compares them, so it is run in milliseconds as well: whole ones stay
exact, which seconds since 1970 would not.
"""

from collections.abc import Iterator

from msgspec import Struct

from batchway.core.batcher import Batcher, Closed, Reason, Ticket
from batchway.core.policy import RULES, Tolerance, WindowRule
from batchway.simulate.filling import Ready


def whole(value: float) -> float:
    """Milliseconds as they are shown: 200, not 200.0, and no more than three decimals."""
    return int(value) if value == int(value) else round(value, 3)


class Rule(Struct, frozen=True, kw_only=True):
    """When batches close. The defaults are latency-first: those of the `model` window of the policy."""

    max_wait_ms: float = whole(RULES["model"].max_wait * 1000)
    """That a request of medium latency tolerance waits at most."""
    max_batch_size: int = RULES["model"].max_size
    max_batch_tokens: int | None = RULES["model"].max_tokens
    """None: no bound."""
    tolerance: Tolerance = Tolerance()
    """Multiples of `max_wait_ms`, by latency tolerance."""

    def window(self) -> WindowRule:
        """The same for the batcher."""
        return WindowRule(
            max_wait=float(self.max_wait_ms), max_size=self.max_batch_size, max_tokens=self.max_batch_tokens
        )


class Batch(Struct, frozen=True, kw_only=True, gc=False):
    """A batch that has closed. Times are those of the trace, in milliseconds."""

    batch_id: str
    model: str
    size: int
    tokens: int
    close_reason: Reason
    request_ids: tuple[str, ...]
    """In the order of arrival."""
    opened_at_ms: float
    closed_at_ms: float
    max_wait_ms: float
    """That the least patient of its requests allowed, from its own arrival."""
    waits_ms: tuple[float, ...]
    """How long each request waited."""
    orders: tuple[int, ...]
    """The place of each request in the trace."""

    @property
    def mean_wait_ms(self) -> float:
        """The mean of the waits."""
        return whole(sum(self.waits_ms) / self.size)


class ModelWise:
    """The open batches of all models. Requests come in the order of their times."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule.window()
        self._patience = {level: rule.tolerance.patience(level) for level in ("low", "medium", "high")}
        self._batcher = Batcher()
        self._waiting: dict[str, Ready] = {}
        self._closed = 0

    def arrive(self, request: Ready) -> Iterator[Batch]:
        """Let time go on to this request's and take it; the batches that close by then, the first to close first."""
        yield from self._until(request.at_ms)
        if request.entry.cache_hit:
            return
        ticket = Ticket(
            id=str(request.order),  # ids of a trace may come again, its places do not
            tokens=request.tokens,
            size=0,
            at=float(request.at_ms),
            patience=self._patience[request.analysis.latency_tolerance],
        )
        self._waiting[ticket.id] = request
        for closed in self._batcher.add(request.model, ticket, self._rule, ticket.at):
            yield self._batch(closed)

    def finish(self) -> Iterator[Batch]:
        """Let time go on until all have closed."""
        yield from self._until(None)

    def _until(self, at_ms: float | None) -> Iterator[Batch]:
        while (deadline := self._batcher.deadline()) is not None and (at_ms is None or deadline <= at_ms):
            for closed in self._batcher.due(deadline):
                yield self._batch(closed)

    def _batch(self, closed: Closed) -> Batch:
        requests = [self._waiting.pop(ticket.id) for ticket in closed.tickets]
        self._closed += 1
        return Batch(
            batch_id=f"b{self._closed}",
            model=str(closed.key),
            size=len(requests),
            tokens=sum(request.tokens for request in requests),
            close_reason=closed.reason,
            request_ids=tuple([request.request_id for request in requests]),
            opened_at_ms=whole(closed.opened_at),
            closed_at_ms=whole(closed.closed_at),
            max_wait_ms=whole(closed.max_wait),
            waits_ms=tuple([whole(closed.closed_at - request.at_ms) for request in requests]),
            orders=tuple([request.order for request in requests]),
        )
