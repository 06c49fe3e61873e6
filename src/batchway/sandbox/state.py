"""A sandbox: what it was given (counter, clock, sleep), what it is told (models, keys, bounds), what it keeps."""

from collections.abc import Callable, Iterable, Mapping

from batchway.sandbox.batch_contract import Schedule, lasting
from batchway.sandbox.batching import Batches
from batchway.sandbox.delivery import Sleep
from batchway.sandbox.faults import Faults
from batchway.sandbox.ledger import Ledger
from batchway.sandbox.offers import OFFERS, OPENAI, Offer

MODELS = (
    "gpt-6-astra",
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "gpt-6-luna",
    "gpt-5.6-terra",
    "gpt-4o",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
)
"""What `GET /v1/models` lists unless told otherwise."""

ABSENT = "does-not-exist"
"""The model that no sandbox has, so that 404 can be seen without strictness."""

WRONG_KEY = "invalid"
"""The API key that is refused even where any other is accepted."""


def count_roughly(text: str) -> int:
    """Tokens at four characters each: deterministic and cheap, for when the real tokenizer is not worth its time."""
    return (len(text) + 3) // 4


class Sandbox:
    """The state of one simulated world of providers. Times are seconds since the epoch."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        sleep: Sleep,
        count: Callable[[str], int] = count_roughly,
        models: Iterable[str] = MODELS,
        keys: Iterable[str] | None = None,
        strict: bool = False,
        words: int = 24,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        keep_lines: int = 100_000,
        max_body: int = 256 * 2**20,
        batch_seconds: float = 2.0,
        batch_schedule: Schedule | None = None,
        offers: Mapping[str, Offer] = OFFERS,
    ) -> None:
        """`keys`: the only API keys accepted (None: any but `invalid`). `strict`: refuse models that are not listed and
        parameters that the endpoint does not have. `words`: length of an answer. The two limits are per key and
        provider; where one is given, answers carry rate-limit headers and what exceeds it is a 429. `max_body`: bytes.
        `batch_seconds`: from a batch's creation to its completion; `batch_schedule` says it step by step instead.
        `offers`: what providers' Batch APIs take.
        """
        self.now = now
        self.sleep = sleep
        self.count = count
        self.models = tuple(models)
        self.keys = None if keys is None else frozenset(keys)
        self.strict = strict
        self.words = words
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.max_body = max_body
        self.faults = Faults()
        self.ledger = Ledger(keep_lines)
        self.batch_schedule = lasting(batch_seconds) if batch_schedule is None else batch_schedule
        self.batches = Batches()
        self.offers = dict(offers)
        self._number = 0

    def next_number(self) -> int:
        """A number for a request, from 1; ids and sampled answers are made of it."""
        self._number += 1
        return self._number

    def offer(self, provider: str) -> Offer:
        """The terms of a provider's Batch API."""
        return self.offers.get(provider, OPENAI)

    def accepts(self, key: str) -> bool:
        """Whether an API key may be used."""
        return key != WRONG_KEY if self.keys is None else key in self.keys

    def knows(self, model: str) -> bool:
        """Whether a model exists here."""
        return model in self.models if self.strict else model != ABSENT
