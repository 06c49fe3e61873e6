"""`kill -9` at every named place in the code, one after the other on one store, and nothing is lost or paid twice.

A process is started that dies at a place, is asked what leads there, and dies; the next, which dies at the next place,
has to go on from what is left of it. At the end one lives, and every request that was ever acknowledged has its end.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec import Struct
from tests.postgres import postgres, postgres_url  # noqa: F401  # Fixtures.
from tests.proofs.running import PROOF, Question, World, ask, client, world

EACH = 3
"""Requests asked of each process that is to die."""

PATIENCE = 30.0
"""Seconds that a process may take to come to the place where it dies."""


class Way(Struct, frozen=True, kw_only=True):
    """What leads to a place."""

    faults: tuple[Mapping[str, Any], ...] = ()
    fields: Mapping[str, Any] = {}
    withdrawn: bool = False
    """The requests are taken back once their batch runs."""
    after: str | None = None
    """Another place, at which a process has to die before."""
    twice: bool = False
    """A completion may be billed twice: what a direct call did is unknown after a crash, as is what a lost batch does,
    and a rescue asks beside the batch."""


def _on(endpoint: str, kind: str, **fields: Any) -> Mapping[str, Any]:
    return {"kind": kind, "match": {"endpoint": endpoint}} | fields


PLAIN = Way()
DOUBT = Way(faults=(_on("batches.create", "status", status=500, accepted=True),))
BUSY = Way(faults=(_on("batches.create", "status", status=429, retry_after=0.1),))
BUSY_UPLOAD = Way(
    # What uploads nothing is refused when it is created.
    faults=tuple(_on(f"{what}.create", "status", status=429, retry_after=0.1) for what in ("files", "batches")),
)
CANCEL = Way(faults=({"kind": "batch_stuck", "state": "running", "seconds": 3.0, "count": None},), withdrawn=True)
VANISH = Way(faults=({"kind": "batch_vanishes"},), twice=True)
NO_BATCHES = Way(faults=(_on("batches.create", "status", status=404, count=None),), twice=True)
DIRECT = Way(fields={"strategy": "direct"}, twice=True)
LATE = Way(
    faults=({"kind": "batch_stuck", "state": "running", "seconds": 2.0, "count": None},),
    fields={"strategy": "batch", "deadline": 1.0},
    twice=True,
)
ORPHANS = Way(after="form.before")

ACTIONS = {"upload": PLAIN, "submit": PLAIN, "poll": PLAIN, "list": DOUBT, "ingest": PLAIN, "deletefiles": PLAIN}
STATES = {
    "formed": BUSY_UPLOAD,
    "uploading": PLAIN,
    "uploaded": BUSY,
    "submitting": PLAIN,
    "submit_unknown": DOUBT,
    "submitted": PLAIN,
    "ingesting": PLAIN,
    "closing": PLAIN,
    "lost": VANISH,
    "done": PLAIN,
}
PLACES: Mapping[str, Way] = {
    **{f"{name}.{when}": way for name, way in ACTIONS.items() for when in ("before", "after")},
    **{f"{name}.store.{when}": way for name, way in STATES.items() for when in ("before", "after")},
    **{f"{name}.{when}": PLAIN for name in ("save", "form", "land") for when in ("before", "after")},
    **{f"keep.{when}": DIRECT for when in ("before", "after")},
    **{f"cancelbatch.{when}": CANCEL for when in ("before", "after")},
    **{f"reroute.{when}": NO_BATCHES for when in ("before", "after")},
    **{f"rescue.{when}": LATE for when in ("before", "after")},
    **{f"takeover.{when}": ORPHANS for when in ("before", "after")},
}
"""Every named place, and what leads there."""

FEW = ("form.after", "submit.after", "submit_unknown.store.after", "land.after", "takeover.after", "keep.after")
"""What is tried where not all are: between what was done and what is known of it."""

UNREACHED: Mapping[str, set[str]] = {
    # Rows travel in the create call, and only results can tell whose a batch is: no file is left, and nothing to list.
    "anthropic": {"upload", "uploading.store", "uploaded.store", "closing.store", "deletefiles"},
}
"""Places that a provider's batches never come to."""

PROVIDERS = ("openai", "anthropic", "gemini", "grok", "mistral")


def places(provider: str) -> list[str]:
    """The places to die at."""
    unreached = UNREACHED.get(provider, set())
    return [place for place in (PLACES if PROOF else FEW) if place.rpartition(".")[0] not in unreached]


async def die_at(made: World, place: str, way: Way, provider: str, model: str) -> None:
    """Start a process that dies at this place, and lead it there."""
    if way.after is not None:
        await die_at(made, way.after, PLAIN, provider, model)
    if way.faults and way.twice:
        # So that the faults befall no batch of those before, which may not be paid twice.
        await live(made)
    made.fault(way.faults)
    asked = made.new_questions(EACH, provider, model, **way.fields)
    async with made.gateway(crash_at=place) as process:
        leading = asyncio.create_task(_lead(made, process, asked, way))
        try:
            async with asyncio.timeout(PATIENCE):
                code = await process.process.wait()
        except TimeoutError:
            raise AssertionError(f"{place} was not reached; {process.said[-3000:]}") from None
        finally:
            leading.cancel()
            with contextlib.suppress(asyncio.CancelledError, httpx2.HTTPError, AssertionError):
                await leading
        assert code == 137, process.said[-3000:]


async def _lead(made: World, process: Any, asked: list[Question], way: Way) -> None:
    await process.ready()
    async with client(process) as http:
        await asyncio.gather(*[ask(http, question) for question in asked])
        if way.withdrawn:
            while await asyncio.to_thread(made.states, asked) != {"submitted"}:
                await asyncio.sleep(0.05)
            for question in asked:
                await http.delete(f"/requests/{question.id}")


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("provider", PROVIDERS if PROOF else ("openai",))
async def test_nothing_is_lost_or_paid_twice_wherever_a_process_dies(
    provider: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "store.db") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    async with world(tmp_path, url) as made:
        ways = {place: PLACES[place] for place in places(provider)}
        for number, (place, way) in enumerate(ways.items()):
            await die_at(made, place, way, provider, f"model-{number}")
        await live(made)
        check(made, ways)


async def live(made: World) -> None:
    """A process that does not die answers everything."""
    made.fault(())
    async with made.gateway() as process:
        await process.ready()
        async with client(process) as http:
            await made.finish(http)
            while made.live_batches():
                await asyncio.sleep(0.05)


def check(made: World, ways: Mapping[str, Way]) -> None:
    """What must hold at the end."""
    for number, (place, way) in enumerate(ways.items()):
        model = f"model-{number}"
        asked = [question for question in made.questions if question.model == model]
        ends = [question.outcome for question in asked]
        withdrawn = {"cancelled"} if way.withdrawn else set()
        assert all(question.answered or question.outcome in withdrawn for question in asked), (place, ends)
        assert way.twice or made.billed_twice(model) == 0, f"paid twice after a crash at {place}"
    doubled = {tag: batches for tag, batches in made.batches_by_tag().items() if len(batches) > 1}
    assert doubled == {}
