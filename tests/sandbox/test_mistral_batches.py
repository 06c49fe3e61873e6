"""Mistral's files and batch jobs in the sandbox, as the official SDK sees them, its own batch client among it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from mistralai.client import Mistral, errors
from mistralai.client.models import ChatCompletionRequest, ChatCompletionResponse, File, UserMessage
from mistralai.extra.batch import BatchClient
from tests.sandbox.speaking import ledger, switch_on
from tests.sandbox.submitting import START, World, a_world

from batchway.sandbox.batch_contract import Schedule
from batchway.sandbox.offers import HOUR

CHAT: Final = "/v1/chat/completions"
MODEL = "mistral-small-latest"


def written(count: int = 10, **fields: Any) -> bytes:
    """So many lines, without paths and models."""
    lines = [
        {
            "custom_id": f"r-{n}",
            "body": {"messages": [{"role": "user", "content": f"Ask {n}"}], "temperature": 0} | fields,
        }
        for n in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@asynccontextmanager
async def spoken(world: World, key: str = "sk-test-9876") -> AsyncIterator[Any]:
    """The SDK: it reads what it gets into its own types, which the tests look at freely."""
    address = str(world.http.base_url).rstrip("/")
    async with Mistral(api_key=key, server_url=f"{address}/mistral") as speaking:
        yield speaking


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a job of ten lines takes 120 seconds."""
    async with a_world("mistral") as made:
        yield made


@pytest.fixture
async def sdk(world: World) -> AsyncIterator[Any]:
    """The SDK in that world."""
    async with spoken(world) as speaking:
        yield speaking


async def uploaded(sdk: Any, content: bytes | None = None, **options: Any) -> Any:
    file = File(file_name="in.jsonl", content=written() if content is None else content)
    return await sdk.files.upload_async(file=file, purpose="batch", **options)


async def created(sdk: Any, content: bytes | None = None, **options: Any) -> Any:
    file = await uploaded(sdk, content)
    wanted = {"endpoint": CHAT, "model": MODEL, "input_files": [file.id]} | options
    return await sdk.batch.jobs.create_async(**wanted)


async def read(sdk: Any, file: Any) -> list[dict[str, Any]]:
    response = await sdk.files.download_async(file_id=file)
    return [json.loads(line) for line in (await response.aread()).split(b"\n")[:-1]]


async def test_a_life(world: World, sdk: Any) -> None:
    made = await created(sdk, metadata={"job": "one"})
    assert (made.object, made.status, made.model, made.endpoint) == ("batch", "QUEUED", MODEL, CHAT)
    assert (made.created_at, made.metadata, made.started_at) == (START, {"job": "one"}, None)
    seen = []
    for step in (9, 1, 30, 69, 1, 10):
        world.move(step)
        job = await sdk.batch.jobs.get_async(job_id=made.id)
        seen.append((job.status, job.total_requests, job.completed_requests, job.succeeded_requests))
    assert seen == [
        ("QUEUED", 0, 0, 0),
        ("RUNNING", 10, 0, 0),
        ("RUNNING", 10, 3, 3),
        ("RUNNING", 10, 9, 9),
        ("RUNNING", 10, 10, 10),
        ("SUCCESS", 10, 10, 10),
    ]
    assert (job.started_at, job.completed_at, job.error_file) == (START + 10, START + 120, None)
    lines = {line["custom_id"]: line for line in await read(sdk, job.output_file)}
    assert sorted(lines) == [f"r-{n}" for n in range(10)]
    for name, line in lines.items():
        asked = {"model": MODEL, "messages": [{"role": "user", "content": f"Ask {name[2:]}"}], "temperature": 0}
        direct = (await world.http.post(f"/mistral{CHAT}", json=asked)).json()
        body = line["response"]["body"]
        assert (line["response"]["status_code"], line["error"]) == (200, None)
        assert (body["choices"], body["usage"], body["model"]) == (direct["choices"], direct["usage"], MODEL)
    view = await ledger(world.http, lane="batch", provider="mistral")
    assert (view["totals"]["calls"], view["totals"]["completed"]) == (10, 10)
    assert view["lines"][0]["batch_id"] == made.id


async def test_the_sdks_own_batch_client_runs_a_whole_job() -> None:
    """Inline and by file; it polls for itself, reads both files, and deletes what it made."""
    quick = Schedule(validating=0, running=0, finalizing=0)
    async with a_world("mistral", batch_schedule=quick, now=time.time) as world, spoken(world) as speaking:
        client: Any = BatchClient(speaking, endpoint=CHAT, response_body_type=ChatCompletionResponse)
        asked = {
            f"r-{n}": ChatCompletionRequest(model=MODEL, messages=[UserMessage(content=f"Ask {n}")], temperature=0)
            for n in range(3)
        }
        wrong = {"bad": ChatCompletionRequest(model=MODEL, messages=[UserMessage(content="x")], temperature=9)}
        for threshold in (1000, 0):
            result = await client.run(
                asked | wrong, model=MODEL, poll_interval_seconds=0.01, inline_threshold=threshold
            )
            assert (result.status, result.succeeded, result.failed) == ("SUCCESS", 3, 1)
            assert sorted(result.by_id()) == ["r-0", "r-1", "r-2"]
            assert [(error.custom_id, error.status_code) for error in result.errors()] == [("bad", 422)]
        assert (await speaking.files.list_async()).data == [], "it deletes all files of a job"


async def test_what_goes_wrong_with_a_line_is_in_the_error_file(world: World, sdk: Any) -> None:
    content = written(2) + written(1, temperature=9).replace(b"r-0", b"bad")
    made = await created(sdk, content)
    world.move(120)
    job = await sdk.batch.jobs.get_async(job_id=made.id)
    assert (job.status, job.succeeded_requests, job.failed_requests) == ("SUCCESS", 2, 1)
    (line,) = await read(sdk, job.error_file)
    assert (line["custom_id"], line["response"]["status_code"]) == ("bad", 422)
    assert line["response"]["body"]["detail"][0]["loc"] == ["body", "temperature"]


async def test_the_jobs_model_is_that_of_every_line(world: World, sdk: Any) -> None:
    made = await created(sdk, written(2, model="mistral-large-latest"))
    world.move(120)
    job = await sdk.batch.jobs.get_async(job_id=made.id, inline=True)
    assert [line["response"]["body"]["model"] for line in job.outputs] == [MODEL, MODEL]
    without = await created(sdk, written(2, model="mistral-large-latest"), model=None)
    world.move(120)
    job = await sdk.batch.jobs.get_async(job_id=without.id, inline=True)
    assert [line["response"]["body"]["model"] for line in job.outputs] == ["mistral-large-latest"] * 2


async def test_embeddings(world: World, sdk: Any) -> None:
    content = b'{"custom_id":"e","body":{"input":["a"],"output_dimension":8}}\n'
    made = await created(sdk, content, endpoint="/v1/embeddings", model="mistral-embed")
    world.move(120)
    (line,) = await read(sdk, (await sdk.batch.jobs.get_async(job_id=made.id)).output_file)
    assert len(line["response"]["body"]["data"][0]["embedding"]) == 8


async def test_several_files_are_one_job(world: World, sdk: Any) -> None:
    files = [(await uploaded(sdk, written(n + 1).replace(b"r-", b"%d-" % n))).id for n in range(2)]
    made = await sdk.batch.jobs.create_async(endpoint=CHAT, model=MODEL, input_files=files)
    world.move(120)
    job = await sdk.batch.jobs.get_async(job_id=made.id)
    assert (job.input_files, job.total_requests) == (files, 3)


async def test_cancelling_keeps_what_was_done(world: World, sdk: Any) -> None:
    made = await created(sdk)
    world.move(40)
    assert (await sdk.batch.jobs.cancel_async(job_id=made.id)).status == "CANCELLATION_REQUESTED"
    world.move(10)
    job = await sdk.batch.jobs.get_async(job_id=made.id)
    assert (job.status, len(await read(sdk, job.output_file))) == ("CANCELLED", 3)
    assert (await sdk.batch.jobs.cancel_async(job_id=made.id)).status == "CANCELLED"


async def test_time_runs_out() -> None:
    slow = Schedule(validating=10, per_line=400)
    async with a_world("mistral", batch_schedule=slow) as world, spoken(world) as sdk:
        made = await created(sdk, timeout_hours=1)
        world.move(HOUR)
        job = await sdk.batch.jobs.get_async(job_id=made.id)
        assert (job.status, job.completed_at) == ("TIMEOUT_EXCEEDED", START + HOUR)
        assert (len(await read(sdk, job.output_file)), job.error_file) == (8, None)


async def test_a_wrong_file_fails_with_its_reasons(world: World, sdk: Any) -> None:
    made = await created(sdk, b'{"custom_id":"a"}\n' + written(1) + written(1))
    world.move(10)
    job = await sdk.batch.jobs.get_async(job_id=made.id)
    assert (job.status, job.output_file) == ("FAILED", None)
    assert [error.message.partition(":")[0] for error in job.errors] == ["Line 1", "Line 3"]
    assert (await ledger(world.http, lane="batch"))["totals"]["calls"] == 0


async def test_lists_filter_and_turn_pages(world: World, sdk: Any) -> None:
    made = []
    for n in range(5):
        world.move(1)
        made.append((await created(sdk, written(1), metadata={"n": str(n), "odd": str(n % 2)})).id)
    listed = await sdk.batch.jobs.list_async()
    assert (listed.total, [job.id for job in listed.data]) == (5, made[::-1])
    assert [job.id for job in (await sdk.batch.jobs.list_async(order_by="created")).data] == made
    second = await sdk.batch.jobs.list_async(page=1, page_size=2)
    assert (second.total, [job.id for job in second.data]) == (5, [made[2], made[1]])
    odd = await sdk.batch.jobs.list_async(metadata={"odd": "1"})
    assert (odd.total, [job.id for job in odd.data]) == (2, [made[3], made[1]])
    await sdk.batch.jobs.cancel_async(job_id=made[0])
    stopping = await sdk.batch.jobs.list_async(status=["CANCELLATION_REQUESTED", "CANCELLED"])
    assert [job.id for job in stopping.data] == [made[0]]
    assert (await sdk.batch.jobs.list_async(model="other")).total == 0
    later = await sdk.batch.jobs.list_async(created_after="1970-01-12T13:46:43+00:00")
    assert [job.id for job in later.data] == [made[4], made[3]]
    async with spoken(world, "another") as stranger:
        assert (await stranger.batch.jobs.list_async()).total == 0
        with pytest.raises(errors.SDKError) as missing:
            await stranger.batch.jobs.get_async(job_id=made[0])
        assert missing.value.status_code == 404
    await sdk.batch.jobs.delete_async(job_id=made[0])
    assert (await sdk.batch.jobs.list_async()).total == 4


@pytest.mark.parametrize(
    ("changes", "status", "place"),
    [
        ({"endpoint": "/v1/responses"}, 422, "endpoint"),
        ({"endpoint": "/v1/ocr"}, 422, "endpoint"),
        ({"timeout_hours": 169}, 422, "timeout_hours"),
        ({"timeout_hours": 0}, 422, "timeout_hours"),
        ({"window": "24h"}, 422, "window"),
        ({"input_files": None}, 422, "input_files"),
        ({"requests": [{"body": {}}]}, 422, "input_files"),
        ({"input_files": ["none"]}, 404, None),
    ],
)
async def test_a_wrong_creation_says_where(
    world: World, sdk: Any, changes: dict[str, Any], status: int, place: str | None
) -> None:
    body = {"endpoint": CHAT, "model": MODEL, "input_files": [(await uploaded(sdk)).id]}
    answer = await world.http.post("/mistral/v1/batch/jobs", json=body | changes)
    assert answer.status_code == status, answer.text
    if place is not None:
        assert answer.json()["detail"][0]["loc"] == ["body", place]
    assert await world.batches() == []


async def test_files(world: World, sdk: Any) -> None:
    file = await uploaded(sdk, b"x\n", expiry=1)
    assert (file.object, file.purpose, file.sample_type, file.source) == ("file", "batch", "batch_request", "upload")
    assert (file.size_bytes, file.num_lines, file.expires_at) == (2, 1, START + HOUR)
    assert (await sdk.files.retrieve_async(file_id=file.id)).filename == "in.jsonl"
    other = await sdk.files.upload_async(file=File(file_name="b", content=b"y"), purpose="ocr")
    listed = await sdk.files.list_async(purpose="batch")
    assert (listed.total, [each.id for each in listed.data]) == (1, [file.id])
    assert [each.id for each in (await sdk.files.list_async(page_size=1)).data] == [other.id]
    assert (await sdk.files.delete_async(file_id=other.id)).deleted
    world.move(HOUR)
    with pytest.raises(errors.SDKError, match="No such File"):
        await sdk.files.retrieve_async(file_id=file.id)
    answer = await world.http.post("/mistral/v1/files", files={"file": b"x"}, data={"purpose": "poetry"})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "purpose"])


async def test_files_named_late_and_blank(world: World, sdk: Any) -> None:
    await switch_on(world.http, {"kind": "files_late", "polls": 1}, {"kind": "blank_file_ids"})
    made = await created(sdk)
    world.move(120)
    seen = [await sdk.batch.jobs.get_async(job_id=made.id) for _ in range(2)]
    assert [(job.status, bool(job.output_file), job.error_file) for job in seen] == [
        ("SUCCESS", False, ""),
        ("SUCCESS", True, ""),
    ]
