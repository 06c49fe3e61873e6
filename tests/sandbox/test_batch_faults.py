"""Every fault of a batch as the official SDK meets it, what it costs, and that it befalls no other batch."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from tests.sandbox.speaking import ledger, switch_on
from tests.sandbox.submitting import CHAT, START, World, a_world, requests

from batchway.sandbox import batch_faults


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a batch of ten lines takes 120 seconds."""
    async with a_world() as made:
        yield made


async def found(world: World, name: str) -> bool:
    """Whether a poll finds it."""
    try:
        await world.sdk.batches.retrieve(name)
    except openai.NotFoundError:
        return False
    return True


# -- creation and single calls: the rules of `faults`, aimed at the endpoints of files and batches


@pytest.mark.parametrize("rule", [{"kind": "status", "status": 500}, {"kind": "drop"}])
async def test_a_create_may_be_accepted_and_its_answer_lost(world: World, rule: dict[str, Any]) -> None:
    """Row 1: the batch runs and is billed, and only the list knows it."""
    file = await world.upload(requests())
    await switch_on(world.http, rule | {"accepted": True, "match": {"endpoint": "batches.create"}})
    with pytest.raises((openai.InternalServerError, openai.APIConnectionError)):
        await world.sdk.batches.create(
            input_file_id=file, endpoint=CHAT, completion_window="24h", metadata={"tag": "mine"}
        )
    (listed,) = (await world.sdk.batches.list()).data
    assert listed.metadata == {"tag": "mine"}
    assert len(await world.output(await world.poll(listed, 120))) == 10
    assert len(await world.billed()) == 10


async def test_a_create_may_be_accepted_and_answered_too_late() -> None:
    """Row 2: the client's patience ends before the answer comes."""
    async with a_world() as world:
        file = await world.upload(requests())
        await switch_on(world.http, {"kind": "delay", "seconds": 30, "match": {"endpoint": "batches.create"}})
        with pytest.raises(openai.APITimeoutError):
            await world.sdk.with_options(timeout=0.2).batches.create(
                input_file_id=file, endpoint=CHAT, completion_window="24h"
            )
        assert len((await world.sdk.batches.list()).data) == 1


@pytest.mark.parametrize(
    ("rule", "raised"),
    [
        ({"kind": "status", "status": 500}, openai.InternalServerError),
        ({"kind": "status", "status": 429, "retry_after": 3}, openai.RateLimitError),
        ({"kind": "status", "status": 404, "count": None}, openai.NotFoundError),
        ({"kind": "drop"}, openai.APIConnectionError),
    ],
)
async def test_a_create_may_be_refused(world: World, rule: dict[str, Any], raised: type[Exception]) -> None:
    await switch_on(world.http, rule | {"match": {"endpoint": "batches.create"}})
    with pytest.raises(raised):
        await world.submit()
    assert await world.batches() == []


async def test_the_list_and_the_poll_may_fail_alone(world: World) -> None:
    """Rows 12, 18: 404 for ever where there is no such endpoint; one 502 that says nothing about the batch."""
    made = await world.submit()
    await switch_on(world.http, {"kind": "status", "status": 404, "match": {"endpoint": "batches.list"}, "count": None})
    await switch_on(world.http, {"kind": "status", "status": 502, "match": {"endpoint": "batches.retrieve"}})
    for _ in range(2):
        with pytest.raises(openai.NotFoundError):
            await world.sdk.batches.list()
    with pytest.raises(openai.InternalServerError):
        await world.poll(made)
    assert (await world.poll(made)).status == "validating"


async def test_a_cancel_may_be_refused(world: World) -> None:
    made = await world.submit()
    await switch_on(world.http, {"kind": "status", "status": 409, "match": {"endpoint": "batches.cancel"}})
    with pytest.raises(openai.ConflictError):
        await world.sdk.batches.cancel(made.id)
    assert (await world.poll(made, 120)).status == "completed"


# -- downloads


async def test_a_download_may_fail_once(world: World) -> None:
    batch = await world.poll(await world.submit(), 120)
    match = {"match": {"endpoint": "files.content"}}
    whole = await world.content(batch.output_file_id)
    for rule, raised in (
        ({"kind": "status", "status": 503}, openai.InternalServerError),
        ({"kind": "status", "status": 410}, openai.APIStatusError),
        ({"kind": "cut_body", "after": 1_000}, httpx2.RemoteProtocolError),
    ):
        await switch_on(world.http, rule | match)
        with pytest.raises((raised, openai.APIConnectionError)):
            await world.content(batch.output_file_id)
        assert await world.content(batch.output_file_id) == whole


async def test_a_download_may_be_cut_short_without_a_sign(world: World) -> None:
    """Row 39: status 200, the right length for what is sent, and half of the lines."""
    batch = await world.poll(await world.submit(), 120)
    whole = await world.content(batch.output_file_id)
    await switch_on(world.http, {"kind": "malformed_body", "match": {"endpoint": "files.content"}})
    half = await world.content(batch.output_file_id)
    assert half == whole[: len(whole) // 2]
    assert await world.content(batch.output_file_id) == whole


async def test_results_may_be_gone(world: World) -> None:
    batch = await world.poll(await world.submit(), 120)
    rule = {"kind": "status", "status": 404, "match": {"endpoint": "files.content"}, "count": None}
    await switch_on(world.http, rule)
    for _ in range(3):
        with pytest.raises(openai.NotFoundError):
            await world.output(batch)


async def test_an_error_body_may_be_enormous(world: World) -> None:
    """Row 45."""
    batch = await world.poll(await world.submit(), 120)
    rule = {"kind": "oversized_body", "bytes": 5_000_000, "status": 500, "match": {"endpoint": "files.content"}}
    await switch_on(world.http, rule)
    answer = await world.http.get(f"/v1/files/{batch.output_file_id}/content")
    assert (answer.status_code, len(answer.content) > 5_000_000) == (500, True)


# -- what is seen of a batch


async def test_hidden_from_the_first_polls(world: World) -> None:
    """Row 21; the list does not show it either, until it has been found."""
    made = await world.struck({"kind": "batch_hidden", "polls": 2})
    assert (await world.sdk.batches.list()).data == []
    with pytest.raises(openai.NotFoundError):
        await world.sdk.batches.cancel(made.id)
    assert [await found(world, made.id) for _ in range(3)] == [False, False, True]
    assert len((await world.sdk.batches.list()).data) == 1


@pytest.mark.parametrize("listed", [False, True])
async def test_hidden_for_a_while(world: World, listed: bool) -> None:
    made = await world.struck({"kind": "batch_hidden", "seconds": 5, "listed": listed})
    world.move(4)
    assert (await found(world, made.id), len((await world.sdk.batches.list()).data)) == (False, listed)
    world.move(1)
    assert (await found(world, made.id), len((await world.sdk.batches.list()).data)) == (True, 1)


async def test_listed_late(world: World) -> None:
    made = await world.struck({"kind": "listed_late", "seconds": 30})
    world.move(29)
    assert (await found(world, made.id), (await world.sdk.batches.list()).data) == (True, [])
    world.move(1)
    assert [batch.id for batch in (await world.sdk.batches.list()).data] == [made.id]


@pytest.mark.parametrize("listed", [False, True])
async def test_vanished_for_good_and_billed_all_the_same(world: World, listed: bool) -> None:
    """Row 22."""
    made = await world.struck({"kind": "batch_vanishes", "seconds": 50, "listed": listed})
    assert await found(world, made.id)
    world.move(50)
    assert not await found(world, made.id)
    world.move(5_000)
    assert not await found(world, made.id)
    assert len((await world.sdk.batches.list()).data) == listed
    assert len(await world.billed()) == 10


@pytest.mark.parametrize(
    ("state", "shown", "done"),
    [("validating", "validating", 0), ("running", "in_progress", 4), ("finalizing", "finalizing", 10)],
)
async def test_stuck_beyond_its_window(world: World, state: str, shown: str, done: int) -> None:
    """Rows 19, 20."""
    made = await world.struck({"kind": "batch_stuck", "state": state, "lines": 4})
    batch = await world.poll(made, 900_000)
    assert batch.request_counts is not None
    assert (batch.status, batch.request_counts.completed, len(await world.billed())) == (shown, done, done)


@pytest.mark.parametrize("state", ["validating", "running", "finalizing"])
async def test_stuck_for_a_while(world: World, state: str) -> None:
    made = await world.struck({"kind": "batch_stuck", "state": state, "lines": 4, "seconds": 1_000})
    half_way = await world.poll(made, 1_060)
    assert half_way.request_counts is not None
    done = {"validating": 5, "running": 5, "finalizing": 10}[state]
    assert (half_way.status == "in_progress", half_way.request_counts.completed) == (done == 5, done)
    assert (await world.poll(made, 59)).completed_at is None
    batch = await world.poll(made, 1)
    assert (batch.status, batch.completed_at) == ("completed", START + 1_120)
    assert len(await world.output(batch)) == 10
    moments = [line["at"] - START for line in (await ledger(world.http, lane="batch"))["lines"]]
    rests = {"validating": 0, "running": 4, "finalizing": 10}[state]
    start = 1_010 if state == "validating" else 10
    assert moments == [start + 10 * (nth + 1) + (1_000 if nth >= rests and start == 10 else 0) for nth in range(10)]


async def test_stuck_at_cancelling(world: World) -> None:
    made = await world.struck({"kind": "batch_stuck", "state": "cancelling"})
    await world.sdk.batches.cancel(made.id)
    world.move(10)
    assert (await world.poll(made, 100_000)).status == "cancelling"


async def test_a_status_that_nobody_knows(world: World) -> None:
    """Row 28."""
    made = await world.struck({"kind": "batch_status", "status": "partially_completed", "polls": 2})
    assert [(await world.poll(made)).status for _ in range(3)] == ["partially_completed"] * 2 + ["validating"]
    always = await world.struck({"kind": "batch_status", "status": "resting"})
    assert [(await world.poll(always, 500)).status] == ["resting"]


async def test_files_named_late(world: World) -> None:
    """Row 37."""
    made = await world.struck({"kind": "files_late", "polls": 3})
    await world.poll(made, 119)
    seen = [await world.poll(made, 1) for _ in range(4)]
    assert [batch.status for batch in seen] == ["completed"] * 4
    assert [batch.output_file_id is not None for batch in seen] == [False, False, False, True]


async def test_absent_files_may_be_blank(world: World) -> None:
    """Row 38."""
    batch = await world.poll(await world.struck({"kind": "blank_file_ids"}), 120)
    assert (batch.error_file_id, len(await world.output(batch))) == ("", 10)


async def test_metadata_may_be_forgotten(world: World) -> None:
    made = await world.struck({"kind": "tags_forgotten"}, metadata={"tag": "mine"})
    assert (made.metadata, (await world.poll(made)).metadata) == (None, None)
    assert [batch.metadata for batch in (await world.sdk.batches.list()).data] == [None]
    assert [batch["tags"] for batch in await world.batches()] == [{"tag": "mine"}]


# -- how it ends


@pytest.mark.parametrize("state", ["expired", "cancelled", "completed"])
async def test_the_provider_ends_it_with_part_of_the_work(world: World, state: str) -> None:
    """Rows 32, 33: what was done is in the output file, and billed."""
    made = await world.struck({"kind": "batch_ends", "state": state, "lines": 4})
    assert (await world.poll(made, 49)).status == "in_progress"
    batch = await world.poll(made, 1)
    assert (batch.status, getattr(batch, f"{state}_at")) == (state, START + 50)
    output, errors = await world.output(batch), await world.errors(batch)
    assert (len(output), len(errors)) == (4, 6 if state == "expired" else 0)
    assert len(await world.billed()) == 4
    assert (await world.poll(made, 1_000)).request_counts == batch.request_counts


async def test_the_provider_fails_it(world: World) -> None:
    """Row 13: the file can be used again."""
    made = await world.struck({"kind": "batch_ends", "state": "failed"})
    batch = await world.poll(made, 10)
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert (batch.status, batch.errors.data[0].code) == ("failed", "token_limit_exceeded")
    assert (batch.output_file_id, await world.billed()) == (None, {})
    again = await world.sdk.batches.create(input_file_id=made.input_file_id, endpoint=CHAT, completion_window="24h")
    assert len(await world.output(await world.poll(again, 120))) == 10


async def test_the_provider_fails_it_amid_the_work(world: World) -> None:
    rule = {"kind": "batch_ends", "state": "failed", "lines": 3, "code": "broken", "message": "It broke."}
    batch = await world.poll(await world.struck(rule), 120)
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert (batch.status, batch.errors.data[0].code, len(await world.output(batch))) == ("failed", "broken", 3)


async def test_a_cancel_that_came_too_late(world: World) -> None:
    made = await world.struck({"kind": "cancel_ignored"})
    world.move(40)
    assert (await world.sdk.batches.cancel(made.id)).status == "cancelling"
    assert (await world.poll(made, 60)).status == "cancelling"
    batch = await world.poll(made, 20)
    assert (batch.status, batch.cancelled_at, len(await world.output(batch))) == ("completed", None, 10)


async def test_a_cancel_that_takes_its_time_and_money(world: World) -> None:
    """Row 29: completed went from 33 to 142 while it was cancelling, all billed."""
    made = await world.struck({"kind": "cancel_late", "seconds": 50})
    world.move(40)
    await world.sdk.batches.cancel(made.id)
    batch = await world.poll(made, 50)
    assert (batch.status, len(await world.output(batch)), len(await world.billed())) == ("cancelled", 8, 8)


# -- lines


async def test_lines_fail_in_the_error_file(world: World) -> None:
    """Row 35."""
    batch = await world.poll(await world.struck({"kind": "lines_fail", "lines": 3, "after": 2}), 120)
    output, errors = await world.output(batch), await world.errors(batch)
    assert (len(output), len(errors), set(output) & set(errors)) == (7, 3, set())
    for line in errors.values():
        assert (line["response"]["status_code"], line["error"]) == (500, None)
        assert line["response"]["body"]["error"]["code"] == "server_error"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 10, "completed": 7, "failed": 3}
    assert set(await world.billed(by="custom_id")) == set(output)


async def test_lines_fail_before_they_are_answered(world: World) -> None:
    rule = {"kind": "lines_fail", "status": None, "code": "upstream_gone", "message": "Nobody there."}
    batch = await world.poll(await world.struck(rule), 120)
    (line,) = (await world.errors(batch)).values()
    assert (line["response"], line["error"]) == (None, {"code": "upstream_gone", "message": "Nobody there."})


async def test_failed_lines_in_the_output_file(world: World) -> None:
    """Of §1.4: ten lines with status 400 among the good ones."""
    rule = {"kind": "lines_fail", "status": 400, "lines": 4, "file": "output", "code": "bad"}
    batch = await world.poll(await world.struck(rule), 120)
    statuses = [line["response"]["status_code"] for line in (await world.output(batch)).values()]
    assert (sorted(statuses), batch.error_file_id) == ([200] * 6 + [400] * 4, None)


async def test_lines_without_a_status_that_count_as_completed(world: World) -> None:
    """Row 36."""
    rule = {"kind": "lines_fail", "status": 0, "lines": 2, "counted": False}
    batch = await world.poll(await world.struck(rule), 120)
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 10, "completed": 10, "failed": 0}
    errors = await world.errors(batch)
    assert [(line["response"]["status_code"], line["response"]["body"], line["error"]) for line in errors.values()] == [
        (0, None, None)
    ] * 2
    assert len(await world.billed()) == 8


async def test_completed_without_output(world: World) -> None:
    """Row 34."""
    batch = await world.poll(await world.struck({"kind": "lines_fail", "lines": None}), 120)
    assert (batch.status, batch.output_file_id, len(await world.errors(batch))) == ("completed", None, 10)


async def test_missing_lines(world: World) -> None:
    batch = await world.poll(await world.struck({"kind": "lines_missing", "lines": 3}), 120)
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, len(await world.output(batch)), len(await world.billed())) == (10, 7, 10)


async def test_doubled_and_ghostly_lines(world: World) -> None:
    await switch_on(world.http, {"kind": "ghost_lines", "after": 5, "lines": 2})
    batch = await world.poll(await world.struck({"kind": "lines_doubled", "lines": 3}), 120)
    names = [line["custom_id"] for line in await world.lines(batch.output_file_id)]
    assert (len(names), len(set(names))) == (15, 12)
    assert [name for name in names if name.startswith("ghost")] == ["ghost-5", "ghost-6"]
    assert len(await world.billed()) == 10


async def test_a_garbage_line(world: World) -> None:
    batch = await world.poll(await world.struck({"kind": "garbage_lines", "after": 5}), 120)
    lines = (await world.content(batch.output_file_id)).split(b"\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[5])
    assert len({json.loads(line)["custom_id"] for line in lines[:5] + lines[6:-1]}) == 10


async def test_odd_separators(world: World) -> None:
    """Row 41: legal JSON, one line each, but not for splitlines()."""
    batch = await world.poll(await world.struck({"kind": "odd_separators", "lines": None}), 120)
    text = (await world.content(batch.output_file_id)).decode()
    assert (len(text.splitlines()), len(await world.output(batch))) == (40, 10)


async def test_a_line_that_is_not_utf_8(world: World) -> None:
    batch = await world.poll(await world.struck({"kind": "invalid_utf8", "after": 4}), 120)
    lines = (await world.content(batch.output_file_id)).split(b"\n")[:-1]
    with pytest.raises(UnicodeDecodeError):
        lines[4].decode()
    assert len([json.loads(line) for line in lines[:4] + lines[5:]]) == 9


async def test_lines_in_the_opposite_order(world: World) -> None:
    batch = await world.poll(await world.submit(), 120)
    told = [line["custom_id"] for line in await world.lines(batch.output_file_id)]
    struck = await world.poll(await world.struck({"kind": "lines_reversed"}), 120)
    assert [line["custom_id"] for line in await world.lines(struck.output_file_id)] == told[::-1]


async def test_a_last_line_that_is_half_written(world: World) -> None:
    batch = await world.poll(await world.struck({"kind": "half_line"}), 120)
    content = await world.content(batch.output_file_id)
    assert (content.count(b"\n"), content.endswith(b"\n")) == (9, False)
    assert content.rpartition(b"\n")[2].startswith(b'{"id":"batch_req_')


# -- the switches themselves


async def test_a_fault_stays_with_its_batch(world: World) -> None:
    await switch_on(world.http, {"kind": "lines_missing", "lines": None, "match": {"text": "victim"}})
    spared = await world.submit(metadata={"name": "spared"})
    victim = await world.submit(metadata={"name": "victim"})
    next_one = await world.submit(metadata={"name": "victim of none: the rule is spent"})
    world.move(120)
    assert [len(await world.output(await world.poll(each))) for each in (spared, victim, next_one)] == [10, 0, 10]
    shown = {batch["tags"]["name"]: batch["faults"] for batch in await world.batches()}
    assert (shown["spared"], shown["victim"]) == ([], ["lines_missing"])
    rules = (await world.http.get("/sandbox/faults")).json()["faults"]
    assert [(each["matched"], each["applied"]) for each in rules] == [(1, 1)]


async def test_several_faults_at_once(world: World) -> None:
    await switch_on(world.http, {"kind": "files_late", "polls": 1}, {"kind": "lines_fail", "lines": 2})
    made = await world.struck({"kind": "batch_ends", "state": "expired", "lines": 6})
    assert (await world.poll(made, 120)).output_file_id is None
    batch = await world.poll(made)
    assert (len(await world.output(batch)), len(await world.errors(batch))) == (4, 6)


def test_every_kind_says_what_it_does() -> None:
    kinds = [rule.__struct_config__.tag for rule in batch_faults.BatchFault.__args__]
    assert len(set(kinds)) == len(kinds) == 20
    assert {type(msgspec.convert(each, batch_faults.BatchFault)) for each in EXAMPLES} == set(
        batch_faults.BatchFault.__args__
    )
    assert all(rule.__doc__ for rule in batch_faults.BatchFault.__args__)


EXAMPLES: list[dict[str, Any]] = [
    {"kind": "batch_stuck", "state": "running"},
    {"kind": "batch_status", "status": "odd"},
    {"kind": "batch_ends", "state": "expired"},
    {"kind": "cancel_late", "seconds": 1},
    {"kind": "files_late", "polls": 1},
    {"kind": "listed_late", "seconds": 1},
    *({"kind": kind} for kind in ("batch_hidden", "batch_vanishes", "cancel_ignored", "blank_file_ids")),
    *({"kind": kind} for kind in ("tags_forgotten", "lines_fail", "lines_missing", "lines_doubled", "ghost_lines")),
    *({"kind": kind} for kind in ("garbage_lines", "odd_separators", "invalid_utf8", "lines_reversed", "half_line")),
]
