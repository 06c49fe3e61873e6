"""Intake: what one caller's request is held to is never another's, whoever asked before."""

from datetime import date
from itertools import count, product

import msgspec

from batchway.core.catalog import Catalog
from batchway.core.types import Endpoint, Hints
from batchway.data.prices import finder
from batchway.engine.choosing import Choosing
from batchway.engine.intake import Defaults, Identity, Intake, Naming
from batchway.wire.endpoints import FRONTS

CATALOG = Catalog(finder(date(2026, 11, 27)))

CALLERS = (
    Identity(tenant="a", key="one"),
    Identity(tenant="a", key="two", defaults=Hints(priority="low", deadline=60.0, tags={"team": "x"})),
    Identity(tenant="b", key="three", lanes=("batch", "direct"), retention=60.0),
    Identity(tenant="b", key="four", retention="none", defaults=Hints(packing="auto")),
    Identity(tenant="c", key="default", authorization="Bearer one"),
    Identity(tenant="c", key="default", authorization="Bearer two"),
)

SAID: tuple[dict[str, object], ...] = (
    {},
    {"tags": {"n": 1}},
    {"tags": {"n": True}},
    {"tags": {"n": 1.0}},
    {"request_id": "mine"},
    {"caller_id": "someone", "user": "other", "reuse": "all", "temperature": 0},
    {"priority": "low", "on_deadline": "fail", "deadline": 5},
    {"model": "other/m"},
    {"provider": "other", "optimize": "fit"},
)

NAMINGS = (None, Naming("run-", "1"))

ENDPOINTS: tuple[Endpoint, ...] = ("chat", "embeddings")


def intake() -> Intake:
    numbers = count()
    return Intake(
        defaults=Defaults(provider="one"),
        names={"one": "one", "other": "other"},
        keyed=frozenset({"one"}),
        keyless=frozenset({"other"}),
        catalog=CATALOG,
        choosing=Choosing([], CATALOG, {}),
        ids=lambda: f"id-{next(numbers)}",
        max_depth=64,
        store=True,
    )


def test_what_holds_for_one_request_holds_for_no_other() -> None:
    """Each is taken after every other, and is what it is where nobody came before it."""
    asked = list(product(CALLERS, SAID, NAMINGS, ENDPOINTS))
    alone = [_taken(intake(), *each) for each in asked]
    kept = intake()
    for first, after in product(range(len(asked)), repeat=2):
        for place in (first, after):
            assert _taken(kept, *asked[place]) == alone[place]


def _taken(by: Intake, identity: Identity, said: dict[str, object], naming: Naming | None, endpoint: Endpoint) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"} | said
    detached = naming is not None and identity.retention != "none"
    taken = by.take(FRONTS[endpoint], msgspec.json.encode(body), {}, identity, 100.0, detached=detached, naming=naming)
    request = taken.request
    name = "id" if request.id == request.ask else request.id
    # Not as it is: to Python, 1, 1.0 and True are one.
    return msgspec.json.encode(msgspec.structs.replace(request, id=name, ask="ask"))
