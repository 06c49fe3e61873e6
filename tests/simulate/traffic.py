"""Traffic for the tests of the offline driver: a catalogue, a lab, and requests without texts."""

from collections.abc import Iterator
from typing import Any

from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.job import BatchTerms
from batchway.core.router import Offers
from batchway.core.types import Outline, Prompt
from batchway.simulate.blanks import Blanks
from batchway.simulate.lab import Lab
from batchway.simulate.world import Conditions, Recorded

START = 1_790_000_000.0

FULL = Rates(input=1_000_000, output=4_000_000, cached=100_000, cache_written=1_000_000, cache_written_hour=2_000_000)
HALF = Rates(input=500_000, output=2_000_000, cached=50_000, cache_written=500_000, cache_written_hour=1_000_000)
CATALOG = Catalog.of(
    [
        Model(
            provider="openai",
            id="m1",
            window=100_000,
            prices={
                "direct": (Step(from_tokens=0, rates=FULL),),
                "flex": (Step(from_tokens=0, rates=HALF),),
                "batch": (Step(from_tokens=0, rates=HALF),),
            },
        )
    ]
)
TERMS = {"openai": BatchTerms(endpoints=("chat", "embeddings", "responses"))}
CALM = Conditions(
    first_token=1.0,
    per_token=0.0,
    spread=0.0,
    length_spread=0.0,
    failing=0.0,
    untold=0.0,
    differing=0.0,
    row_failing=0.0,
    flex_refused=0.0,
    stranded=0.0,
)
"""Nothing varies and nothing fails: what is worked out by hand holds."""

_blank = Blanks()


def lab(conditions: Conditions = CALM, *, seed: int = 0, offers: Offers | None = None) -> Lab:
    """A lab of one provider with all lanes."""
    open_lanes = offers or Offers(direct=None, flex=None, batch=None)
    return Lab(catalog=CATALOG, offers={"openai": open_lanes}, terms=TERMS, conditions=conditions, seed=seed)


def request(name: str, after: float = 0.0, **fields: Any) -> Recorded:
    """A request `after` so many seconds; fields of its prompt and of its outline may be given directly."""
    outline: dict[str, Any] = {"kin": "kin", "item": 20, "answer": 10}
    outline |= {key: fields.pop(key) for key in list(fields) if key in Outline.__struct_fields__}
    prompt: dict[str, Any] = {"model": "m1", "outline": Outline(**outline)}
    prompt |= {key: fields.pop(key) for key in list(fields) if key in Prompt.__struct_fields__}
    given: dict[str, Any] = {
        "id": name,
        "ask": name,
        "tenant": "t",
        "key": "k",
        "caller": "c",
        "provider": "openai",
        "endpoint": "chat",
        "body": _blank(4000),
        "fingerprint": f"f-{name}",
        "asked_at": START + after,
        "tokens": 1000,
    }
    return Recorded(**(given | fields), prompt=Prompt(**prompt))


def mixed(count: int, *, per_second: float = 20.0) -> Iterator[Recorded]:
    """Requests of all kinds: repeatable and not, short and long, hurried, patient, with deadlines."""
    for number in range(count):
        at = number / per_second
        fields: dict[str, Any] = {
            "kin": f"app-{number % 3}",
            "answer": 8 if number % 2 else 300,
            "item": 20 + number % 40,
        }
        if number % 3 == 0:
            fields |= {"temperature": 0.0, "fingerprint": f"same-{number % 60}"}
        if number % 10 == 0:
            fields |= {"strategy": "batch", "patient": True}
        if number % 40 == 20:
            fields |= {"deadline": START + at + 3 * 3600}
        if number % 7 == 0:
            fields |= {"priority": "high"}
        yield request(f"r{number}", at, max_output=400, **fields)
