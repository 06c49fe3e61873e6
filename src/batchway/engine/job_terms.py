"""What providers taught about their Batch APIs, laid over what their dialects say of them."""

from collections.abc import Iterable

from msgspec import structs

from batchway.core.job import BatchTerms
from batchway.core.job.commands import Learnt
from batchway.engine.job_calls import Account
from batchway.ports import Lesson

PROBE = 86_400.0
"""Seconds after which a Batch API that was not there is tried again."""


class Learning:
    """Remembers in memory what the store remembers for good."""

    def __init__(self, lessons: Iterable[Lesson] = ()) -> None:
        self._lessons: dict[tuple[str, str, Learnt], Lesson] = {}
        self._closed: frozenset[tuple[str, str]] = frozenset()
        self.adopt(lessons)

    def adopt(self, lessons: Iterable[Lesson]) -> None:
        """Take these where they are newer: other processes learn too."""
        for lesson in lessons:
            key = lesson.provider, lesson.model, lesson.name
            known = self._lessons.get(key)
            if known is None or known.at <= lesson.at:
                self._lessons[key] = lesson

    def terms(self, account: Account, model: str) -> BatchTerms:
        """What one provider takes of one model."""
        terms, provider = account.dialect.terms, account.provider
        if not self._lessons:
            return terms
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

    def lists(self, provider: str) -> bool:
        """Whether its batches can be listed, as far as is known."""
        return not any(lesson.provider == provider and lesson.name == "no_listing" for lesson in self._lessons.values())

    def lanes(self, now: float) -> list[tuple[str, str, str | None]]:
        """The batch lanes that closed, or may be tried again, since this was asked last: provider, model, and why it is
        closed (None: it is open)."""
        lessons = [lesson for lesson in self._lessons.values() if lesson.name == "no_batch"]
        closed = frozenset([(each.provider, each.model) for each in lessons if now < each.at + PROBE])
        changed: list[tuple[str, str, str | None]] = [
            (provider, model, f"{provider} has no Batch API for {model}") for provider, model in closed - self._closed
        ]
        changed += [(provider, model, None) for provider, model in self._closed - closed]
        self._closed = closed
        return changed

    def _of(self, provider: str, model: str, name: Learnt) -> float | None:
        lesson = self._lessons.get((provider, model, name))
        return None if lesson is None else lesson.value
