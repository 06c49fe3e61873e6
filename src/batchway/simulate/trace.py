"""The requests of a trace's file as the planner knows them: without texts, each with the outline of its prompt."""

from hashlib import blake2b

from batchway.core.packing import FORMATS
from batchway.core.types import Outline, Prompt
from batchway.simulate.blanks import Blanks
from batchway.simulate.filling import Ready
from batchway.simulate.world import Recorded

WRAPPING = 11
"""Tokens around two messages (`core.tokens`)."""

BYTES_PER_TOKEN = 4
FRAME = 120
"""Bytes of a body beside its texts."""


class Reader:
    """Makes them. `system`: tokens of a system prompt that all of them come with; `provider`: whose models those are
    that the catalogue does not know."""

    def __init__(self, *, system: int, provider: str) -> None:
        self._system = system
        self._provider = provider
        self._blank = Blanks()

    def request(self, ready: Ready) -> Recorded:
        """The request. Times are seconds as its file has milliseconds."""
        text = ready.entry.text or ""
        tokens = ready.tokens + self._system + WRAPPING
        name = f"{ready.order}"
        outline = Outline(
            kin=ready.model,
            item=None if FORMATS["xml"].resembles(text) else max(1, ready.tokens),
            answer=ready.analysis.output_tokens,
            tolerance=ready.analysis.latency_tolerance,
        )
        return Recorded(
            id=name,
            ask=name,
            tenant="default",
            key="default",
            caller="default",
            provider=ready.provider or self._provider,
            endpoint="chat",
            body=self._blank(FRAME + BYTES_PER_TOKEN * tokens),
            prompt=Prompt(model=_plain(ready.model, ready.provider), outline=outline),
            fingerprint=_fingerprint(ready, text) if text else name,
            asked_at=ready.at_ms / 1000,
            tokens=tokens,
        )


def _plain(model: str, provider: str | None) -> str:
    return model.removeprefix(f"{provider}/") if provider else model


def _fingerprint(ready: Ready, text: str) -> str:
    return blake2b(f"{ready.model}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
