"""Forming jobs: requests of one kind dealt out so that no job breaks a limit of its provider (failures.md #8)."""

from collections.abc import Iterator, Sequence
from math import inf

from msgspec import Struct

from batchway.core.job.batch import BatchTerms
from batchway.core.types import Request

FRAMING = 400
"""Bytes of a line beside the request's body, at most: its id, its path, and what translating adds to it."""


class Share(Struct, frozen=True, kw_only=True):
    """The requests of one job."""

    requests: tuple[Request, ...]
    size: int
    """Bytes of their lines, not less than they will be by more than translation makes of them."""
    tokens: int


class Limits(Struct, frozen=True, kw_only=True):
    """What bounds one job. None: no bound is known."""

    requests: int | None
    size: int | None
    tokens: int | None
    inputs: int | None = None
    """Inputs of all embeddings requests together."""


def limits_of(terms: BatchTerms, enqueued: int | None) -> Limits:
    """The provider's, the enqueued tokens among them: a job that is larger can never be taken."""
    return Limits(requests=terms.max_requests, size=terms.max_bytes, tokens=enqueued, inputs=terms.max_inputs)


def deal(requests: Sequence[Request], limits: Limits) -> Iterator[Share]:
    """In their order, each job as full as it may be. A request that breaks a limit by itself goes alone: its provider
    judges it."""
    bounds = (limits.requests, limits.size, limits.tokens, limits.inputs)
    most, most_size, most_tokens, most_inputs = [inf if bound is None else bound for bound in bounds]
    taken: list[Request] = []
    size = tokens = inputs = 0
    for request in requests:
        line, weight = request.size + FRAMING, request.likely_tokens
        texts = len(request.prompt.texts) if request.endpoint == "embeddings" else 0
        size, tokens, inputs = size + line, tokens + weight, inputs + texts
        if taken and (len(taken) == most or size > most_size or tokens > most_tokens or inputs > most_inputs):
            yield Share(requests=tuple(taken), size=size - line, tokens=tokens - weight)
            taken, size, tokens, inputs = [], line, weight, texts
        taken.append(request)
    if taken:
        yield Share(requests=tuple(taken), size=size, tokens=tokens)


def together(requests: Sequence[Request]) -> Share:
    """These in one job, whatever the limits."""
    size = sum([request.size + FRAMING for request in requests])
    return Share(requests=tuple(requests), size=size, tokens=sum([request.likely_tokens for request in requests]))
