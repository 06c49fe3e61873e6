"""The charges in the store are the provider's bill, to the picodollar, whatever lane and provider a request took.

One day's mixed traffic through a gateway before a sandbox; the tests read what is left of it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import pytest_asyncio
from msgspec import Struct
from sqlalchemy import Connection, select
from tests.batch.lane import Lane, open_lane
from tests.cli.test_commands import run
from tests.gate import CHAT, chat, until, via

from batchway.core.catalog import Catalog
from batchway.core.cost import charged, counterfactual
from batchway.core.cost import dollars as usd
from batchway.core.settlement import OVERHEAD
from batchway.core.types import Lane as Way
from batchway.core.types import Prompt, Request, Usage
from batchway.data.prices import finder
from batchway.sandbox.ledger import Line
from batchway.store import tables

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-3.8-flash",
    "grok": "grok-4.3",
    "mistral": "mistral-small-latest",
}
"""One of each provider with a price by every lane that it offers."""

SYSTEM = "You sort letters to a shop into kinds. " * 200
MARK = {"type": "ephemeral"}
MARKED = [{"type": "text", "text": SYSTEM, "cache_control": MARK}]
CATALOG = Catalog(finder(datetime.now(UTC).date()))


class Books(Struct):
    """What the traffic left."""

    lines: list[Line]
    """The provider's ledger."""
    charges: list[Any]
    """Rows of the store."""
    answers: dict[str, list[httpx2.Response]]
    jobs: dict[str, str]
    """Ids of our jobs, by their providers' ids."""
    stats: dict[str, Any]
    store: Path

    def of(self, name: str) -> list[Any]:
        """The charges of these answers' requests."""
        ids = {answer.headers["x-batchway-request-id"] for answer in self.answers[name]}
        return [charge for charge in self.charges if charge.request_id in ids]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Books]:
    """The traffic, when all of it has been answered, charged and written down."""
    folder = tmp_path_factory.mktemp("ledger")
    async with open_lane(
        folder, sandbox={"words": 2}, pack_stake_usd=0.5, batch_window_ms=40, packing="never", rescue_margin=0.2,
        rescue_call_seconds=0.2, max_retries=0,
    ) as lane:  # fmt: skip
        answers = await traffic(lane)
        await lane.done()
        storage = lane.gate.gateway.storage
        assert storage is not None
        await until(lambda: storage.database.health().behind_bytes == 0)
        yield Books(
            lines=lane.gate.lines,
            charges=await storage.database.read(all_charges),
            answers=answers,
            jobs={job.job.provider_batch_id or "": job.job.id for job in await lane.jobs()},
            stats=(await lane.gate.http.get("/stats")).json(),
            store=folder / "batchway.db",
        )


def all_charges(connection: Connection) -> list[Any]:
    return list(connection.execute(select(tables.charges)))


async def traffic(lane: Lane) -> dict[str, list[httpx2.Response]]:
    """Every way to every provider, and everything that makes a bill longer than its answers."""
    ways: dict[str, Callable[[Lane], Awaitable[list[httpx2.Response]]]] = {
        "direct": direct,
        "streamed": streamed,
        "flex": flex,
        "premium": premium,
        "batch": batch,
        "prompt cache": marked,
        "prompt cache for an hour": marked_for_an_hour,
        "reused": reused,
        "attached": attached,
        "outlasted": outlasted,
        "embeddings": embeddings,
        "responses": responses,
        "packed": packed,
        "unpriced": unpriced,
    }
    answers = {name: await way(lane) for name, way in ways.items()}
    return answers | {"requeued": await requeued(lane), "rescued": await rescued(lane)}


async def asked(lane: Lane, text: str, provider: str, **fields: Any) -> httpx2.Response:
    return await lane.gate.ask(text=text, model=MODELS[provider], provider=provider, **fields)


async def all_of(askings: Iterable[Any]) -> list[httpx2.Response]:
    answers = list(await asyncio.gather(*askings))
    assert [answer.status_code for answer in answers] == [200] * len(answers), [answer.text for answer in answers]
    return answers


async def direct(lane: Lane) -> list[httpx2.Response]:
    return await all_of(asked(lane, f"direct {number}", name) for name in MODELS for number in range(3))


async def streamed(lane: Lane) -> list[httpx2.Response]:
    whole = [asked(lane, "streamed", name, stream=True) for name in MODELS]
    return await all_of([*whole, lane.gate.http.post(CHAT, json=kept("streamed") | {"stream": True})])


async def flex(lane: Lane) -> list[httpx2.Response]:
    return await all_of(asked(lane, "flex", name, strategy="flex") for name in ("openai", "gemini"))


async def premium(lane: Lane) -> list[httpx2.Response]:
    return await all_of([asked(lane, "premium", "openai", service_tier="priority")])


async def batch(lane: Lane) -> list[httpx2.Response]:
    texts = [(f"batch {number}", name) for name in MODELS for number in range(4)]
    return await all_of(asked(lane, text, name, priority="low") for text, name in texts)


async def marked(lane: Lane) -> list[httpx2.Response]:
    """Into the prompt cache, out of it, and out of it in a batch."""
    turns = [{"role": "system", "content": MARKED}, {"role": "user", "content": "Is this a complaint?"}]
    fields: dict[str, Any] = {"messages": turns, "model": MODELS["anthropic"], "provider": "anthropic"}
    answers = []
    ways: tuple[dict[str, Any], ...] = ({}, {}, {"priority": "low"})
    for hints in ways:
        answers += await all_of([lane.gate.http.post(CHAT, json=fields | hints)])
    return answers


async def marked_for_an_hour(lane: Lane) -> list[httpx2.Response]:
    """Into the prompt cache by each way, and out of what went in first."""
    bodies = [kept("direct"), kept("batch") | {"priority": "low"}, kept("direct") | {"temperature": 0.5}]
    return [answer for body in bodies for answer in await all_of([lane.gate.http.post(CHAT, json=body)])]


def kept(name: str) -> dict[str, Any]:
    """A body whose beginning is to be kept for an hour, and then something for five minutes."""
    system = [
        {"type": "text", "text": f"{name}: {SYSTEM}", "cache_control": MARK | {"ttl": "1h"}},
        {"type": "text", "text": f"Kinds of {name} letters are many.", "cache_control": MARK},
    ]
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "Is this a complaint?"}]
    return {"messages": turns, "model": MODELS["anthropic"], "provider": "anthropic"}


async def reused(lane: Lane) -> list[httpx2.Response]:
    """Twins that join, directly and in a batch; then the cache."""
    fields: dict[str, Any] = {"temperature": 0, "reuse": "auto"}
    twins = [asked(lane, "twin", "openai", **fields) for _ in range(3)]
    twins += [asked(lane, "batched twin", "openai", priority="low", **fields) for _ in range(3)]
    return await all_of(twins) + await all_of(asked(lane, "twin", "openai", **fields) for _ in range(2))


async def attached(lane: Lane) -> list[httpx2.Response]:
    """The same request by its id: at the same time, and later."""
    fields: dict[str, Any] = {"request_id": "mine", "priority": "low"}
    at_once = await all_of(asked(lane, "attached", "openai", **fields) for _ in range(2))
    return at_once + await all_of([asked(lane, "attached", "openai", **fields)])


async def outlasted(lane: Lane) -> list[httpx2.Response]:
    """The first of twins does not wait for their batch."""
    fields: dict[str, Any] = {"temperature": 0, "reuse": "auto", "priority": "low"}
    first = await asked(lane, "outlasted", "openai", headers={"prefer": "respond-async"}, **fields)
    assert first.status_code == 202
    return await all_of([asked(lane, "outlasted", "openai", **fields)])


async def embeddings(lane: Lane) -> list[httpx2.Response]:
    kinds = [("openai", "text-embedding-3-small"), ("mistral", "mistral-embed")]
    return await all_of(
        lane.gate.http.post("/v1/embeddings", json={"input": "hi", "provider": name, "model": model} | hints)
        for name, model in kinds
        for hints in ({"reuse": "off"}, {"reuse": "off", "priority": "low"})
    )


async def responses(lane: Lane) -> list[httpx2.Response]:
    body = {"input": "hi", "model": MODELS["openai"]}
    ways: tuple[dict[str, Any], ...] = ({}, {"priority": "low"}, {"strategy": "flex"})
    return await all_of(lane.gate.http.post("/v1/responses", json=body | hints) for hints in ways)


async def packed(lane: Lane) -> list[httpx2.Response]:
    """Until a guard has asked singly as well; and then items are missing in their packs."""
    answers: list[httpx2.Response] = []
    for number in range(40):
        answers += await all_of(_crowd(lane, number, "auto"))
        if any(charge.request_id == OVERHEAD for charge in await _charges(lane)):
            break
    lane.fault("packed", how="missing", count=2)
    return answers + await all_of(_crowd(lane, 100, "always"))


def _crowd(lane: Lane, number: int, packing: str) -> list[Any]:
    turns = [[SYSTEM, f"Is letter {number}-{each} a complaint? Answer in one word."] for each in range(4)]
    bodies = [
        chat(messages=[{"role": "system", "content": system}, {"role": "user", "content": text}],
             model=MODELS["openai"], temperature=0, reuse="off", packing=packing)
        for system, text in turns
    ]  # fmt: skip
    return [lane.gate.http.post(CHAT, json=body) for body in bodies]


async def _charges(lane: Lane) -> list[Any]:
    storage = lane.gate.gateway.storage
    assert storage is not None
    await until(lambda: storage.database.health().behind_bytes == 0)
    return await storage.database.read(all_charges)


async def unpriced(lane: Lane) -> list[httpx2.Response]:
    return await all_of([lane.gate.ask(text="unpriced", model="own-model-7", provider="openai")])


async def requeued(lane: Lane) -> list[httpx2.Response]:
    """Ended after two of four rows at providers that give the finished ones; elsewhere rows fail in passing."""
    lane.fault("batch_ends", state="expired", lines=2, match={"provider": "openai"})
    lane.fault("batch_ends", state="expired", lines=2, match={"provider": "anthropic"})
    lane.fault("lines_fail", status=503, lines=2, match={"provider": "grok"})
    lane.fault("lines_fail", status=503, lines=2, match={"provider": "mistral"})
    texts = [(f"requeued {number}", name) for name in MODELS for number in range(4)]
    return await all_of(asked(lane, text, name, priority="low") for text, name in texts)


async def rescued(lane: Lane) -> list[httpx2.Response]:
    """Asked directly in time, and answered by its batch all the same."""
    lane.fault("batch_stuck", state="running", seconds=2.0, count=2)
    return await all_of(
        asked(lane, "rescued", name, strategy="batch", deadline=1.0) for name in ("openai", "anthropic")
    )


def price(line: Line, lane: Way | None = None) -> int | None:
    """What the catalogue makes of a line of the bill."""
    usage = Usage(
        input=line.input, output=line.output, cached=line.cached, cache_written=line.written,
        cache_written_hour=line.written_hour, tier=line.tier,
    )  # fmt: skip
    return charged(usage, _request(line.provider, line.model), lane or cast("Way", line.lane), CATALOG)


def _request(provider: str, model: str) -> Request:
    prompt = Prompt(model=model)
    return Request(
        id="", ask="", tenant="", key="", caller="", provider=provider, endpoint="chat", body=b"", prompt=prompt,
        fingerprint="", asked_at=0.0,
    )  # fmt: skip


def billed(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.input + line.output]


def known(costs: Iterable[int | None]) -> int:
    return sum(cost for cost in costs if cost is not None)


async def test_the_charges_are_the_bill(books: Books) -> None:
    bill: Counter[tuple[str, str]] = Counter()
    paid: Counter[tuple[str, str]] = Counter()
    for line in billed(books.lines):
        bill[line.provider, line.model] += price(line) or 0
    for charge in books.charges:
        paid[charge.provider, charge.model] += charge.cost or 0

    assert paid == bill
    assert {provider for provider, _ in bill} == set(MODELS)
    assert bill.total() > 0


async def test_each_row_of_a_batch_is_charged_once(books: Books) -> None:
    bill: Counter[str] = Counter()
    for line in billed(books.lines):
        if line.batch_id is not None:
            bill[books.jobs[line.batch_id]] += price(line) or 0
    rows = Counter(books.jobs[line.batch_id] for line in billed(books.lines) if line.batch_id is not None)
    paid: Counter[str] = Counter()
    charged_rows: Counter[str] = Counter()
    for charge in books.charges:
        if charge.via == "batch":
            job = charge.call_id if charge.request_id != OVERHEAD else _job_of(books, charge.call_id)
            paid[job] += charge.cost
            charged_rows[job] += 1

    assert charged_rows == rows
    assert paid == bill
    assert len(rows) >= 2 * len(MODELS)


def _job_of(books: Books, custom_id: str) -> str:
    """The job whose row has this id, as the provider's bill knows it."""
    (batch_id,) = {line.batch_id for line in books.lines if line.custom_id == custom_id}
    return books.jobs[batch_id or ""]


async def test_each_request_is_charged_by_the_way_that_it_went(books: Books) -> None:
    for name, answers in books.answers.items():
        if name == "attached":
            continue
        for answer in answers:
            request_id = answer.headers["x-batchway-request-id"]
            mine = [charge for charge in books.charges if charge.request_id == request_id]
            assert via(answer) in {charge.via for charge in mine}, name
            costs = [charge.cost for charge in mine]
            if name == "unpriced":
                assert costs == [None] and "x-batchway-cost-usd" not in answer.headers
            elif name != "streamed":
                assert answer.headers["x-batchway-cost-usd"] == usd(sum(costs)), name
                worth = sum(charge.counterfactual for charge in mine)
                assert answer.headers["x-batchway-saved-usd"] == usd(worth - sum(costs)), name


async def test_what_is_kept_for_an_hour_costs_twice_the_input_by_every_way(books: Books) -> None:
    """claude-haiku-4-5: 1 USD per million tokens in, 5 out, 1.25 to keep some for five minutes, 2 for an hour."""
    answers = books.answers["prompt cache for an hour"]
    by_request = {charge.request_id: charge for charge in books.of("prompt cache for an hour")}
    direct, batch, again = [by_request[answer.headers["x-batchway-request-id"]] for answer in answers]
    hours = [charge for charge in books.charges if charge.cache_written_hour]
    (streamed,) = [charge for charge in hours if charge not in (direct, batch)]

    assert (direct.via, batch.via, streamed.via) == ("direct", "batch", "direct")
    for charge in (direct, batch, streamed):
        hour, minutes = charge.cache_written_hour, charge.cache_written - charge.cache_written_hour
        assert hour > 1000 and 0 < minutes < 100
        plain = charge.input - hour - minutes
        worth = plain * 1_000_000 + minutes * 1_250_000 + hour * 2_000_000 + charge.output * 5_000_000
        assert (charge.cost, charge.counterfactual) == (worth // (1 + (charge.via == "batch")), worth)
    assert again.cached == direct.cache_written and again.cache_written == 0

    lines = [line for line in books.lines if line.written_hour]
    assert sorted(line.lane for line in lines) == ["batch", "direct", "direct"]
    assert sum(line.written_hour for line in lines) == sum(charge.cache_written_hour for charge in hours)
    for answer, charge in zip(answers, (direct, batch, again), strict=True):
        details = answer.json()["usage"]["prompt_tokens_details"]
        assert details.get("cache_write_1h_tokens", 0) == charge.cache_written_hour


async def test_the_same_request_is_charged_once_however_often_it_is_asked(books: Books) -> None:
    (charge,) = books.of("attached")
    assert (charge.request_id, charge.via) == ("mine", "batch")
    costs = [answer.headers["x-batchway-cost-usd"] for answer in books.answers["attached"]]
    assert sorted(costs) == ["0", "0", usd(charge.cost)]


async def test_a_twin_whose_first_has_left_is_charged_as_one(books: Books) -> None:
    (twin,) = books.of("outlasted")
    (first,) = [charge for charge in books.charges if charge.call_id == twin.call_id and charge is not twin]
    assert (first.via, twin.via, twin.cost) == ("batch", "coalesced", 0)
    assert 0 < first.cost < first.counterfactual == twin.counterfactual


async def test_what_no_request_asked_for_is_overhead(books: Books) -> None:
    overhead = [charge for charge in books.charges if charge.request_id == OVERHEAD]
    doubled = [charge for charge in overhead if charge.via == "batch"]
    samples = [charge for charge in overhead if charge.via == "direct"]

    assert {charge.provider for charge in doubled} == {"openai", "anthropic"}, "rows that came after their rescue"
    assert len(samples) == 1, "the guard asked singly as well"
    assert all(charge.cost > 0 and charge.counterfactual == 0 for charge in overhead)

    for answer in books.answers["rescued"][:1]:
        (story,) = json.loads(_say(books, "explain", answer.json()["request_id"], "--json"))
        (late,) = [charge for charge in doubled if charge.provider == story["request"]["provider"]]
        assert [charge["cost_usd"] for charge in story["overhead"]] == [usd(late.cost)]
        assert [charge["via"] for charge in story["charges"]] == ["direct"]
        assert ["overhead", usd(late.cost)] in [[step["what"], (step["paid"] or "")[1:]] for step in story["steps"]]


async def test_the_counterfactual_is_the_same_sent_alone_and_directly(books: Books) -> None:
    apart = {charge.request_id for charge in books.of("packed")} | {OVERHEAD}
    for charge in books.charges:
        if charge.request_id in apart:
            continue
        usage = Usage(
            input=charge.input, output=charge.output, cached=charge.cached, cache_written=charge.cache_written,
            cache_written_hour=charge.cache_written_hour, tier=charge.tier,
        )  # fmt: skip
        worth = counterfactual(usage, _request(charge.provider, charge.model), CATALOG)
        if charge.model == "own-model-7":
            assert charge.cost is charge.counterfactual is worth is None
            continue
        assert worth is not None
        assert charge.counterfactual == worth
        if charge.via == "direct":
            assert charge.cost == worth
        elif charge.via in ("cache", "coalesced"):
            assert charge.cost == 0 < worth
        else:
            assert charge.cost < worth


async def test_a_packed_request_is_compared_with_a_call_of_its_own(books: Books) -> None:
    """Measured by the prompt's own count of tokens, so that it is near and not exact."""
    alone = [price(line) for line in books.lines if line.output < 20 and line.input > 1500 and line.lane == "direct"]
    single = [cost for cost in alone if cost is not None]
    worths = [charge.counterfactual for charge in books.of("packed") if charge.counterfactual]

    assert worths and single
    assert max(worths) < 1.3 * max(single) and min(worths) > 0.7 * min(single)


async def test_the_ledger_sums_to_the_bill(books: Books) -> None:
    bill = usd(known(price(line) for line in billed(books.lines)))
    paid = known(charge.cost for charge in books.charges)
    worth = known(charge.counterfactual for charge in books.charges)

    for by in ("lane", "day,model,key"):
        *groups, whole = json.loads(_say(books, "ledger", "--by", by, "--json"))
        assert whole["paid_usd"] == bill == usd(paid)
        assert whole["counterfactual_usd"] == usd(worth)
        assert whole["saved_usd"] == usd(worth - paid)
        assert whole["overhead_usd"] == usd(known(each.cost for each in books.charges if each.request_id == OVERHEAD))
        assert whole["charges"] == len(books.charges) == sum(group["charges"] for group in groups)
        assert whole["unpriced"] == 1


async def test_stats_say_the_same_as_the_store(books: Books) -> None:
    paid = usd(known(charge.cost for charge in books.charges))
    worth = known(charge.counterfactual for charge in books.charges)

    assert books.stats["money"]["paid_usd"] == books.stats["today"]["paid_usd"] == paid
    assert books.stats["money"]["saved_usd"] == books.stats["today"]["saved_usd"]
    assert books.stats["today"]["saved_usd"] == usd(worth - known(charge.cost for charge in books.charges))


def _say(books: Books, *arguments: str) -> str:
    ended = run(*arguments, "--database-url", str(books.store), folder=books.store.parent)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
