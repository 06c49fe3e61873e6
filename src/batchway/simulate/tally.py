"""Counts what a model-wise batching run gave: batches by reason and model, sizes and waits, in little memory."""

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from batchway.simulate.filling import Ready
from batchway.simulate.modelwise import Batch, Rule, whole

EXACT_MS = 10_000
"""Waits below are counted by the millisecond, longer ones by their first three digits: so many kinds are few."""


class Waits(Struct, frozen=True, kw_only=True):
    """How long requests waited, in milliseconds; 0 where there are none."""

    mean: float
    p50: float
    """So long, or less, half of them waited; to the millisecond, above ten seconds to three digits."""
    p95: float
    max: float


class OfModel(Struct, kw_only=True):
    """What came to one model."""

    requests: int = 0
    batches: int = 0
    tokens: int = 0


class Summary(Struct, frozen=True, kw_only=True):
    """What a whole run gave."""

    requests: int
    cache_hits: int
    """Requests among them that were not batched, for a cache answered them."""
    batches: int
    tokens: int
    """Of the requests that were batched."""
    mean_size: float
    close_reasons: Mapping[str, int]
    """Batches by why they closed."""
    wait_ms: Waits
    models: Mapping[str, OfModel]
    """By the name of the model."""
    policy: Rule
    notes: tuple[str, ...]
    """What was passed over or put right in the trace."""


class Tally:
    """Told of each request and each batch."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._requests = self._hits = 0
        self._reasons: Counter[str] = Counter()
        self._models: dict[str, OfModel] = {}
        self._waits: Counter[float] = Counter()
        self._waited = 0.0
        self._longest: float = 0

    def request(self, request: Ready) -> None:
        """One more has come."""
        self._requests += 1
        self._hits += request.entry.cache_hit

    def batch(self, batch: Batch) -> None:
        """One more has closed."""
        self._reasons[batch.close_reason] += 1
        model = self._models.setdefault(batch.model, OfModel())
        model.requests += batch.size
        model.batches += 1
        model.tokens += batch.tokens
        for wait in batch.waits_ms:
            self._waits[round(wait) if wait < EXACT_MS else float(f"{wait:.3g}")] += 1
            self._waited += wait
            self._longest = max(self._longest, wait)

    def summary(self, notes: Iterable[str] = ()) -> Summary:
        """What was told so far."""
        models = dict(sorted(self._models.items()))
        batched = sum(model.requests for model in models.values())
        return Summary(
            requests=self._requests,
            cache_hits=self._hits,
            batches=self._reasons.total(),
            tokens=sum(model.tokens for model in models.values()),
            mean_size=round(batched / max(1, self._reasons.total()), 3),
            close_reasons=dict(sorted(self._reasons.items())),
            wait_ms=Waits(
                mean=whole(self._waited / max(1, batched)),
                p50=self._quantile(0.5, batched),
                p95=self._quantile(0.95, batched),
                max=self._longest,
            ),
            models=models,
            policy=self._rule,
            notes=tuple(notes),
        )

    def _quantile(self, share: float, count: int) -> float:
        """The least wait that this share of them does not exceed (nearest rank)."""
        passed = 0
        for wait, times in sorted(self._waits.items()):
            passed += times
            if passed >= share * count:
                return wait
        return 0
