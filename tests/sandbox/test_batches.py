"""Batches as the official SDK sees them: their life by the clock, their lines, their bill, their terms."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from tests.sandbox.speaking import ledger
from tests.sandbox.submitting import CHAT, START, World, a_world, request, requests, written

from batchway.sandbox.batch_contract import Schedule
from batchway.sandbox.batching import SLICE, turns
from batchway.sandbox.offers import DAY, HOUR, Offer, seconds


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a batch of ten lines takes 120 seconds."""
    async with a_world() as made:
        yield made


async def test_a_life(world: World) -> None:
    made = await world.submit(metadata={"job": "one"})
    assert (made.object, made.status, made.model, made.endpoint) == ("batch", "validating", None, CHAT)
    assert (made.created_at, made.expires_at, made.metadata) == (START, START + DAY, {"job": "one"})
    assert made.usage is not None
    assert (made.output_file_id, made.error_file_id, made.errors, made.usage.total_tokens) == (None, None, None, 0)
    seen = []
    for step in (9, 1, 30, 69, 1, 9, 1):
        batch = await world.poll(made, step)
        assert batch.request_counts is not None
        seen.append((batch.status, batch.request_counts.total, batch.request_counts.completed))
    assert seen == [
        ("validating", 0, 0),
        ("in_progress", 10, 0),
        ("in_progress", 10, 3),
        ("in_progress", 10, 9),
        ("finalizing", 10, 10),
        ("finalizing", 10, 10),
        ("completed", 10, 10),
    ]
    assert batch.model == "gpt-4o-mini"
    assert (batch.in_progress_at, batch.finalizing_at, batch.completed_at) == (START + 10, START + 110, START + 120)
    assert (batch.failed_at, batch.expired_at, batch.cancelling_at, batch.cancelled_at) == (None,) * 4
    assert batch.error_file_id is None
    assert await world.poll(made, 9 * DAY) == batch, "what has ended does not change"


async def test_its_life_is_the_same_when_nobody_looks(world: World) -> None:
    made = await world.submit()
    batch = await world.poll(made, 5_000)
    assert (batch.status, batch.completed_at) == ("completed", START + 120)
    assert len(await world.output(batch)) == 10


async def test_lines_are_answered_as_direct_calls_are(world: World) -> None:
    batch = await world.poll(await world.submit(), 120)
    output = await world.output(batch)
    assert sorted(output) == [f"r-{number}" for number in range(10)]
    assert list(output) != sorted(output), "in no order"
    for name, line in output.items():
        direct = (await world.http.post(CHAT, json=request(name)["body"])).json()
        assert line["id"].startswith("batch_req_")
        assert line["error"] is None
        assert (line["response"]["status_code"], len(line["response"]["request_id"])) == (200, 36)
        body = line["response"]["body"]
        assert body["choices"] == direct["choices"]
        assert (body["usage"], body["model"]) == (direct["usage"], direct["model"])
    assert batch.output_file_id is not None
    file = await world.sdk.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.created_at, file.expires_at) == ("batch_output", START + 120, START + 120 + 30 * DAY)


async def test_every_line_is_billed_once_when_it_is_done(world: World) -> None:
    made = await world.submit()
    world.move(40)
    lines = (await ledger(world.http, lane="batch"))["lines"]
    assert [line["at"] for line in lines] == [START + 20, START + 30, START + 40]
    batch = await world.poll(made, 1_000)
    assert set((await world.billed(by="custom_id", batch_id=made.id)).values()) == {1}
    view = await ledger(world.http, lane="batch", endpoint="chat")
    assert view["totals"]["calls"] == view["totals"]["completed"] == 10
    assert batch.usage is not None
    assert (view["totals"]["input"], view["totals"]["output"]) == (batch.usage.input_tokens, batch.usage.output_tokens)
    line = view["lines"][0]
    assert (line["batch_id"], line["key"], line["status"], line["tier"]) == (made.id, "9876", 200, "default")


async def test_the_same_body_has_the_same_hash_on_every_lane(world: World) -> None:
    body = request("r-3")["body"]
    await world.poll(await world.submit(), 120)
    await world.poll(await world.submit(), 120)
    await world.http.post(CHAT, content=json.dumps(body).encode())
    billed = await world.billed()
    assert sorted(billed.values()) == [2] * 9 + [3]
    assert set((await world.billed(lane="direct", endpoint="chat")).values()) == {1}
    assert (await world.http.get("/sandbox/ledger/requests?by=colour")).status_code == 400
    assert (await world.http.get("/sandbox/ledger/requests?colour=red")).status_code == 400


async def test_what_goes_wrong_with_a_line_is_in_the_error_file() -> None:
    lines = [
        *requests(2),
        request("bad", body={"temperature": 9}),
        request("absent", body={"model": "does-not-exist"}),
    ]
    async with a_world(offers={"openai": Offer(one_model=False)}) as world:
        batch = await world.poll(await world.submit(lines), 120)
        output, errors = await world.output(batch), await world.errors(batch)
        assert (batch.status, batch.model) == ("completed", None)
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 4, "completed": 2, "failed": 2}
        assert (set(output), set(errors)) == ({"r-0", "r-1"}, {"bad", "absent"})
        assert errors["bad"]["error"] is None
        assert errors["bad"]["response"]["status_code"] == 400
        assert errors["bad"]["response"]["body"]["error"]["param"] == "temperature"
        assert errors["absent"]["response"]["status_code"] == 404
        assert set(await world.billed(by="custom_id")) == {"r-0", "r-1"}


async def test_all_lines_failed_is_completed_without_output(world: World) -> None:
    batch = await world.poll(await world.submit(requests(3, body={"temperature": 9})), 120)
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert len(await world.errors(batch)) == 3


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a fjord"}, "list"),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": "a fjord", "stream": True}, "response"),
        (CHAT, {"stream": True, "stream_options": {"include_usage": True}}, "chat.completion"),
    ],
)
async def test_each_endpoint_and_never_a_stream(world: World, endpoint: str, body: dict[str, Any], kind: str) -> None:
    line = request("one", url=endpoint) | {"body": request("one")["body"] | body if endpoint == CHAT else body}
    batch = await world.poll(await world.submit([line], endpoint=endpoint), 120)
    assert (await world.output(batch))["one"]["response"]["body"]["object"] == kind


@pytest.mark.parametrize(
    ("lines", "code", "line", "param"),
    [
        (b"", "empty_file", None, None),
        (b"\n \n", "empty_file", None, None),
        (b'{"custom_id": "a"', "invalid_json_line", 1, None),
        (b"\xef\xbb\xbf" + written(requests(1)), "invalid_json_line", 1, None),
        (written(requests(1)) + b"\n\xff\n", "invalid_json_line", 3, None),
        (written([*requests(2), request("x" * 65)]), "invalid_json_line", 3, None),
        (written([request("one", body={"model": 5})]), "invalid_json_line", 1, None),
        (written([request("one"), request("two"), request("one")]), "duplicate_custom_id", 3, "custom_id"),
        (written([request("one", method="GET")]), "invalid_method", 1, "method"),
        (written([request("one", url="/v1/embeddings")]), "url_mismatch", 1, "url"),
        (written([request("one"), request("two", body={"model": "gpt-4o"})]), "mismatched_model", None, "body.model"),
    ],
)
async def test_a_wrong_file_fails(world: World, lines: bytes, code: str, line: int | None, param: str | None) -> None:
    made = await world.submit(lines)
    assert made.status == "validating"
    batch = await world.poll(made, 10)
    assert (batch.status, batch.failed_at, batch.in_progress_at) == ("failed", START + 10, None)
    assert batch.errors is not None
    assert batch.errors.data is not None
    (error,) = batch.errors.data
    assert (error.code, error.line, error.param) == (code, line, param), error.message
    assert (batch.output_file_id, batch.error_file_id, await world.billed()) == (None, None, {})


async def test_no_more_than_twenty_errors_are_told(world: World) -> None:
    batch = await world.poll(await world.submit(b"x\n" * 50), 10)
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [error.line for error in batch.errors.data] == list(range(1, 21))


async def test_the_last_line_needs_no_newline(world: World) -> None:
    batch = await world.poll(await world.submit(written(requests(2)).rstrip()), 120)
    assert sorted(await world.output(batch)) == ["r-0", "r-1"]


async def test_expiry_gives_what_was_done() -> None:
    slow = Schedule(validating=10, per_line=400)
    async with a_world(batch_schedule=slow, offers={"openai": Offer(windows=("1h",))}) as world:
        made = await world.submit(completion_window="1h")
        batch = await world.poll(made, HOUR)
        assert (batch.status, batch.expired_at, batch.completed_at) == ("expired", START + HOUR, None)
        output, errors = await world.output(batch), await world.errors(batch)
        assert (len(output), len(errors)) == (8, 2)
        assert set(output) | set(errors) == {f"r-{number}" for number in range(10)}
        for line in errors.values():
            assert (line["response"], line["error"]["code"]) == (None, "batch_expired")
        assert set(await world.billed(by="custom_id")) == set(output)


async def test_cancelling_keeps_what_was_done(world: World) -> None:
    made = await world.submit()
    await world.poll(made, 40)
    asked = await world.sdk.batches.cancel(made.id)
    assert (asked.status, asked.cancelling_at, asked.cancelled_at) == ("cancelling", START + 40, None)
    world.move(9)
    assert (await world.sdk.batches.cancel(made.id)).cancelling_at == START + 40, "once is enough"
    assert (await world.poll(made)).output_file_id is None
    batch = await world.poll(made, 1)
    assert (batch.status, batch.cancelled_at) == ("cancelled", START + 50)
    assert (len(await world.output(batch)), batch.error_file_id) == (3, None)
    assert set(await world.billed(by="custom_id")) == set(await world.output(batch))


@pytest.mark.parametrize("when", [0, 9, 115])
async def test_cancelling_early_and_late(world: World, when: float) -> None:
    made = await world.submit()
    world.move(when)
    await world.sdk.batches.cancel(made.id)
    batch = await world.poll(made, 10 if when < 100 else 5)
    assert batch.status == ("cancelled" if when < 100 else "completed")
    assert len(await world.output(batch)) == (0 if when < 100 else 10)


async def test_what_has_ended_cannot_be_cancelled(world: World) -> None:
    made = await world.submit()
    world.move(120)
    with pytest.raises(openai.BadRequestError, match="completed"):
        await world.sdk.batches.cancel(made.id)
    with pytest.raises(openai.NotFoundError):
        await world.sdk.batches.cancel("batch_none")
    with pytest.raises(openai.NotFoundError):
        await world.sdk.batches.retrieve("batch_none")


async def test_the_newest_first_by_the_page(world: World) -> None:
    file = await world.upload(requests(1))
    made = [
        await world.sdk.batches.create(
            input_file_id=file, endpoint=CHAT, completion_window="24h", metadata={"n": str(n)}
        )
        for n in range(5)
    ]
    names = [batch.id for batch in reversed(made)]
    assert [batch.id async for batch in world.sdk.batches.list(limit=2)] == names
    first = await world.sdk.batches.list(limit=2)
    assert (first.has_more, first.data[0].metadata) == (True, {"n": "4"})
    answer = (await world.http.get("/v1/batches", params={"limit": 3, "after": names[1]})).json()
    assert (answer["object"], answer["first_id"], answer["last_id"]) == ("list", names[2], names[4])
    assert (answer["has_more"], len(answer["data"])) == (False, 3)
    assert (await world.http.get("/v1/batches?limit=101")).status_code == 400
    stranger = world.sdk.with_options(api_key="sk-other")
    assert (await stranger.batches.list()).data == []
    with pytest.raises(openai.NotFoundError):
        await stranger.batches.retrieve(names[0])


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"endpoint": "/v1/videos"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata[...]"),
        ({"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after.seconds"),
    ],
)
async def test_a_wrong_creation_is_a_400(world: World, changes: dict[str, Any], param: str) -> None:
    body = {"input_file_id": await world.upload(requests(1)), "endpoint": CHAT, "completion_window": "24h"}
    answer = await world.http.post("/v1/batches", json=body | changes)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert await world.batches() == []


async def test_only_files_for_batches(world: World) -> None:
    file = await world.sdk.files.create(file=written(requests(1)), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        await world.sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


async def test_results_are_kept_as_long_as_asked(world: World) -> None:
    made = await world.submit(output_expires_after={"anchor": "created_at", "seconds": 3_600})
    batch = await world.poll(made, 120)
    assert len(await world.output(batch)) == 10
    world.move(3_600)
    with pytest.raises(openai.NotFoundError):
        await world.output(batch)


async def test_the_input_may_be_deleted_while_it_is_worked_on(world: World) -> None:
    made = await world.submit()
    await world.sdk.files.delete(made.input_file_id)
    assert len(await world.output(await world.poll(made, 120))) == 10


async def test_terms_limit_requests_and_creations() -> None:
    async with a_world(offers={"openai": Offer(most_requests=9, creations_per_hour=2, streams="refuse")}) as world:
        made = await world.submit()
        batch = await world.poll(made, 600)
        assert batch.errors is not None
        assert batch.errors.data is not None
        assert batch.errors.data[0].code == "too_many_tasks"
        streaming = await world.poll(await world.submit(requests(1, body={"stream": True})), 10)
        assert (streaming.status, streaming.errors is not None) == ("failed", True)
        with pytest.raises(openai.RateLimitError) as raised:
            await world.submit()
        assert raised.value.response.headers["retry-after"] == str(3_600 - 610)
        world.move(3_600 - 610)
        await world.submit()


async def test_enqueued_tokens_fail_after_a_clean_create_until_others_have_ended() -> None:
    async with a_world(offers={"openai": Offer(enqueued_tokens=400)}) as world:
        first, second = await world.submit(), await world.submit()
        other = await world.submit(requests(10, body={"model": "gpt-4o"}))
        failed = await world.poll(second, 10)
        assert failed.errors is not None
        assert failed.errors.data is not None
        assert (failed.status, failed.errors.data[0].code) == ("failed", "token_limit_exceeded")
        assert "Enqueued token limit reached for gpt-4o-mini" in str(failed.errors.data[0].message)
        assert [(await world.poll(each)).status for each in (first, other)] == ["in_progress"] * 2
        world.move(120)
        again = await world.sdk.batches.create(
            input_file_id=second.input_file_id, endpoint=CHAT, completion_window="24h"
        )
        assert (await world.poll(again, 10)).status == "in_progress"


async def test_enqueued_tokens_are_those_of_the_moment_whenever_one_looks() -> None:
    async with a_world(offers={"openai": Offer(enqueued_tokens=400)}) as world:
        first, second = await world.submit(), await world.submit()
        world.move(111)
        third = await world.submit()
        world.move(5_000)
        statuses = [(await world.poll(each)).status for each in (first, second, third)]
        assert statuses == ["completed", "failed", "completed"]


async def test_terms_can_be_changed_while_it_runs(world: World) -> None:
    changed = await world.http.patch("/sandbox/offers", json={"openai": {"windows": ["1h"], "most_requests": None}})
    assert changed.json()["openai"]["windows"] == ["1h"]
    assert (await world.submit(completion_window="1h")).expires_at == START + HOUR
    assert (await world.http.get("/sandbox/offers")).json()["openai"]["most_bytes"] == 200 * 2**20
    assert (await world.http.patch("/sandbox/offers", json={"openai": {"window": "1h"}})).status_code == 400


@pytest.mark.parametrize(
    ("provider", "good", "bad"),
    [
        ("deepinfra", {}, {"endpoint": "/v1/responses"}),
        ("deepinfra", {}, {"completion_window": "48h"}),
        ("groq", {"completion_window": "7d"}, {"endpoint": "/v1/embeddings"}),
        ("doubleword", {"completion_window": "1h"}, {"completion_window": "7d"}),
        ("anything-compatible", {}, {"completion_window": "1h"}),
    ],
)
async def test_providers_have_their_own_terms(provider: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    async with a_world(provider) as world:
        made = await world.submit(**good)
        with pytest.raises(openai.BadRequestError):
            await world.submit(**bad)
        assert made.expires_at == START + seconds(good.get("completion_window", "24h"))
        mixed = await world.submit([request("one"), request("two", body={"model": "gpt-4o"})])
        status = "in_progress" if provider in ("groq", "doubleword") else "failed"
        assert (await world.poll(mixed, 10)).status == status


async def test_doubleword_can_be_read_while_it_runs() -> None:
    async with a_world("doubleword") as world:
        raw = await world.sdk.batches.with_raw_response.create(
            input_file_id=await world.upload(requests()),
            endpoint=CHAT,
            completion_window="background",  # type: ignore[arg-type]
        )
        batch = raw.parse()
        assert (raw.http_response.status_code, batch.expires_at) == (201, None)
        path = f"/doubleword/v1/files/{batch.output_file_id}/content"
        assert (await world.http.get(path)).status_code == 404, "there is nothing yet"
        world.move(40)
        part = await world.http.get(path)
        assert (part.headers["x-incomplete"], part.headers["x-last-line"]) == ("true", "3")
        assert part.headers["content-type"] == "application/x-ndjson"
        world.move(80)
        rest = await world.http.get(path, params={"skip": 3, "limit": 5})
        assert (rest.headers["x-incomplete"], rest.headers["x-last-line"]) == ("true", "8")
        last = await world.http.get(path, params={"skip": 8})
        assert (last.headers["x-incomplete"], last.headers["x-last-line"]) == ("false", "10")
        whole = part.content + rest.content + last.content
        assert whole == (await world.http.get(path)).content
        assert {json.loads(line)["custom_id"] for line in whole.splitlines()} == {f"r-{n}" for n in range(10)}
        assert (await world.http.get(path, params={"limit": 102})).status_code == 400


async def test_doubleword_fails_where_every_line_failed() -> None:
    async with a_world("doubleword") as world:
        batch = await world.poll(await world.submit(requests(2, body={"temperature": 9})), 120)
        assert (batch.status, len(await world.errors(batch))) == ("failed", 2)


async def test_the_sandbox_shows_every_batch_as_it_is(world: World) -> None:
    one = await world.submit(metadata={"tag": "one"})
    two = await world.submit(metadata={"tag": "two"})
    world.move(40)
    await world.sdk.batches.cancel(two.id)
    world.move(20)
    shown = {batch["tags"]["tag"]: batch for batch in await world.batches()}
    assert (shown["one"]["id"], shown["one"]["state"], shown["one"]["live"]) == (one.id, "running", True)
    assert (shown["one"]["lines"], shown["one"]["done"], shown["one"]["billed"]) == (10, 5, 5)
    assert (shown["two"]["state"], shown["two"]["live"], shown["two"]["billed"]) == ("cancelled", False, 3)
    assert shown["two"]["times"] == {"running": START + 10, "cancelling": START + 40, "cancelled": START + 50}
    assert (shown["two"]["provider"], shown["two"]["key"], shown["two"]["faults"]) == ("openai", "9876", [])


async def test_many_lines_leave_turns_to_others(world: World) -> None:
    made = await world.submit(requests(2_000))
    world.move(1_000)
    settling = asyncio.create_task(world.sandbox.batches.settle(world.sandbox.now()))
    taken = 0
    while not settling.done():
        await asyncio.sleep(0)
        taken += 1
    assert taken > 2_000 / SLICE
    assert len(await world.output(await world.poll(made))) == 2_000


async def test_those_who_look_at_once_have_every_line_done_once(world: World) -> None:
    made = await world.submit(requests(300))
    world.move(1_000)
    await asyncio.gather(*(world.sandbox.batches.settle(world.sandbox.now()) for _ in range(3)))
    assert len(await world.output(await world.poll(made))) == 300
    assert set((await world.billed(by="custom_id")).values()) == {1}


async def test_no_line_is_left_out_however_quick_and_late_it_is() -> None:
    quick = Schedule(validating=0, running=0, finalizing=0)
    for at in (1_790_000_000.1 + step / 7 for step in range(7)):
        async with a_world(batch_schedule=quick, now=itertools.count(at, 1.0).__next__) as world:
            batch = await world.poll(await world.submit(requests(3)))
            assert (batch.status, len(await world.output(batch))) == ("completed", 3)


async def test_by_default_it_takes_two_seconds() -> None:
    async with a_world(batch_schedule=None) as world:
        made = await world.submit()
        assert (await world.poll(made, 1.9)).status == "finalizing"
        assert (await world.poll(made, 0.1)).status == "completed"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10, 97, 1_000, 1_001])
def test_the_shuffle_misses_nobody(size: int) -> None:
    turn = turns(size, in_order=False)
    order = [turn(nth) for nth in range(size)]
    assert sorted(order) == list(range(size))
    assert size < 4 or order != sorted(order)
    assert [turns(size, in_order=True)(nth) for nth in range(size)] == list(range(size))
