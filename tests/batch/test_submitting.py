"""Submitting where the provider loses replies, refuses and has limits: once, and nobody waits in vain.

The faults of failures.md §1.1 that the sandbox can play.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.batch.lane import Lane, open_lane, own_answer, questions

TWENTY = questions(20)


async def all_answered(lane: Lane, texts: list[str] = TWENTY, **fields: Any) -> None:
    """Each gets its own answer."""
    answers = await lane.ask_all(texts, **fields)
    assert [own_answer(text, answer) for text, answer in zip(texts, answers, strict=True)] == [True] * len(texts)


def offer(lane: Lane, **terms: Any) -> None:
    """The provider takes batches on other terms."""
    sandbox = lane.gate.sandbox
    sandbox.offers["openai"] = structs.replace(sandbox.offer("openai"), **terms)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "drop", "accepted": True}, id="dropped"),
        pytest.param({"kind": "status", "status": 502, "accepted": True}, id="502"),
        pytest.param({"kind": "empty_body"}, id="empty"),
        pytest.param({"kind": "malformed_body"}, id="not JSON"),
        pytest.param({"kind": "wrong_shape"}, id="another object"),
        pytest.param({"kind": "delay", "seconds": 3.0}, id="too late"),
    ],
)
async def test_a_batch_whose_creation_was_answered_badly_is_found(lane: Lane, fault: dict[str, Any]) -> None:
    lane.fault(**fault, endpoint="batches.create")

    await all_answered(lane)

    assert len(lane.batches) == 1
    assert Counter(lane.paid.values()) == {1: 20}
    (job,) = await lane.done()
    assert (job.job.submissions, job.job.duplicates) == (1, ())


async def test_a_batch_that_the_first_listing_does_not_show_is_in_the_second(lane: Lane) -> None:
    lane.fault("drop", accepted=True, endpoint="batches.create")
    lane.fault("listed_late", seconds=0.3)

    await all_answered(lane)

    assert len(lane.batches) == 1
    (job,) = await lane.done()
    assert job.job.submissions == 1


async def test_of_two_batches_of_one_tag_one_is_ended(tmp_path: Path) -> None:
    """The provider shows the first so late that a second was made: a settle time after that both are seen."""
    async with open_lane(tmp_path, seconds=5.0, settle=0.9) as lane:
        lane.fault("drop", accepted=True, endpoint="batches.create")
        # After a second was made, and before both are looked for; a busy machine is late for either.
        lane.fault("listed_late", seconds=2.4)

        await all_answered(lane)

        (job,) = await lane.done()
        assert len(lane.batches) == 2
        assert len(job.job.duplicates) == 1
        assert sorted(batch.ended or "" for batch in lane.batches) == ["cancelled", "completed"]
        assert {batch.order.id for batch in lane.batches} == {job.job.provider_batch_id, *job.job.duplicates}
        assert Counter(lane.paid.values())[1] >= 10, "the duplicate was to be ended before it was done"


async def make_stray(lane: Lane, provider: str) -> None:
    """Make a batch with the tag of the oldest that is known, as a process does that stood still for long: no job knows
    of it."""
    lane.gate.sandbox.batch_schedule = structs.replace(lane.gate.sandbox.batch_schedule, running=30.0)
    body = b'{"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", '
    body += b'"messages": [{"role": "user", "content": "stray"}]}}\n'
    key = {"authorization": "Bearer sandbox-key"}
    upstream = f"{lane.gate.upstream}/{provider}/v1"
    file = {"file": ("in.jsonl", body)}
    made = await lane.gate.http.post(f"{upstream}/files", files=file, data={"purpose": "batch"}, headers=key)
    known = next(batch for batch in lane.batches if batch.order.provider == provider)
    stray = {
        "input_file_id": made.json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": dict(known.order.tags or {}),
    }
    answer = await lane.gate.http.post(f"{upstream}/batches", json=stray, headers=key)
    assert answer.status_code == 200, answer.text


async def stray_ended(lane: Lane) -> None:
    """Wait until it is cancelled."""
    async with asyncio.timeout(15):
        while lane.batches[-1].ended is None:
            await asyncio.sleep(0.05)
            await lane.gate.sandbox.batches.settle(lane.gate.sandbox.now())
    assert lane.batches[-1].ended == "cancelled"


async def test_a_stray_batch_is_found_though_its_job_is_done(lane: Lane) -> None:
    await all_answered(lane)
    (job,) = await lane.done()

    await make_stray(lane, "openai")
    await stray_ended(lane)

    async with asyncio.timeout(10):
        while (await lane.done())[0].job.duplicates != (lane.batches[-1].order.id,):
            await asyncio.sleep(0.05)
    assert job.job.duplicates == ()


async def test_an_account_that_cannot_be_reached_hides_the_strays_of_no_other(lane: Lane) -> None:
    # It is the one that is looked through first.
    for provider in ("openai", "groq"):
        await all_answered(lane, TWENTY[:3], provider=provider)
    await lane.done()
    lane.fault("drop", endpoint="batches.list", match={"provider": "openai"}, count=None)

    await make_stray(lane, "groq")
    await stray_ended(lane)


async def test_a_refused_create_is_repeated_when_the_provider_says_so(lane: Lane) -> None:
    lane.fault("status", status=429, retry_after=0.3, count=2, endpoint="batches.create")

    await all_answered(lane)

    assert len(lane.batches) == 1
    (job,) = await lane.done()
    assert (job.job.submissions, job.job.uploads) == (3, 1)


@pytest.mark.parametrize("status", [500, 503, 408])
async def test_an_upload_that_fails_is_repeated(lane: Lane, status: int) -> None:
    lane.fault("status", status=status, count=2, endpoint="files.create")

    await all_answered(lane)

    assert len(lane.batches) == 1


async def test_what_is_too_large_for_the_provider_is_divided_and_the_limit_remembered(lane: Lane) -> None:
    lane.fault("status", status=413, count=None, endpoint="files.create", larger=3000)

    await all_answered(lane)
    first = lane.applied()
    await all_answered(lane, [f"again {text}" for text in TWENTY])

    assert first > 0
    assert lane.applied() == first, "what was learnt was to be kept to"
    assert lane.billed == 40


async def test_a_job_of_too_many_rows_is_divided(lane: Lane) -> None:
    offer(lane, most_requests=6)

    await all_answered(lane)

    assert max(batch.done for batch in lane.batches) <= 6
    assert lane.billed == 20


async def test_the_one_row_that_is_refused_fails_alone(lane: Lane) -> None:
    poison = "poison-0000 please"
    where = {"endpoint": "batches.create", "text": poison}
    lane.fault("status", status=400, type="invalid_request_error", message="A row is bad.", count=None, **where)

    answers = await lane.ask_all([*TWENTY, poison], provider="anthropic", model="claude-sonnet-4-5", max_tokens=50)

    assert all(own_answer(text, answer) for text, answer in zip(TWENTY, answers, strict=False))
    assert answers[-1].status_code == 400
    assert "A row is bad." in answers[-1].text
    assert lane.billed == 20


async def test_models_never_share_a_batch(lane: Lane) -> None:
    answers = await asyncio.gather(
        *[lane.ask(text, model=model) for text in TWENTY for model in ("gpt-4o", "gpt-4o-mini")]
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len(lane.batches) == 2
    assert {answer.json()["model"] for answer in answers} == {"gpt-4o", "gpt-4o-mini"}


async def test_a_model_that_is_not_batched_goes_another_way_and_is_remembered(lane: Lane) -> None:
    offer(lane, unbatchable=("gpt-4o-mini",))

    await all_answered(lane)
    tried = len(lane.batches)
    await all_answered(lane, [f"again {text}" for text in TWENTY])

    assert len(lane.batches) == tried == 1
    assert all(line.batch_id is None for line in lane.gate.lines)
    assert lane.billed == 40


@pytest.mark.parametrize("status", [404, 405])
async def test_a_provider_without_batches_is_tried_once(lane: Lane, status: int) -> None:
    lane.fault("status", status=status, code="unknown_url", message="Not here.", count=None, endpoint="batches.create")

    await all_answered(lane)
    tried = lane.applied()
    again = await lane.ask("once more please")

    assert again.headers["x-batchway-routed-via"] != "batch"
    assert lane.applied() == tried == 1
    assert lane.billed == 21


async def test_a_lane_that_is_off_stays_off_after_a_restart(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as lane:
        lane.fault("status", status=404, code="unknown_url", message="No.", endpoint="batches.create")
        await all_answered(lane)
        assert lane.batches == ()

    async with open_lane(tmp_path) as lane:
        await all_answered(lane, [f"again {text}" for text in TWENTY])
        assert lane.batches == ()


async def test_a_full_queue_of_tokens_sends_a_job_back_and_nobody_is_told(tmp_path: Path) -> None:
    """The create goes well and the batch fails in validation, because too many tokens are enqueued (#13)."""
    async with open_lane(tmp_path, batch_size=10) as lane:
        offer(lane, enqueued_tokens=300)

        await all_answered(lane)

        failed = [batch for batch in lane.batches if batch.ended == "failed"]
        assert failed, "two jobs at once were to be too many"
        assert lane.billed == 20


async def test_our_files_at_the_provider_are_deleted(lane: Lane) -> None:
    await all_answered(lane)
    await lane.done()

    key = {"authorization": "Bearer sandbox-key"}
    files = await lane.gate.http.get(f"{lane.gate.upstream}/openai/v1/files", headers=key)
    assert files.json()["data"] == []
