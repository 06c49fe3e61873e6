"""Gemini's files and batches as Google's own SDK sees them: uploads, life, results, bill, what goes wrong."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from tests.sandbox.speaking import ledger, switch_on
from tests.sandbox.submitting import SLOW, START

from batchway.sandbox import Sandbox, app, serve
from batchway.sandbox.batch_contract import Schedule
from batchway.sandbox.offers import DAY, Offer

MODEL = "gemini-3.8-flash"
EMBEDDING = "gemini-embedding-001"
V1 = "/gemini/v1beta"
CONTENT = {"match": {"endpoint": "files.content"}}
EXPERIMENTAL = pytest.mark.filterwarnings("ignore:batches.create_embeddings")


def row(name: str, **fields: Any) -> dict[str, Any]:
    """A line that asks for a repeatable answer."""
    request = {"contents": [{"role": "user", "parts": [{"text": f"Ask {name}"}]}]}
    return {"key": name, "request": request | {"generationConfig": {"temperature": 0}} | fields}


def rows(count: int = 10, **fields: Any) -> list[dict[str, Any]]:
    return [row(f"r-{number}", **fields) for number in range(count)]


class World:
    """A sandbox whose clock is moved by hand, and Google's SDK as its client."""

    def __init__(self, clock: list[float], http: httpx2.AsyncClient, sdk: genai.Client) -> None:
        self._clock = clock
        self.http = http
        self.sync = sdk
        self.sdk = sdk.aio
        self.batches: Any = sdk.aio.batches

    def move(self, seconds: float) -> None:
        self._clock[0] += seconds

    async def upload(self, content: bytes | list[dict[str, Any]]) -> str:
        data = (
            content if isinstance(content, bytes) else b"".join(json.dumps(line).encode() + b"\n" for line in content)
        )
        config = types.UploadFileConfig(display_name="rows", mime_type="application/jsonl")
        name = (await self.sdk.files.upload(file=io.BytesIO(data), config=config)).name
        assert name is not None
        return name

    async def submit(self, content: Any = None, model: str = MODEL) -> types.BatchJob:
        name = await self.upload(rows() if content is None else content)
        config = types.CreateBatchJobConfig(display_name="mine")
        return await self.sdk.batches.create(model=model, src=name, config=config)

    async def struck(self, *rules: dict[str, Any], content: Any = None) -> types.BatchJob:
        await switch_on(self.http, *rules)
        return await self.submit(content)

    async def poll(self, job: types.BatchJob, seconds: float = 0) -> types.BatchJob:
        self.move(seconds)
        assert job.name is not None
        return await self.sdk.batches.get(name=job.name)

    async def operation(self, job: types.BatchJob) -> dict[str, Any]:
        """As it is on the wire."""
        found: dict[str, Any] = (await self.http.get(f"{V1}/{job.name}")).json()
        return found

    async def content(self, job: types.BatchJob) -> bytes:
        """The results as they are; empty if there are none."""
        name = job.dest.file_name if job.dest is not None else None
        return await self.sdk.files.download(file=name) if name else b""

    async def lines(self, job: types.BatchJob) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.content(job)).split(b"\n")[:-1]]

    async def billed(self) -> dict[str, int]:
        view = (await self.http.get("/sandbox/ledger/requests", params={"by": "custom_id"})).json()
        counts: dict[str, int] = view["billed"]
        return counts


@asynccontextmanager
async def a_world(version: str = "v1beta", **settings: Any) -> AsyncIterator[World]:
    clock = [START]
    usual: dict[str, Any] = {"now": lambda: clock[0], "sleep": asyncio.sleep, "batch_schedule": SLOW}
    sandbox = Sandbox(**usual | settings)
    async with (
        serve(app(sandbox)) as address,
        httpx2.AsyncClient(base_url=address, headers={"x-goog-api-key": "AIza-test-9876"}) as http,
        httpx2.AsyncClient() as inner,
    ):
        options = types.HttpOptions(base_url=f"{address}/gemini", api_version=version, httpx_async_client=inner)
        yield World(clock, http, genai.Client(api_key="AIza-test-9876", http_options=options))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a batch of ten lines is checked until 10, done one by one until 110, and ends at 120."""
    async with a_world() as made:
        yield made


# Files


async def test_a_file_is_uploaded_shown_listed_and_deleted(world: World) -> None:
    name = await world.upload(b"x" * 100)
    file = await world.sdk.files.get(name=name)
    assert (file.display_name, file.mime_type, file.size_bytes) == ("rows", "application/jsonl", 100)
    assert (file.state, file.source) == (types.FileState.ACTIVE, types.FileSource.UPLOADED)
    assert file.create_time is not None
    assert file.expiration_time is not None
    assert (file.create_time.timestamp(), file.expiration_time.timestamp()) == (START, START + 2 * DAY)
    other = await world.upload(b"y")
    assert [each.name async for each in await world.sdk.files.list(config={"page_size": 1})] == [other, name]
    await world.sdk.files.delete(name=name)
    with pytest.raises(errors.ClientError, match="may not exist"):
        await world.sdk.files.get(name=name)


async def test_an_upload_goes_on_where_it_stopped(world: World) -> None:
    start = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": "6",
    }
    begun = await world.http.post("/gemini/upload/v1/files", headers=start, json={"file": {"display_name": "n"}})
    url = begun.headers["x-goog-upload-url"]
    assert begun.headers["x-goog-upload-status"] == "active"
    assert url.startswith(str(world.http.base_url))
    async with httpx2.AsyncClient() as keyless:

        async def send(data: bytes, command: str, offset: int) -> httpx2.Response:
            headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
            return await keyless.post(url, content=data, headers=headers)

        assert (await send(b"abc", "upload", 0)).headers["x-goog-upload-status"] == "active"
        assert (await send(b"xyz", "upload, finalize", 0)).status_code == 400
        assert (await send(b"", "upload, finalize", 3)).status_code == 400, "three bytes are missing"
        whole = await send(b"def", "upload, finalize", 3)
        assert (whole.headers["x-goog-upload-status"], whole.json()["file"]["sizeBytes"]) == ("final", "6")
        assert (await send(b"more", "upload, finalize", 6)).status_code == 404
        assert (await keyless.get(f"{world.http.base_url}/gemini/v1/files")).status_code == 403


async def test_wrong_uploads_are_refused(world: World) -> None:
    assert (await world.http.post("/gemini/upload/v1/files", content=b"x")).status_code == 400
    async with a_world(offers={"gemini": Offer(most_bytes=10)}) as small:
        with pytest.raises(errors.ClientError, match="too large"):
            await small.upload(b"x" * 11)


async def test_files_are_their_owners_for_two_days(world: World) -> None:
    name = await world.upload(b"x")
    stranger = {"x-goog-api-key": "AIza-other"}
    assert (await world.http.get(f"{V1}/{name}", headers=stranger)).status_code == 403
    assert (await world.http.get(f"{V1}/files", headers=stranger)).json() == {}
    world.move(2 * DAY)
    assert (await world.http.get(f"{V1}/{name}")).status_code == 403
    assert (await world.http.get(f"{V1}/files")).json() == {}


async def test_what_was_uploaded_is_not_downloaded_and_results_are_not_deleted(world: World) -> None:
    """failures.md #17: their names are too long for that."""
    name = await world.upload(b"x")
    with pytest.raises(errors.ClientError, match="cannot be downloaded"):
        await world.sdk.files.download(file=name)
    job = await world.poll(await world.submit(), 120)
    assert job.dest is not None
    assert job.dest.file_name is not None
    with pytest.raises(errors.ClientError, match="40"):
        await world.sdk.files.delete(name=job.dest.file_name)
    file = await world.sdk.files.get(name=job.dest.file_name)
    assert (file.source, file.download_uri is not None) == (types.FileSource.GENERATED, True)


# Its life


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_a_life(version: str) -> None:
    async with a_world(version) as world:
        made = await world.submit()
        assert (made.display_name, made.model) == ("mine", f"models/{MODEL}")
        assert made.create_time is not None
        assert (made.create_time.timestamp(), made.end_time, made.dest) == (START, None, None)
        seen = [(await world.poll(made, step)).state for step in (0, 9, 1, 100, 9, 1)]
        assert seen == [types.JobState(f"JOB_STATE_{word}") for word in ("PENDING",) * 2 + ("RUNNING",) * 3] + [
            types.JobState.JOB_STATE_SUCCEEDED
        ]
        job = await world.poll(made)
        assert job.end_time is not None
        assert (job.end_time.timestamp(), job.done) == (START + 120, True)
        assert len(await world.lines(job)) == 10
        assert await world.poll(made, 5_000) == job, "what has ended does not change"


async def test_a_life_as_the_synchronous_sdk_sees_it(world: World) -> None:
    name = await world.upload(rows(2))
    sync = world.sync.batches
    made = await asyncio.to_thread(lambda: sync.create(model=MODEL, src=name, config={"display_name": "s"}))
    assert made.name is not None
    world.move(120)
    job = await asyncio.to_thread(lambda: sync.get(name=str(made.name)))
    assert job.dest is not None
    content = await asyncio.to_thread(lambda: world.sync.files.download(file=str(job.dest and job.dest.file_name)))
    assert len(content.splitlines()) == 2
    assert [each.name for each in await asyncio.to_thread(lambda: list(sync.list()))] == [made.name]
    await asyncio.to_thread(lambda: sync.delete(name=str(made.name)))


async def test_it_counts_while_it_runs(world: World) -> None:
    made = await world.struck({"kind": "lines_fail", "after": 1})
    assert (await world.operation(made))["metadata"]["batchStats"] == {}
    world.move(40)
    operation = await world.operation(made)
    assert operation["metadata"]["batchStats"] == {
        "requestCount": "10",
        "pendingRequestCount": "7",
        "successfulRequestCount": "2",
        "failedRequestCount": "1",
    }
    assert ("done" in operation, "response" in operation, "output" in operation["metadata"]) == (False,) * 3
    world.move(80)
    operation = await world.operation(made)
    assert operation["done"] is True
    assert operation["response"]["responsesFile"] == operation["metadata"]["output"]["responsesFile"]
    assert operation["metadata"]["batchStats"]["failedRequestCount"] == "1"
    assert operation["metadata"]["@type"].endswith(".GenerateContentBatch")


async def test_lines_are_answered_as_direct_calls_are(world: World) -> None:
    lines = await world.lines(await world.poll(await world.submit(), 120))
    assert [line["key"] for line in lines] == [f"r-{number}" for number in range(10)], "in the order of the input"
    for line in lines:
        request = row(line["key"])["request"]
        direct = (await world.http.post(f"{V1}/models/{MODEL}:generateContent", json=request)).json()
        assert line["response"]["candidates"] == direct["candidates"]
        assert line["response"]["usageMetadata"] == direct["usageMetadata"]
        types.GenerateContentResponse.model_validate(line["response"])


async def test_every_line_is_billed_once_when_it_is_done(world: World) -> None:
    made = await world.submit()
    world.move(40)
    lines = (await ledger(world.http, lane="batch"))["lines"]
    assert [line["at"] for line in lines] == [START + 20, START + 30, START + 40]
    results = await world.lines(await world.poll(made, 1_000))
    assert set((await world.billed()).values()) == {1}
    view = await ledger(world.http, lane="batch", endpoint="chat")
    usages = [line["response"]["usageMetadata"] for line in results]
    assert view["totals"]["input"] == sum(usage["promptTokenCount"] for usage in usages)
    assert view["totals"]["output"] == sum(usage["candidatesTokenCount"] for usage in usages)
    line = view["lines"][0]
    assert (line["provider"], line["model"], line["batch_id"]) == ("gemini", MODEL, made.name)
    assert (line["custom_id"], line["key"], line["status"]) == ("r-0", "9876", 200)


async def test_inline_requests_have_inline_results(world: World) -> None:
    config = {"temperature": 0.0}
    inline: Any = [
        {"contents": [{"parts": [{"text": "one"}], "role": "user"}], "config": config, "metadata": {"my_key": "a"}},
        {"contents": [{"parts": [{"text": "two"}], "role": "user"}], "config": config | {"candidate_count": 9}},
    ]
    made = await world.sdk.batches.create(model=MODEL, src=inline)
    (listed,) = [each async for each in await world.sdk.batches.list()]
    job = await world.poll(made, 120)
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    first, second = job.dest.inlined_responses
    assert first.response is not None
    assert "one" in str(first.response.text)
    assert first.metadata == {"my_key": "a"}
    assert second.error is not None
    assert (second.error.code, second.response) == (3, None)
    (listed,) = [each async for each in await world.sdk.batches.list()]
    assert listed.dest is None, "a list leaves inline results out"
    assert set(await world.billed()) == {""}


@EXPERIMENTAL
async def test_embeddings(world: World) -> None:
    content = {"parts": [{"text": "a fjord"}]}
    name = await world.upload([{"key": "e-1", "request": {"content": content, "outputDimensionality": 4}}])
    made = await world.batches.create_embeddings(model=EMBEDDING, src={"file_name": name})
    (line,) = await world.lines(await world.poll(made, 120))
    direct = (
        await world.http.post(
            f"{V1}/models/{EMBEDDING}:embedContent", json={"content": content, "outputDimensionality": 4}
        )
    ).json()
    assert line["response"] == {
        "embedding": direct["embedding"],
        "tokenCount": direct["usageMetadata"]["promptTokenCount"],
    }
    inline = {"inlined_requests": {"contents": ["a fjord"], "config": {"output_dimensionality": 4}}}
    made = await world.batches.create_embeddings(model=EMBEDDING, src=inline)
    job = await world.poll(made, 120)
    assert job.dest is not None
    assert job.dest.inlined_embed_content_responses is not None
    (embedded,) = job.dest.inlined_embed_content_responses
    assert embedded.response is not None
    assert embedded.response.embedding is not None
    assert embedded.response.embedding.values == direct["embedding"]["values"]
    assert (await ledger(world.http, lane="batch", endpoint="embeddings"))["totals"]["completed"] == 2


async def test_what_goes_wrong_with_a_line_is_in_its_place(world: World) -> None:
    wrong = row("bad", generationConfig={"temperature": 9})
    lines = await world.lines(await world.poll(await world.submit([row("a"), wrong, row("b")]), 120))
    assert [line["key"] for line in lines] == ["a", "bad", "b"]
    assert (lines[1]["error"]["code"], "response" in lines[1]) == (3, False)
    assert "temperature" in lines[1]["error"]["message"]
    assert set(await world.billed()) == {"a", "b"}


async def test_a_file_that_is_wrong_fails_as_a_whole(world: World) -> None:
    for content, said in ((b'{"key":"a"}\n{"key":\n', "Line 1"), (b"\n\n", "no requests")):
        made = await world.submit(content)
        job = await world.poll(made, 10)
        assert (job.state, job.dest) == (types.JobState.JOB_STATE_FAILED, None)
        error = (await world.operation(made))["error"]
        assert error["code"] == 3
        assert said in error["message"]


async def test_a_cancel_leaves_no_results_of_what_was_billed(world: World) -> None:
    made = await world.submit()
    world.move(40)
    await world.batches.cancel(name=made.name)
    assert (await world.poll(made)).state == types.JobState.JOB_STATE_RUNNING
    job = await world.poll(made, 10)
    assert (job.state, job.dest, len(await world.billed())) == (types.JobState.JOB_STATE_CANCELLED, None, 3)
    assert (await world.operation(made))["error"]["code"] == 1
    with pytest.raises(errors.ClientError, match="has ended"):
        await world.batches.cancel(name=made.name)


async def test_what_is_not_done_in_two_days_expires_without_results() -> None:
    async with a_world(batch_schedule=Schedule(per_line=DAY / 2)) as world:
        job = await world.poll(await world.submit(), 2 * DAY)
        assert (job.state, job.dest, len(await world.billed())) == (types.JobState.JOB_STATE_EXPIRED, None, 3)


async def test_a_batch_can_be_forgotten(world: World) -> None:
    made = await world.submit()
    await world.batches.delete(name=made.name)
    for call in (world.batches.get, world.batches.cancel, world.batches.delete):
        with pytest.raises(errors.ClientError, match="not found"):
            await call(name=made.name)
    world.move(120)
    await world.http.get("/sandbox/batches")
    assert len(await world.billed()) == 10, "it goes on all the same"


async def test_lists_by_the_page_and_by_the_key(world: World) -> None:
    names = [(await world.submit(rows(1))).name for _ in range(5)][::-1]
    assert [job.name async for job in await world.sdk.batches.list(config={"page_size": 2})] == names
    stranger = {"x-goog-api-key": "AIza-other"}
    assert (await world.http.get(f"{V1}/batches", headers=stranger)).json() == {}
    assert (await world.http.get(f"{V1}/{names[0]}", headers=stranger)).status_code == 404
    for wrong in ("pageSize=0", "pageToken=x"):
        assert (await world.http.get(f"{V1}/batches?{wrong}")).status_code == 400


# What is refused at once


async def test_a_wrong_creation_is_refused(world: World) -> None:
    for model, src, match in (
        (MODEL, "files/nothing", "may not exist"),
        ("does-not-exist", await world.upload(rows(1)), "not found"),
    ):
        with pytest.raises(errors.ClientError, match=match):
            await world.sdk.batches.create(model=model, src=src)
    wrong: list[dict[str, Any]] = [
        {},
        {"batch": {"inputConfig": {}}},
        {"batch": {"inputConfig": {"requests": {"requests": [{}]}}}},
    ]
    for body in wrong:
        answer = await world.http.post(f"{V1}/models/{MODEL}:batchGenerateContent", json=body)
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert (await world.http.get(f"{V1}/batches")).json() == {}


@pytest.mark.parametrize("terms", [Offer(live_batches=2), Offer(enqueued_tokens=350)])
async def test_too_much_under_way_is_a_429(terms: Offer) -> None:
    async with a_world(offers={"gemini": terms}) as world:
        for _ in range(2):
            await world.submit(rows(4))
        with pytest.raises(errors.ClientError) as caught:
            await world.submit(rows(4))
        assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
        world.move(120)
        await world.submit(rows(4))


# What goes wrong


@pytest.mark.parametrize("rule", [{"kind": "status", "status": 503}, {"kind": "drop"}])
async def test_a_create_may_be_accepted_and_its_answer_lost(world: World, rule: dict[str, Any]) -> None:
    """Row 2: only the list knows it, by its name."""
    await switch_on(world.http, rule | {"accepted": True, "match": {"endpoint": "batches.create"}})
    with pytest.raises((errors.ServerError, httpx2.RemoteProtocolError)):
        await world.submit()
    (listed,) = [job async for job in await world.sdk.batches.list()]
    assert listed.display_name == "mine"
    assert len(await world.lines(await world.poll(listed, 120))) == 10


async def test_a_create_may_be_refused_and_an_upload_fail(world: World) -> None:
    rule = {"kind": "status", "status": 429, "retry_after": 17, "match": {"endpoint": "batches.create"}}
    await switch_on(world.http, rule)
    with pytest.raises(errors.ClientError) as caught:
        await world.submit()
    assert caught.value.code == 429
    assert '"retryDelay": "17s"' in json.dumps(caught.value.details)
    await switch_on(world.http, {"kind": "status", "status": 500, "match": {"endpoint": "files.create"}, "count": 1})
    with pytest.raises((errors.ServerError, KeyError)):
        await world.upload(b"x")
    assert (await world.http.get(f"{V1}/batches")).json() == {}


async def test_it_may_not_be_found_at_first_or_not_be_listed_or_be_nameless(world: World) -> None:
    hidden = await world.struck({"kind": "batch_hidden", "polls": 2})
    for _ in range(2):
        with pytest.raises(errors.ClientError, match="not found"):
            await world.poll(hidden)
    assert (await world.poll(hidden)).name == hidden.name
    late = await world.struck({"kind": "listed_late", "seconds": 60})
    assert [job.name async for job in await world.sdk.batches.list()] == [hidden.name]
    assert (await world.poll(late, 60)).name == late.name
    nameless = await world.struck({"kind": "tags_forgotten"})
    assert nameless.display_name is None
    assert [job.display_name async for job in await world.sdk.batches.list()] == [None, "mine", "mine"]


@pytest.mark.parametrize("state", ["expired", "cancelled", "failed"])
async def test_the_provider_ends_it_and_there_is_nothing(world: World, state: str) -> None:
    made = await world.struck({"kind": "batch_ends", "state": state, "lines": 4})
    job = await world.poll(made, 120)
    assert (job.state, job.dest) == (types.JobState(f"JOB_STATE_{state.upper()}"), None)
    operation = await world.operation(made)
    assert operation["error"]["code"] == {"expired": 4, "cancelled": 1, "failed": 8}[state]
    assert operation["metadata"]["batchStats"]["successfulRequestCount"] == "4"
    assert len(await world.billed()) == 4


async def test_a_state_that_nobody_knows_and_results_that_are_late(world: World) -> None:
    with pytest.warns(UserWarning, match="BATCH_STATE_RESTING"):
        made = await world.struck({"kind": "batch_status", "status": "BATCH_STATE_RESTING", "polls": 1})
    assert (await world.operation(made))["metadata"]["state"] == "BATCH_STATE_RESTING"
    assert (await world.operation(made))["metadata"]["state"] == "BATCH_STATE_PENDING"
    late = await world.struck({"kind": "files_late", "polls": 2})
    world.move(120)
    seen = [(await world.poll(late)).dest is not None for _ in range(3)]
    assert seen == [False, False, True]


async def test_lines_fail(world: World) -> None:
    rule = {"kind": "lines_fail", "lines": 3, "status": 503, "message": "No."}
    lines = await world.lines(await world.poll(await world.struck(rule), 120))
    assert [line.get("error") for line in lines] == [{"code": 14, "message": "No."}] * 3 + [None] * 7


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
    *lines, last = (await world.content(await world.poll(await world.submit(), 120))).split(b"\n")
    assert len(lines) == 10 - 1 - 1 + 3
    assert lines[0] == lines[1]
    assert json.loads(lines[3])["key"] == "ghost-2"
    assert lines[4] == b"<html>"
    with pytest.raises(UnicodeDecodeError):
        lines[6].decode()
    assert len(lines[7].decode().splitlines()) == 4
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)
    assert len(await world.billed()) == 10


async def test_the_opposite_order(world: World) -> None:
    """python-genai#2124: the order is not what it is promised to be."""
    lines = await world.lines(await world.poll(await world.struck({"kind": "lines_reversed"}), 120))
    assert [line["key"] for line in lines] == [f"r-{number}" for number in range(9, -1, -1)]


async def test_a_download_may_fail_or_break_off(world: World) -> None:
    job = await world.poll(await world.submit(), 120)
    whole = await world.content(job)
    await switch_on(world.http, {"kind": "cut_body", "after": 1_000} | CONTENT)
    with pytest.raises(httpx2.RemoteProtocolError):
        await world.content(job)
    await switch_on(world.http, {"kind": "malformed_body"} | CONTENT)
    assert await world.content(job) == whole[: len(whole) // 2]
    await switch_on(world.http, {"kind": "status", "status": 404, "count": None} | CONTENT)
    for _ in range(2):
        with pytest.raises(errors.ClientError):
            await world.content(job)


async def test_results_are_gone_after_two_days(world: World) -> None:
    job = await world.poll(await world.submit(), 120)
    world.move(2 * DAY)
    with pytest.raises(errors.ClientError, match="may not exist"):
        await world.content(job)
