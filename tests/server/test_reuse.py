"""Cache, coalescing, request ids: identical requests are answered once where that was asked for, and only there."""

import asyncio
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI
from tests.clock import HandClock
from tests.gate import CHAT, MODEL, Gate, chat, check_fault, frames, open_gate, said, until, via, words

from batchway.settings import KeyEntry, hash_key

REPEATABLE: dict[str, Any] = {"temperature": 0}


async def test_a_repeatable_request_is_answered_once(clock: HandClock) -> None:
    async with open_gate(clock=clock, cache_ttl=100) as gate:
        first = await gate.ask(**REPEATABLE)
        clock.move(40)
        again = await gate.ask(**REPEATABLE, user="someone", metadata={"a": "b"})
        assert (via(first), via(again)) == ("direct", "cache")
        assert "age" not in first.headers
        assert again.headers["age"] == "40"
        assert again.headers["x-batchway-cost-usd"] == "0"
        assert again.headers["x-batchway-saved-usd"] == first.headers["x-batchway-cost-usd"]
        assert said(first) == said(again)
        assert first.json()["request_id"] != again.json()["request_id"]
        assert again.json()["routed_via"] == "cache"
        assert gate.calls == 1
        clock.move(61)
        assert via(await gate.ask(**REPEATABLE)) == "direct"
        assert gate.calls == 2


async def test_a_hit_is_replayed_as_a_stream(gate: Gate) -> None:
    whole = await gate.ask(**REPEATABLE)
    replayed = await gate.ask(**REPEATABLE, stream=True)
    assert via(replayed) == "cache"
    assert replayed.headers["content-type"].startswith("text/event-stream")
    assert words(frames(replayed.text)) == said(whole)
    assert "routed_via=cache cost_usd=0 " in replayed.text
    async with AsyncOpenAI(base_url=f"{gate.address}/v1", api_key="x", max_retries=0) as sdk:
        asked: Any = chat(**REPEATABLE)
        async with sdk.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == said(whole)
    assert completion.usage is not None
    assert completion.usage.model_dump(exclude_unset=True) == whole.json()["usage"]
    assert gate.calls == 1


async def test_a_stream_fills_the_cache_for_whole_answers(gate: Gate) -> None:
    streamed = await gate.ask(**REPEATABLE, stream=True)
    whole = await gate.ask(**REPEATABLE)
    assert via(whole) == "cache"
    assert said(whole) == words(frames(streamed.text))
    assert whole.json()["usage"]["total_tokens"] > 0
    assert gate.calls == 1


@pytest.mark.parametrize(
    ("hint", "fields", "calls"),
    [
        ("auto", {}, 2),
        ("auto", {"temperature": 0.5}, 2),
        ("auto", {"temperature": 0}, 1),
        ("auto", {"temperature": 0, "seed": 7}, 2),
        ("all", {}, 1),
        ("all", {"temperature": 1, "seed": 7}, 1),
        ("off", {"temperature": 0}, 2),
        ("all", {"temperature": 0, "store": True}, 2),
    ],
)
async def test_reuse_is_what_was_asked_for(gate: Gate, hint: str, fields: dict[str, Any], calls: int) -> None:
    answers = [await gate.ask(**fields, reuse=hint), await gate.ask(**fields, reuse=hint)]
    assert gate.calls == calls
    assert [via(answer) for answer in answers] == ["direct", "cache" if calls == 1 else "direct"]


async def test_other_questions_are_other_requests(gate: Gate) -> None:
    others: list[dict[str, Any]] = [{}, {"max_tokens": 50}, {"top_p": 0.9}, {"model": "gpt-4o"}, {"tools": []}]
    for fields in [*others, {"text": "x"}]:
        assert via(await gate.ask(**REPEATABLE | fields)) == "direct", fields
    assert via(await gate.ask(**REPEATABLE, top_p=0.9)) == "cache"


async def test_the_spelling_of_a_body_does_not_matter(gate: Gate) -> None:
    one = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\\u00e9"}],"temperature":0}'
    other = '{ "temperature": 0.0, "messages": [{"content": "é", "role": "user"}], "model": "gpt-4o-mini" }'.encode()
    assert via(await gate.post(one)) == "direct"
    assert via(await gate.post(other)) == "cache"


async def test_only_complete_answers_are_kept(gate: Gate) -> None:
    for _ in range(2):
        assert (await gate.ask(**REPEATABLE, max_tokens=2)).json()["choices"][0]["finish_reason"] == "length"
    gate.fault({"kind": "status", "status": 400, "count": 1})
    assert (await gate.ask(**REPEATABLE)).status_code == 400
    assert via(await gate.ask(**REPEATABLE)) == "direct"
    gate.fault({"kind": "cut_stream", "count": 1})
    await gate.ask(**REPEATABLE, text="cut", stream=True)
    assert via(await gate.ask(**REPEATABLE, text="cut")) == "direct"
    assert gate.calls == 6


async def test_tenants_share_nothing() -> None:
    keys = {"bw-" + "a" * 43: "one", "bw-" + "b" * 43: "two", "bw-" + "c" * 43: "one"}
    entries = tuple(
        KeyEntry(name=f"key{at}", hash=hash_key(key), tenant=tenant) for at, (key, tenant) in enumerate(keys.items())
    )
    async with open_gate(keys=entries) as gate:
        vias = [
            via(await gate.ask(**REPEATABLE, headers={"authorization": f"Bearer {key}"})) for key in keys for _ in "12"
        ]
        assert vias == ["direct", "cache", "direct", "cache", "cache", "cache"]
        assert gate.calls == 2


async def test_embeddings_are_reused(gate: Gate) -> None:
    body = {"model": "text-embedding-3-small", "input": ["a", "b"]}
    answers = [await gate.http.post("/v1/embeddings", json=body) for _ in "12"]
    assert [via(answer) for answer in answers] == ["direct", "cache"]
    assert answers[0].content == answers[1].content
    off = await gate.http.post("/v1/embeddings", json=body, headers={"x-batchway-reuse": "off"})
    assert via(off) == "direct"


async def test_responses_that_leave_state_are_not_reused(gate: Gate) -> None:
    body: dict[str, Any] = {"model": MODEL, "input": "hi", "temperature": 0}
    kept: list[dict[str, Any]] = [
        {},
        {"store": True},
        {"store": False, "previous_response_id": "resp_1"},
        {"store": False, "background": True},
    ]
    for fields in kept:
        answers = [await gate.http.post("/v1/responses", json=body | fields | {"reuse": "all"}) for _ in "12"]
        assert [via(answer) for answer in answers if answer.status_code == 200] in (["direct"] * 2, []), fields
    answers = [await gate.http.post("/v1/responses", json=body | {"store": False}) for _ in "123"]
    assert [via(answer) for answer in answers] == ["direct", "cache", "cache"]
    streamed = await gate.http.post("/v1/responses", json=body | {"store": False, "stream": True})
    assert via(streamed) == "cache"
    assert frames(streamed.text)[-1]["type"] == "response.completed"


async def test_a_cache_of_no_time_keeps_nothing() -> None:
    async with open_gate(cache_ttl=0) as gate:
        assert [via(await gate.ask(**REPEATABLE)) for _ in "12"] == ["direct", "direct"]


# Twins in flight


async def test_twins_at_once_are_one_call(gate: Gate) -> None:
    gate.fault({"kind": "delay", "seconds": 0.2})
    answers = await asyncio.gather(*(gate.ask(**REPEATABLE) for _ in range(20)))
    assert gate.calls == 1
    assert sorted(via(answer) for answer in answers) == ["coalesced"] * 19 + ["direct"]
    assert len({said(answer) for answer in answers}) == 1
    assert len({answer.json()["request_id"] for answer in answers}) == 20
    shared = next(answer for answer in answers if via(answer) == "coalesced")
    assert shared.headers["x-batchway-cost-usd"] == "0"
    assert float(shared.headers["x-batchway-saved-usd"]) > 0


async def test_sampled_twins_are_not_joined(gate: Gate) -> None:
    gate.fault({"kind": "delay", "seconds": 0.1, "count": None})
    answers = await asyncio.gather(*(gate.ask() for _ in range(5)))
    assert gate.calls == 5
    assert len({said(answer) for answer in answers}) == 5


async def test_streams_join_from_the_beginning(gate: Gate) -> None:
    gate.fault({"kind": "slow_body", "bytes_per_second": 12_000})
    async with gate.http.stream("POST", CHAT, json=chat(**REPEATABLE, stream=True)) as first:
        read = first.aiter_text()
        seen = [await anext(read)]
        second = gate.start(**REPEATABLE, stream=True)
        third = gate.start(**REPEATABLE, stream=True)
        await until(gate.waiting(3))
        seen += [piece async for piece in read]
    told = frames("".join(seen))
    for joined in (await second, await third):
        assert frames(joined.text) == told
        assert "routed_via=coalesced" in joined.text
    assert told[-1] == "[DONE]"
    assert gate.calls == 1


async def test_a_stream_and_a_whole_answer_are_no_twins(gate: Gate) -> None:
    gate.fault({"kind": "delay", "seconds": 0.2, "count": None})
    answers = await asyncio.gather(gate.ask(**REPEATABLE), gate.ask(**REPEATABLE, stream=True))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert gate.calls == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("leaver", [0, 1])
async def test_one_that_leaves_takes_nobody_along(gate: Gate, stream: bool, leaver: int) -> None:
    gate.fault({"kind": "slow_body", "bytes_per_second": 5_000} if stream else {"kind": "delay", "seconds": 1})
    asked: dict[str, Any] = REPEATABLE | ({"stream": True} if stream else {})
    asking = [gate.start(**asked)]
    await until(gate.waiting(1))
    asking += [gate.start(**asked), gate.start(**asked)]
    await until(gate.waiting(3))
    asking.pop(leaver).cancel()
    await until(gate.waiting(2))
    answers = await asyncio.gather(*asking)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert gate.outcomes == ["completed"]
    if stream:
        assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)
    else:
        assert {via(answer) for answer in answers} == {"direct", "coalesced"}, "one of those who stay pays"


async def test_a_failing_leader_passes_the_lead_on() -> None:
    async with open_gate(max_retries=0) as gate:
        gate.fault({"kind": "delay", "seconds": 0.2}, {"kind": "status", "status": 500, "count": 1})
        answers = await asyncio.gather(*(gate.ask(**REPEATABLE) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 500]
        assert gate.calls == 2


async def test_what_no_retry_heals_is_told_to_all(gate: Gate) -> None:
    gate.fault({"kind": "delay", "seconds": 0.2}, {"kind": "status", "status": 400, "count": 1})
    answers = await asyncio.gather(*(gate.ask(**REPEATABLE) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [400] * 4
    assert gate.calls == 1


# Given ids


@pytest.mark.parametrize("by", ["field", "header", "idempotency"])
async def test_a_given_id_asks_once(gate: Gate, by: str) -> None:
    def ask(text: str = "once", **more: Any) -> asyncio.Task[httpx2.Response]:
        header = {"header": "x-batchway-request-id", "idempotency": "idempotency-key"}.get(by)
        headers = {header: "order-1"} if header else {}
        return gate.start(headers=headers, text=text, **more | ({} if header else {"request_id": "order-1"}))

    gate.fault({"kind": "delay", "seconds": 0.3})
    first = ask()
    await until(gate.under_way())
    second = ask()
    await until(gate.waiting(2))
    conflict = await ask("another body")
    check_fault(conflict, 409, "request_id_conflict", "request_id")
    assert conflict.json()["request_id"] == "order-1"
    answers = [await first, await second, await ask()]
    assert [answer.json()["request_id"] for answer in answers] == ["order-1"] * 3
    assert len({said(answer) for answer in answers}) == 1, "sampled, and yet the same"
    assert [via(answer) for answer in answers] == ["direct", "coalesced", "cache"]
    check_fault(await ask("another body"), 409, "request_id_conflict", "request_id")
    assert gate.calls == 1


async def test_a_given_id_that_failed_may_be_used_again() -> None:
    async with open_gate(max_retries=0) as gate:
        gate.fault({"kind": "status", "status": 500})
        assert (await gate.ask(request_id="r")).status_code == 500
        assert (await gate.ask(request_id="r")).status_code == 200
        assert (await gate.ask(request_id="r", stream=True)).status_code == 200
        assert gate.calls == 2


async def test_ids_belong_to_their_tenant() -> None:
    keys = ["bw-" + letter * 43 for letter in "ab"]
    entries = tuple(KeyEntry(name=f"k{at}", hash=hash_key(key)) for at, key in enumerate(keys))
    async with open_gate(keys=entries) as gate:
        for at, key in enumerate(keys):
            answer = await gate.ask(text=f"{at}", request_id="r", headers={"authorization": f"Bearer {key}"})
            assert f"{at}" in said(answer)
        assert gate.calls == 2
