"""What every form of showing a batching run is told, and the order in which requests are shown: that of arrival.

A form is told of requests and batches as they come, and writes when all is known: a trace that turns out to be broken
at its end has printed nothing. What a form keeps until then is bounded, or lies in a temporary file.
"""

from collections import deque
from collections.abc import Iterator
from typing import IO, Protocol

from msgspec import Struct

from batchway.simulate.filling import Ready
from batchway.simulate.modelwise import Batch
from batchway.simulate.tally import Summary


class Form(Protocol):
    """One way of showing a run."""

    def request(self, request: Ready) -> None:
        """A request has come."""
        ...

    def batch(self, batch: Batch) -> None:
        """A batch has closed."""
        ...

    def write(self, out: IO[str], summary: Summary, /) -> None:
        """All is known: show it."""
        ...


class Settled(Struct, frozen=True, kw_only=True, gc=False):
    """A request and what became of it. A cache hit has no batch."""

    request: Ready
    batch_id: str | None
    wait_ms: float | None


class ByArrival:
    """Gives requests back in the order in which they came, each as soon as its batch is known."""

    def __init__(self) -> None:
        self._coming: deque[Ready] = deque()
        self._known: dict[int, tuple[str | None, float | None]] = {}

    def request(self, request: Ready) -> Iterator[Settled]:
        """Take a request; those that are settled now."""
        self._coming.append(request)
        if request.entry.cache_hit:
            self._known[request.order] = None, None
        return self._settled()

    def batch(self, batch: Batch) -> Iterator[Settled]:
        """Take a batch; those that are settled now."""
        for order, wait in zip(batch.orders, batch.waits_ms, strict=True):
            self._known[order] = batch.batch_id, wait
        return self._settled()

    def _settled(self) -> Iterator[Settled]:
        while self._coming and self._coming[0].order in self._known:
            request = self._coming.popleft()
            batch_id, wait = self._known.pop(request.order)
            yield Settled(request=request, batch_id=batch_id, wait_ms=wait)
