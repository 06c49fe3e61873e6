"""Every fault as a client sees it, and what the ledger says that it cost."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import ask, content, frames, last_line, ledger, switch_on

from batchway.sandbox import count_roughly, faults


async def read_until_broken(client: httpx2.AsyncClient, **fields: Any) -> str:
    """The text of a stream that must break off."""
    pieces: list[str] = []
    with pytest.raises(httpx2.RemoteProtocolError):
        async with client.stream(
            "POST",
            "/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 0, **fields},
        ) as answer:
            async for piece in answer.aiter_text():
                pieces.append(piece)  # noqa: PERF401 - what came before the break is wanted
    return "".join(pieces)


async def test_a_status_is_refused_unbilled_and_spent(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "status", "status": 429, "retry_after": 1.5, "count": 2})
    for _ in range(2):
        refused = await ask(client)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1.5")
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        line = await last_line(client)
        assert (line["outcome"], line["input"], line["output"], line["faults"]) == ("refused", 0, 0, ["status"])
    assert (await ask(client)).status_code == 200
    assert (await last_line(client))["faults"] == []


async def test_a_lost_answer_is_billed(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "status", "status": 500, "accepted": True}, {"kind": "drop", "accepted": True})
    # Both rules match the first call; the drop wins, being the later.
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask(client)
    line = await last_line(client)
    assert (line["outcome"], line["status"], line["faults"]) == ("cut", None, ["status", "drop"])
    assert line["input"] > 0 < line["output"]
    await switch_on(client, {"kind": "status", "status": 500, "accepted": True})
    assert (await ask(client)).status_code == 500
    assert (await last_line(client))["output"] > 0


async def test_a_status_with_its_own_body(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "status", "status": 498, "body": {"error": "capacity_exceeded"}})
    refused = await ask(client)
    assert (refused.status_code, refused.json()) == (498, {"error": "capacity_exceeded"})


async def test_a_drop_answers_nothing_and_bills_nothing(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "drop"})
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending"):
        await ask(client)
    line = await last_line(client)
    assert (line["outcome"], line["status"], line["output"]) == ("refused", None, 0)


async def test_a_delay_is_slept_through_once(opened: Open) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with opened(sleep=sleep) as client:
        await switch_on(client, {"kind": "delay", "seconds": 30})
        assert (await ask(client)).status_code == 200
        assert (await ask(client)).status_code == 200
    assert slept == [30]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_body_takes_its_time_and_is_whole(opened: Open, stream: bool) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with opened(sleep=sleep) as client:
        await switch_on(client, {"kind": "slow_body", "bytes_per_second": 100})
        answer = await ask(client, stream=stream)
        line = await last_line(client)
    assert sum(slept) == pytest.approx(len(answer.content) / 100)
    assert len(slept) > 20
    assert line["outcome"] == "completed"


async def test_a_cut_stream_bills_what_was_produced(client: httpx2.AsyncClient) -> None:
    whole = (await ask(client, stream=True)).text
    full = (await last_line(client))["output"]
    await switch_on(client, {"kind": "cut_stream", "after": 4})
    found = frames(await read_until_broken(client, stream=True))
    assert len(found) == 4
    line = await last_line(client)
    assert (line["outcome"], line["output"]) == ("cut", count_roughly(content(found)))
    assert 0 < line["output"] < full
    assert whole.endswith("data: [DONE]\n\n")


async def test_a_stream_cut_at_once(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "cut_stream", "after": 0})
    assert await read_until_broken(client, stream=True) == ""
    assert (await last_line(client))["output"] == 0


async def test_a_cut_body(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "cut_body", "after": 10})
    with pytest.raises(httpx2.RemoteProtocolError, match="received 10 bytes"):
        await ask(client)
    assert (await last_line(client))["outcome"] == "cut"


@pytest.mark.parametrize("finish", [True, False])
async def test_a_stream_without_its_end(client: httpx2.AsyncClient, finish: bool) -> None:
    whole = frames((await ask(client, stream=True)).text)
    full = (await last_line(client))["output"]
    await switch_on(client, {"kind": "no_done", "finish": finish})
    found = frames((await ask(client, stream=True)).text)
    assert len(found) == len(whole) - (1 if finish else 2)
    assert found[-1]["choices"][0]["finish_reason"] == ("stop" if finish else None)
    line = await last_line(client)
    assert (line["outcome"], line["output"]) == ("cut", full)


async def test_malformed_bodies(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "malformed_body"}, {"kind": "malformed_body", "text": "<html>", "skip": 1})
    for start in ('{"id":', "<html>"):
        answer = await ask(client)
        assert answer.status_code == 200
        assert answer.text.startswith(start)
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    await switch_on(client, {"kind": "malformed_body", "match": {"text": "fjord"}})
    with pytest.raises(json.JSONDecodeError):
        frames((await ask(client, stream=True)).text)


@pytest.mark.parametrize("declared", [True, False])
async def test_an_oversized_body_is_json_of_that_size(client: httpx2.AsyncClient, declared: bool) -> None:
    await switch_on(client, {"kind": "oversized_body", "bytes": 3_000_000, "status": 500, "declared": declared})
    answer = await ask(client)
    assert (answer.status_code, "content-length" in answer.headers) == (500, declared)
    assert 3_000_000 <= len(answer.content) < 3_100_000
    assert set(answer.json()) == {"filler"}


async def test_an_error_frame_after_a_good_start(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "error_frame", "after": 3, "code": "overloaded"})
    answer = await ask(client, stream=True)
    *good, bad = frames(answer.text)
    assert (answer.status_code, len(good), bad["error"]["code"]) == (200, 3, "overloaded")
    assert (await last_line(client))["output"] == count_roughly(content(good))


@pytest.mark.parametrize("stream", [False, True])
async def test_empty_and_wrong(client: httpx2.AsyncClient, stream: bool) -> None:
    await switch_on(client, {"kind": "empty_body"}, {"kind": "wrong_shape", "body": [], "skip": 1})
    empty, wrong = await ask(client, stream=stream), await ask(client, stream=stream)
    assert (empty.status_code, empty.content, wrong.status_code) == (200, b"", 200)
    assert wrong.text == ("data: []\n\ndata: [DONE]\n\n" if stream else "[]")


@pytest.mark.parametrize(
    "match",
    [{"provider": "groq"}, {"endpoint": "embeddings"}, {"model": "other"}, {"text": "dune"}],
)
async def test_a_rule_strikes_only_what_it_matches(client: httpx2.AsyncClient, match: dict[str, str]) -> None:
    await switch_on(client, {"kind": "status", "status": 503, "match": match, "count": None})
    assert (await ask(client)).status_code == 200
    struck: dict[str, tuple[str, dict[str, Any]]] = {
        "provider": ("/groq/v1/chat/completions", {}),
        "endpoint": ("/v1/embeddings", {"input": "a"}),
        "model": ("/v1/chat/completions", {"model": "other"}),
        "text": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a dune"}]}),
    }
    path, fields = struck[next(iter(match))]
    for _ in range(3):
        assert (await ask(client, path, **fields)).status_code == 503


async def test_stream_faults_wait_for_a_stream(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "no_done"})
    assert (await ask(client)).status_code == 200
    assert (await client.get("/sandbox/faults")).json()["faults"][0]["applied"] == 0
    assert "[DONE]" not in (await ask(client, stream=True)).text


async def test_faults_of_a_refused_call_do_not_bill_it(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "malformed_body"})
    assert (await ask(client, model="does-not-exist")).status_code == 404
    assert (await last_line(client))["outcome"] == "refused"


async def test_rules_are_listed_and_switched_off(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "delay", "seconds": 60, "count": None})
    (armed,) = (await client.get("/sandbox/faults")).json()["faults"]
    assert (armed["rule"]["kind"], armed["applied"]) == ("delay", 0)
    await client.delete("/sandbox/faults")
    assert (await ask(client)).status_code == 200


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (b"[", "truncated"),
        (b'[{"kind":"stauts"}]', "stauts"),
        (b'[{"kind":"status"}]', "`status`"),
        (b'[{"kind":"status","status":200}]', ">= 400"),
        (b'[{"kind":"delay","seconds":1,"colour":1}]', "colour"),
        (b'[{"kind":"drop","count":0}]', "$[0].count"),
        (b'[{"kind":"drop","match":{"modle":"m"}}]', "modle"),
    ],
)
async def test_a_wrong_rule_is_a_clear_400(client: httpx2.AsyncClient, rules: bytes, said: str) -> None:
    answer = await client.post("/sandbox/faults", content=rules)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert (await client.get("/sandbox/faults")).json() == {"faults": []}


@pytest.mark.parametrize(("stream", "steps"), [(True, 12), (False, 4)])
async def test_a_client_that_leaves_is_noticed_and_billed(opened: Open, stream: bool, steps: int) -> None:
    """A whole answer is billed in full: a provider that has not begun to write does not know that nobody listens."""
    moved: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(_: float) -> None:
        await moved.get()

    async with opened(sleep=sleep) as client:
        full = (await ask(client)).json()["usage"]["completion_tokens"]
        await client.delete("/sandbox/ledger")
        await switch_on(client, {"kind": "slow_body", "bytes_per_second": 2000})
        for _ in range(steps):
            moved.put_nowait(None)
        asking = asyncio.create_task(ask(client, stream=stream))
        async for view in polled(client):
            if view["lines"]:
                break
            if moved.empty() and not asking.done():
                asking.cancel()
        line = view["lines"][0]
    assert (line["outcome"], line["output"] == full) == ("aborted", not stream)
    assert line["output"] > 0


async def polled(client: httpx2.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    """The ledger, again and again."""
    while True:
        yield await ledger(client)
        await asyncio.sleep(0.01)


def test_every_kind_says_what_it_does() -> None:
    kinds = [rule.__struct_config__.tag for rule in faults.AnyRule.__args__]
    assert len(set(kinds)) == len(kinds) == 13
    assert {type(msgspec.convert(each, faults.AnyRule)) for each in EXAMPLES} == set(faults.AnyRule.__args__)
    assert all(rule.__doc__ for rule in faults.AnyRule.__args__)


EXAMPLES: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "delay", "seconds": 1},
    {"kind": "slow_body", "bytes_per_second": 1},
    {"kind": "oversized_body", "bytes": 1},
    {"kind": "packed", "how": "missing"},
    *({"kind": kind} for kind in ("cut_stream", "cut_body", "no_done", "malformed_body", "drop")),
    *({"kind": kind} for kind in ("error_frame", "empty_body", "wrong_shape")),
]
