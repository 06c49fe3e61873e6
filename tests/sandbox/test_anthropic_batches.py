"""Anthropic's message batches as the official SDK sees them: their life, their lines, their bill, what goes wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch
from tests.sandbox.speaking import ledger, switch_on
from tests.sandbox.submitting import SLOW, START

from batchway.sandbox import Sandbox, app, serve
from batchway.sandbox.batch_contract import Schedule
from batchway.sandbox.offers import DAY, OFFERS, Offer

MODEL = "claude-sonnet-5-5"
OLD, NEW = "2023-06-01", "2026-10-21"
PATH = "/anthropic/v1/messages/batches"
RESULTS = {"match": {"endpoint": "batches.results"}}


def row(name: str, **params: Any) -> dict[str, Any]:
    """A request that asks for a repeatable answer."""
    asked = {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": f"Ask {name}"}]}
    return {"custom_id": name, "params": asked | {"temperature": 0} | params}


def rows(count: int = 10, **params: Any) -> list[dict[str, Any]]:
    return [row(f"r-{number}", **params) for number in range(count)]


class World:
    """A sandbox whose clock is moved by hand, and the official SDK as its client."""

    def __init__(self, sandbox: Sandbox, clock: list[float], http: httpx2.AsyncClient, sdk: Any) -> None:
        self.sandbox = sandbox
        self._clock = clock
        self.http = http
        self.sdk: anthropic.AsyncAnthropic = sdk

    @property
    def batches(self) -> Any:
        return self.sdk.messages.batches

    def move(self, seconds: float) -> None:
        self._clock[0] += seconds

    async def submit(self, requests: list[dict[str, Any]] | None = None, version: str = OLD) -> MessageBatch:
        wanted: Any = rows() if requests is None else requests
        headers = {"anthropic-version": version}
        return await self.sdk.messages.batches.create(requests=wanted, extra_headers=headers)

    async def struck(self, *rules: dict[str, Any], requests: Any = None) -> MessageBatch:
        await switch_on(self.http, *rules)
        return await self.submit(requests)

    async def poll(self, batch: MessageBatch, seconds: float = 0) -> MessageBatch:
        self.move(seconds)
        return await self.sdk.messages.batches.retrieve(batch.id)

    async def results(self, batch: MessageBatch) -> dict[str, Any]:
        """By custom_id; no id twice."""
        found = [each async for each in await self.sdk.messages.batches.results(batch.id)]
        assert len({each.custom_id for each in found}) == len(found)
        return {each.custom_id: each.result for each in found}

    async def raw(self, batch: MessageBatch) -> bytes:
        return (await self.http.get(f"{PATH}/{batch.id}/results")).content

    async def billed(self) -> dict[str, int]:
        view = (await self.http.get("/sandbox/ledger/requests", params={"by": "custom_id"})).json()
        counts: dict[str, int] = view["billed"]
        return counts


@asynccontextmanager
async def a_world(**settings: Any) -> AsyncIterator[World]:
    clock = [START]
    usual: dict[str, Any] = {"now": lambda: clock[0], "sleep": asyncio.sleep, "batch_schedule": SLOW}
    sandbox = Sandbox(**usual | settings)
    headers = {"x-api-key": "sk-ant-9876", "anthropic-version": OLD}
    async with (
        serve(app(sandbox)) as address,
        httpx2.AsyncClient(base_url=address, headers=headers) as http,
        anthropic.AsyncAnthropic(api_key="sk-ant-9876", base_url=f"{address}/anthropic", max_retries=0) as sdk,
    ):
        yield World(sandbox, clock, http, sdk)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a batch of ten requests is done one by one from 10 to 110, and ends at 120."""
    async with a_world() as made:
        yield made


def tally(batch: MessageBatch) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: count for name, count in batch.request_counts.to_dict().items() if isinstance(count, int) and count}


async def refusal(world: World, *requests: dict[str, Any]) -> anthropic.APIStatusError:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await world.submit(list(requests))
    assert caught.value.request_id
    return caught.value


# Its life


async def test_a_life(world: World) -> None:
    made = await world.submit()
    assert (made.type, made.processing_status, tally(made)) == ("message_batch", "in_progress", {"processing": 10})
    assert made.id.startswith("msgbatch_")
    assert (made.created_at.timestamp(), made.expires_at.timestamp()) == (START, START + DAY)
    assert (made.ended_at, made.cancel_initiated_at, made.archived_at, made.results_url) == (None,) * 4
    assert tally(await world.poll(made, 60)) == {"processing": 10}, "counts say nothing before the end"
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        await world.results(made)
    assert (await world.http.get(f"{PATH}/{made.id}/results")).status_code == 404
    batch = await world.poll(made, 60)
    assert (batch.processing_status, tally(batch)) == ("ended", {"succeeded": 10})
    assert batch.ended_at is not None
    assert batch.ended_at.timestamp() == START + 120
    assert batch.results_url == f"{world.http.base_url}{PATH}/{made.id}/results"
    assert len(await world.results(batch)) == 10
    assert await world.poll(made, 5_000) == batch, "what has ended does not change"


def test_a_life_as_the_synchronous_sdk_sees_it() -> None:
    async def go() -> None:
        async with a_world(batch_schedule=None) as world:
            client = anthropic.Anthropic(api_key="k", base_url=str(world.sdk.base_url), max_retries=0)
            asked: Any = {"requests": rows(3), "extra_headers": {"anthropic-version": OLD}}
            made = await asyncio.to_thread(lambda: client.messages.batches.create(**asked))
            world.move(2)
            found = await asyncio.to_thread(lambda: list(client.messages.batches.results(made.id)))
            assert {each.result.type for each in found} == {"succeeded"}
            assert [each.id for each in await asyncio.to_thread(lambda: list(client.messages.batches.list()))] == [
                made.id
            ]
            await asyncio.to_thread(lambda: client.messages.batches.delete(made.id))
            client.close()

    asyncio.run(go())


async def test_requests_are_answered_as_direct_calls_are(world: World) -> None:
    results = await world.results(await world.poll(await world.submit(), 120))
    assert sorted(results) == sorted(each["custom_id"] for each in rows())
    assert list(results) != sorted(results), "in no order"
    for name, result in results.items():
        assert result.type == "succeeded"
        direct = (await world.http.post("/anthropic/v1/messages", json=row(name)["params"])).json()
        message = result.message.to_dict()
        assert (message["content"], message["stop_reason"]) == (direct["content"], "end_turn")
        assert message["usage"] == direct["usage"] | {"service_tier": "batch"}


async def test_every_request_is_billed_once_when_it_is_done(world: World) -> None:
    made = await world.submit()
    world.move(40)
    lines = (await ledger(world.http, lane="batch"))["lines"]
    assert [line["at"] for line in lines] == [START + 20, START + 30, START + 40]
    results = await world.results(await world.poll(made, 1_000))
    assert set((await world.billed()).values()) == {1}
    view = await ledger(world.http, lane="batch", endpoint="messages")
    usages = [result.message.usage for result in results.values()]
    assert view["totals"]["input"] == sum(usage.input_tokens for usage in usages)
    assert view["totals"]["output"] == sum(usage.output_tokens for usage in usages)
    line = view["lines"][0]
    assert (line["provider"], line["model"], line["batch_id"]) == ("anthropic", MODEL, made.id)
    assert (line["tier"], line["key"], line["status"]) == ("batch", "9876", 200)


async def test_the_version_is_that_of_the_batch(world: World) -> None:
    sampled = [row("hot"), row("cold", temperature=None)]
    del sampled[1]["params"]["temperature"]
    old, new = await world.submit(sampled, OLD), await world.submit(sampled, NEW)
    world.move(120)
    assert {result.type for result in (await world.results(old)).values()} == {"succeeded"}
    results = await world.results(new)
    assert (results["cold"].type, results["hot"].type) == ("succeeded", "errored")
    assert results["hot"].error.error.type == "invalid_request_error"
    assert results["hot"].error.error.message == "temperature: Extra inputs are not permitted"


async def test_what_goes_wrong_goes_wrong_by_itself(world: World) -> None:
    wrong = [
        row("fine"),
        row("bad", max_tokens="many"),
        row("absent", model="does-not-exist"),
        row("stream", stream=True),
        row("other", model="claude-haiku-4-5"),
    ]
    batch = await world.poll(await world.submit(wrong), 120)
    assert tally(batch) == {"succeeded": 2, "errored": 3}
    results = await world.results(batch)
    errors = {name: result.error for name, result in results.items() if result.type == "errored"}
    assert {name: error.error.type for name, error in errors.items()} == {
        "bad": "invalid_request_error",
        "absent": "not_found_error",
        "stream": "invalid_request_error",
    }
    assert all(error.type == "error" and error.request_id for error in errors.values())
    assert set(await world.billed()) == {"fine", "other"}


async def test_a_cancel_leaves_what_is_done(world: World) -> None:
    made = await world.submit()
    world.move(40)
    cancelled = await world.batches.cancel(made.id)
    assert (cancelled.processing_status, tally(cancelled)) == ("canceling", {"processing": 10})
    assert cancelled.cancel_initiated_at.timestamp() == START + 40
    batch = await world.poll(made, 10)
    assert (batch.processing_status, tally(batch)) == ("ended", {"succeeded": 3, "canceled": 7})
    kinds = [result.type for result in (await world.results(batch)).values()]
    assert sorted(kinds) == ["canceled"] * 7 + ["succeeded"] * 3
    assert len(await world.billed()) == 3
    with pytest.raises(anthropic.BadRequestError, match="has ended"):
        await world.batches.cancel(made.id)


async def test_a_cancel_at_once_leaves_nothing_unsaid(world: World) -> None:
    made = await world.submit()
    await world.batches.cancel(made.id)
    batch = await world.poll(made, 10)
    assert tally(batch) == {"canceled": 10}
    assert {result.type for result in (await world.results(batch)).values()} == {"canceled"}


async def test_what_is_not_done_in_time_expires() -> None:
    slow = Schedule(validating=0, per_line=DAY / 5, finalizing=0)
    async with a_world(batch_schedule=slow) as world:
        batch = await world.poll(await world.submit(), DAY)
        assert (batch.processing_status, tally(batch)) == ("ended", {"succeeded": 5, "expired": 5})
        kinds = [result.type for result in (await world.results(batch)).values()]
        assert sorted(kinds) == ["expired"] * 5 + ["succeeded"] * 5
        assert len(await world.billed()) == 5


async def test_results_are_kept_for_29_days(world: World) -> None:
    batch = await world.poll(await world.submit(), 29 * DAY - 1)
    assert len(await world.results(batch)) == 10
    gone = await world.poll(batch, 1)
    assert gone.archived_at is not None
    assert (gone.archived_at.timestamp(), gone.results_url) == (START + 29 * DAY, None)
    assert (await world.http.get(f"{PATH}/{batch.id}/results")).status_code == 404


async def test_only_what_has_ended_is_deleted(world: World) -> None:
    made = await world.submit()
    with pytest.raises(anthropic.BadRequestError, match="cancel it first"):
        await world.batches.delete(made.id)
    world.move(120)
    deleted = await world.batches.delete(made.id)
    assert (deleted.id, deleted.type) == (made.id, "message_batch_deleted")
    for call in (world.batches.retrieve, world.batches.delete, world.batches.results, world.batches.cancel):
        with pytest.raises(anthropic.NotFoundError):
            await call(made.id)
    assert (await world.batches.list()).data == []


async def test_lists_by_the_page(world: World) -> None:
    names = [(await world.submit(rows(1))).id for _ in range(5)][::-1]
    assert [batch.id async for batch in world.batches.list(limit=2)] == names
    first = await world.batches.list(limit=2)
    assert ([batch.id for batch in first.data], first.has_more) == (names[:2], True)
    assert (first.first_id, first.last_id) == (names[0], names[1])
    last = await world.batches.list(limit=2, after_id=names[3])
    assert ([batch.id for batch in last.data], last.has_more) == (names[4:], False)
    before = await world.batches.list(limit=2, before_id=names[3])
    assert ([batch.id for batch in before.data], before.has_more) == (names[1:3], True)
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after_id": "nobody"}):
        with pytest.raises(anthropic.BadRequestError):
            await world.batches.list(**wrong)


async def test_another_key_sees_nothing(world: World) -> None:
    made = await world.submit()
    stranger = world.sdk.with_options(api_key="sk-ant-other").messages.batches
    assert (await stranger.list()).data == []
    for call in (stranger.retrieve, stranger.cancel, stranger.delete):
        with pytest.raises(anthropic.NotFoundError):
            await call(made.id)


# What is refused at once


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (row("x" * 65), "requests.0.custom_id: String should have at most 64 characters"),
        (row("a b"), "requests.0.custom_id: Expected `str` matching regex"),
        (row(""), "requests.0.custom_id"),
        ({"custom_id": "a", "params": [1]}, "requests.0.params: Input should be an object"),
        ({"custom_id": "a"}, "requests.0.params: Field required"),
        (row("a") | {"url": "/v1/messages"}, "requests.0.url: Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_envelope_is_refused(world: World, request_: dict[str, Any], message: str) -> None:
    error = await refusal(world, request_)
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert message in error.message
    assert (await world.batches.list()).data == []


async def test_ids_are_unique_and_a_batch_is_not_empty(world: World) -> None:
    assert "requests.1.custom_id" in (await refusal(world, row("a"), row("a"))).message
    assert (await refusal(world)).status_code == 400
    answer = await world.http.post(PATH, content=b'{"requests":')
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_terms_limit_size_and_number_and_queue() -> None:
    terms = Offer(most_bytes=3_000, most_requests=12, live_requests=15, live_batches=2, windows=("24h",))
    async with a_world(offers={"anthropic": terms}) as world:
        for too_many in (rows(13), rows(2, system="x" * 3_000)):
            error = await refusal(world, *too_many)
            assert (error.status_code, error.type) == (413, "request_too_large")
        first = await world.submit(rows(10))
        assert isinstance(await refusal(world, *rows(6)), anthropic.RateLimitError)
        await world.submit(rows(5))
        world.move(120)
        await world.submit(rows(2))
        await world.submit(rows(2))
        assert isinstance(await refusal(world, *rows(1)), anthropic.RateLimitError)
        assert (await world.poll(first)).processing_status == "ended"


async def test_its_terms_can_be_seen(world: World) -> None:
    shown = (await world.http.get("/sandbox/offers")).json()["anthropic"]
    assert (shown["most_requests"], shown["most_bytes"]) == (100_000, OFFERS["anthropic"].most_bytes)


# What goes wrong


@pytest.mark.parametrize("rule", [{"kind": "status", "status": 500}, {"kind": "drop"}])
async def test_a_create_may_be_accepted_and_its_answer_lost(world: World, rule: dict[str, Any]) -> None:
    await switch_on(world.http, rule | {"accepted": True, "match": {"endpoint": "batches.create"}})
    with pytest.raises((anthropic.InternalServerError, anthropic.APIConnectionError)):
        await world.submit()
    (listed,) = (await world.batches.list()).data
    assert tally(listed) == {"processing": 10}
    assert len(await world.results(await world.poll(listed, 120))) == 10


async def test_a_create_may_be_refused(world: World) -> None:
    rule = {"kind": "status", "status": 429, "retry_after": 3, "match": {"endpoint": "batches.create"}}
    await switch_on(world.http, rule)
    with pytest.raises(anthropic.RateLimitError) as caught:
        await world.submit()
    assert caught.value.response.headers["retry-after"] == "3"
    assert (await world.batches.list()).data == []


async def test_it_may_not_be_found_at_first_or_not_be_listed_or_vanish(world: World) -> None:
    hidden = await world.struck({"kind": "batch_hidden", "polls": 2})
    for _ in range(2):
        with pytest.raises(anthropic.NotFoundError):
            await world.poll(hidden)
    assert (await world.poll(hidden)).id == hidden.id
    late = await world.struck({"kind": "listed_late", "seconds": 60})
    assert [batch.id for batch in (await world.batches.list()).data] == [hidden.id]
    assert (await world.poll(late, 60)).id == late.id
    assert len((await world.batches.list()).data) == 2
    gone = await world.struck({"kind": "batch_vanishes", "seconds": 5})
    world.move(5)
    for call in (world.batches.retrieve, world.batches.cancel, world.batches.delete):
        with pytest.raises(anthropic.NotFoundError):
            await call(gone.id)


@pytest.mark.parametrize(
    ("state", "left"), [("expired", "expired"), ("cancelled", "canceled"), ("failed", "errored"), ("completed", None)]
)
async def test_the_provider_ends_it_with_part_of_the_work(world: World, state: str, left: str | None) -> None:
    batch = await world.poll(await world.struck({"kind": "batch_ends", "state": state, "lines": 4}), 120)
    results = await world.results(batch)
    kinds = [result.type for result in results.values()]
    assert (batch.processing_status, sum(tally(batch).values())) == ("ended", 10)
    assert kinds.count("succeeded") == 4
    assert len(kinds) == (10 if left else 4)
    if left:
        assert (kinds.count(left), tally(batch)) == (6, {"succeeded": 4, left: 6})
    assert len(await world.billed()) == 4


async def test_a_status_that_nobody_knows_and_results_that_are_late(world: World) -> None:
    made = await world.struck({"kind": "batch_status", "status": "resting", "polls": 1})
    assert str((await world.poll(made)).processing_status) == "resting"
    assert (await world.poll(made)).processing_status == "in_progress"
    late = await world.struck({"kind": "files_late", "polls": 2})
    world.move(120)
    seen = [(await world.poll(late)).results_url is not None for _ in range(3)]
    assert seen == [False, False, True]


async def test_stuck_and_cancelled_before_it_began(world: World) -> None:
    made = await world.struck({"kind": "batch_stuck", "state": "validating"})
    assert (await world.poll(made, 90_000)).processing_status == "in_progress"
    await world.batches.cancel(made.id)
    batch = await world.poll(made, 10)
    assert tally(batch) == {"canceled": 10}
    assert len(await world.results(batch)) == 10


async def test_a_cancel_may_be_too_late(world: World) -> None:
    made = await world.struck({"kind": "cancel_ignored"})
    world.move(40)
    assert (await world.batches.cancel(made.id)).processing_status == "canceling"
    batch = await world.poll(made, 80)
    assert (batch.processing_status, tally(batch)) == ("ended", {"succeeded": 10})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (500, "api_error"), (529, "overloaded_error"), (None, "api_error")],
)
async def test_requests_fail(world: World, status: int | None, kind: str) -> None:
    rule = {"kind": "lines_fail", "lines": 3, "status": status, "message": "No."}
    batch = await world.poll(await world.struck(rule), 120)
    assert tally(batch) == {"succeeded": 7, "errored": 3}
    errors = [result.error.error for result in (await world.results(batch)).values() if result.type == "errored"]
    assert [(error.type, error.message) for error in errors] == [(kind, "No.")] * 3
    assert len(await world.billed()) == 7


async def test_lines_go_missing_twice_astray_and_wrong(world: World) -> None:
    await switch_on(
        world.http,
        {"kind": "lines_missing", "lines": 1},
        {"kind": "lines_doubled", "after": 1},
        {"kind": "ghost_lines", "after": 2},
        {"kind": "garbage_lines", "after": 3, "text": "<html>"},
        {"kind": "invalid_utf8", "after": 4},
        {"kind": "odd_separators", "after": 5},
        {"kind": "half_line"},
    )
    batch = await world.poll(await world.submit(), 120)
    assert tally(batch) == {"succeeded": 10}
    *lines, last = (await world.raw(batch)).split(b"\n")
    assert len(lines) == 10 - 1 - 1 + 3
    assert lines[0] == lines[1]
    assert b'"ghost-2"' in lines[3]
    assert lines[4] == b"<html>"
    with pytest.raises(UnicodeDecodeError):
        lines[6].decode()
    assert len(lines[7].decode().splitlines()) == 4
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)
    assert len(await world.billed()) == 10


async def test_lines_that_were_not_done_are_whole_though_the_last_is_half_written(world: World) -> None:
    batch = await world.poll(
        await world.struck({"kind": "half_line"}, {"kind": "batch_ends", "state": "expired", "lines": 4}), 120
    )
    *lines, last = (await world.raw(batch)).split(b"\n")
    kinds = [json.loads(line)["result"]["type"] for line in lines]
    assert kinds == ["expired"] * 6 + ["succeeded"] * 3
    assert last.startswith(b'{"custom_id"')


async def test_the_opposite_order(world: World) -> None:
    told = list(await world.results(await world.poll(await world.submit(), 120)))
    batch = await world.poll(await world.struck({"kind": "lines_reversed"}), 120)
    assert list(await world.results(batch)) == told[::-1]


async def test_a_download_may_fail_or_break_off(world: World) -> None:
    batch = await world.poll(await world.submit(), 120)
    whole = await world.raw(batch)
    await switch_on(world.http, {"kind": "cut_body", "after": 1_000} | RESULTS)
    with pytest.raises(httpx2.RemoteProtocolError):
        await world.results(batch)
    await switch_on(world.http, {"kind": "malformed_body"} | RESULTS)
    assert await world.raw(batch) == whole[: len(whole) // 2]
    await switch_on(world.http, {"kind": "status", "status": 404, "count": None} | RESULTS)
    for _ in range(2):
        with pytest.raises(anthropic.NotFoundError):
            await world.results(batch)


async def test_a_fault_is_chosen_by_what_the_requests_say(world: World) -> None:
    await switch_on(world.http, {"kind": "lines_missing", "lines": None, "match": {"text": "victim"}})
    spared, victim = await world.submit([row("spared")]), await world.submit([row("victim")])
    world.move(120)
    assert (len(await world.results(spared)), len(await world.results(victim))) == (1, 0)


async def test_the_sandbox_shows_it_as_it_is(world: World) -> None:
    made = await world.submit()
    world.move(60)
    (shown,) = (await world.http.get("/sandbox/batches")).json()["batches"]
    assert (shown["id"], shown["provider"], shown["state"]) == (made.id, "anthropic", "running")
    assert (shown["lines"], shown["done"], shown["billed"]) == (10, 5, 5)
