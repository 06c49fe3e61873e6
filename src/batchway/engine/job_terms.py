"""What providers taught about their Batch APIs, laid over what their dialects say of them."""

from collections.abc import Mapping

from msgspec import structs

from batchway.core.job import BatchTerms
from batchway.core.job.commands import Learnt
from batchway.engine.job_calls import Account

PROBE = 86_400.0
"""Seconds after which a Batch API that was not there is tried again."""


class Learning:
    """Remembers in memory what the store remembers for good."""

    def __init__(self, learnt: Mapping[tuple[str, str, Learnt], float]) -> None:
        """By provider, model and name, as the store has it."""
        self._learnt = dict(learnt)

    def terms(self, account: Account, model: str) -> BatchTerms:
        """What one provider takes of one model."""
        terms, provider = account.dialect.terms, account.provider
        if self._of(provider, model, "no_listing"):
            terms = structs.replace(terms, tagging="none")
        elif self._of(provider, model, "no_tags"):
            terms = structs.replace(terms, tagging="results")
        if self._of(provider, model, "longest_window"):
            terms = structs.replace(terms, windows=terms.windows[-1:])
        most = self._of(provider, model, "max_bytes")
        if most is not None:
            terms = structs.replace(terms, max_bytes=int(min(most, terms.max_bytes or most)))
        return terms

    def enqueued(self, provider: str, model: str) -> int | None:
        """Tokens that may be enqueued there, where a refusal told."""
        most = self._of(provider, model, "enqueued_tokens")
        return None if most is None else int(most)

    def learn(self, provider: str, model: str, name: Learnt, value: float) -> str | None:
        """One more lesson. Returns why the batch lane to the provider is closed, if it is."""
        self._learnt[provider, model, name] = value
        return f"{provider} has no Batch API for {model}" if name == "no_batch" else None

    def _of(self, provider: str, model: str, name: Learnt) -> float | None:
        return self._learnt.get((provider, model, name))
