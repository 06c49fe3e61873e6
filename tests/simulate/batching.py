"""Requests for model-wise batching in one line each, and the batches that come of them in one line each."""

from typing import Any

from batchway.core.analysis import Analysis
from batchway.simulate.filling import Ready
from batchway.simulate.inputs import Entry
from batchway.simulate.modelwise import Batch, ModelWise, Rule


def ready(
    order: int, name: str, at_ms: int, model: str = "m", tokens: int = 10, level: Any = "medium", **entry: Any
) -> Ready:
    """A request of which nothing is missing."""
    return Ready(
        entry=Entry(line=order + 1, prompt=name, **entry),
        order=order,
        request_id=name,
        at_ms=at_ms,
        analysis=Analysis(latency_tolerance=level),
        tokens=tokens,
        model=model,
        provider=None,
        why="as given",
    )


def batched(requests: list[Ready], **rule: Any) -> list[Batch]:
    """All batches of these requests, in the order in which they close."""
    batching = ModelWise(Rule(**rule))
    found = [batch for request in requests for batch in batching.arrive(request)]
    return [*found, *batching.finish()]


def lines(requests: list[tuple[Any, ...]], **rule: Any) -> list[str]:
    """The same as `model: ids, tokens, reason opened-closed (allowed wait)`."""
    found = batched([ready(order, *request) for order, request in enumerate(requests)], **rule)
    return [
        f"{batch.model}: {' '.join(batch.request_ids)}, {batch.tokens} tokens, {batch.close_reason}"
        f" {batch.opened_at_ms}-{batch.closed_at_ms} ({batch.max_wait_ms})"
        for batch in found
    ]
