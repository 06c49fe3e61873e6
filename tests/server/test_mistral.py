"""Mistral behind the gateway, as callers of OpenAI's SDK see it: OpenAI's shapes, whatever Mistral says."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.clock import HandClock
from tests.gate import Gate, check_fault, frames, open_gate, until, via, words

MODEL = "mistral/mistral-small-latest"
TURNS: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "What is a fjord?"}]
ASKED: Any = {"model": MODEL, "messages": TURNS, "temperature": 0}
TOOLS: Any = [
    {"type": "function", "function": {"name": "look", "parameters": {"properties": {"city": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "stop"}},
]


class Fjord(BaseModel):
    """What `parse` is asked for."""

    name: str
    depth: int


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, as it comes, before the gateway."""
    async with openai.AsyncOpenAI(base_url=f"{gate.address}/v1", api_key="sk-test", max_retries=0) as speaking:
        yield speaking


async def test_a_chat_whole_and_streamed(gate: Gate, client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(**ASKED, max_completion_tokens=500, user="u", store=False)
    text = whole.choices[0].message.content
    assert text
    assert "What is a fjord?" in text
    assert whole.usage
    (line,) = gate.lines
    assert (line.provider, line.model, line.outcome) == ("mistral", "mistral-small-latest", "completed")
    assert (line.input, line.output) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    asked = ASKED | {"stream": True, "extra_body": {"reuse": "off"}}
    chunks = [chunk async for chunk in await client.chat.completions.create(**asked)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert not any(chunk.usage for chunk in chunks), "nobody asked for it"
    asked["stream_options"] = {"include_usage": True}
    chunks = [chunk async for chunk in await client.chat.completions.create(**asked)]
    assert (chunks[-1].choices, chunks[-1].usage and chunks[-1].usage.total_tokens) == ([], whole.usage.total_tokens)
    assert gate.calls == 3
    async with client.chat.completions.stream(**ASKED) as stream:
        assert (await stream.get_final_completion()).choices[0].message.content == text


async def test_its_money_is_known(gate: Gate) -> None:
    whole = await gate.ask(model=MODEL)
    usage = whole.json()["usage"]
    # $0.15 a million tokens in, $0.60 out: mistral-small's prices in the catalogue.
    cost = (usage["prompt_tokens"] * 150_000 + usage["completion_tokens"] * 600_000) / 1e12
    assert float(whole.headers["x-batchway-cost-usd"]) == pytest.approx(cost, abs=1e-15)
    streamed = await gate.ask(model=MODEL, stream=True)
    comment = next(line for line in streamed.text.split("\n") if line.startswith(": batchway"))
    assert float(comment.partition("cost_usd=")[2].split()[0]) > 0


async def test_what_is_streamed_is_cached_as_a_whole(gate: Gate) -> None:
    streamed = await gate.ask(model=MODEL, temperature=0, stream=True)
    again = await gate.ask(model=MODEL, temperature=0)
    assert (via(again), again.json()["choices"][0]["message"]["content"]) == ("cache", words(frames(streamed.text)))
    assert again.json()["usage"]["completion_tokens"] == gate.lines[0].output
    assert gate.calls == 1


async def test_thoughts_there_and_back(client: openai.AsyncOpenAI) -> None:
    asked = ASKED | {"reasoning_effort": "high"}
    message: Any = (await client.chat.completions.create(**asked)).choices[0].message
    assert isinstance(message.content, str)
    assert message.reasoning_content
    deltas: list[Any] = [
        chunk.choices[0].delta
        async for chunk in await client.chat.completions.create(**asked, stream=True, extra_body={"reuse": "off"})
    ]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == message.reasoning_content
    assert "".join(delta.content or "" for delta in deltas) == message.content
    more = [*TURNS, message.model_dump(), {"role": "user", "content": "And a fjell?"}]
    answer = await client.chat.completions.create(**ASKED | {"messages": more})
    assert "And a fjell?" in (answer.choices[0].message.content or "")


async def test_tools_and_their_results(client: openai.AsyncOpenAI) -> None:
    asked = ASKED | {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
    message: Any = (await client.chat.completions.create(**asked)).choices[0].message
    (call,) = message.tool_calls
    assert (call.type, call.function.name, list(json.loads(call.function.arguments))) == ("function", "look", ["city"])
    async with client.chat.completions.stream(**asked) as stream:
        final: Any = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == call.function.arguments
    assert final.choices[0].finish_reason == "tool_calls"
    for call_id in (call.id, "call_of_another_provider"):
        said = message.model_dump()
        said["tool_calls"][0]["id"] = call_id
        result = {"role": "tool", "tool_call_id": call_id, "content": "3"}
        more = ASKED | {"messages": [*TURNS, said, result], "tools": TOOLS}
        assert (await client.chat.completions.create(**more)).choices[0].finish_reason == "stop"


async def test_a_pydantic_model(client: openai.AsyncOpenAI) -> None:
    parsed = (await client.chat.completions.parse(**ASKED, response_format=Fjord)).choices[0].message.parsed
    assert isinstance(parsed, Fjord)


async def test_embeddings(client: openai.AsyncOpenAI) -> None:
    short = await client.embeddings.create(model="mistral/codestral-embed", input=["a", "b"], dimensions=16, user="u")
    plain = await client.embeddings.create(
        model="mistral/codestral-embed", input=["a", "b"], dimensions=16, encoding_format="float"
    )
    assert [len(each.embedding) for each in short.data] == [16, 16]
    assert short.data[1].embedding == pytest.approx(plain.data[1].embedding, abs=1e-6)
    assert short.usage.prompt_tokens > 0
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(model="mistral/mistral-embed", input=[1, 2])
    assert refused.value.param == "input"


async def test_models(client: openai.AsyncOpenAI) -> None:
    listed = {model.id async for model in client.models.list()}
    assert {"gpt-4o-mini", MODEL, "mistral/mistral-embed"} <= listed
    assert (await client.models.retrieve(MODEL)).owned_by == "mistralai"


async def test_the_provider_may_be_named_beside_the_model(gate: Gate) -> None:
    answer = await gate.ask(model="mistral-small-latest", provider="mistral")
    assert (answer.status_code, answer.json()["provider"]) == (200, "mistral")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"verbosity": "low"}, "verbosity"),
        ({"messages": [{"role": "user", "content": "hi", "name": "bob"}]}, "messages[0].name"),
        ({"stream": True, "modalities": ["audio"]}, "modalities"),
    ],
)
async def test_what_cannot_be_asked_is_a_400_of_ours(gate: Gate, fields: dict[str, Any], param: str) -> None:
    answer = await gate.http.post("/v1/chat/completions", json=ASKED | fields)
    error = check_fault(answer, 400, "invalid_value", param)
    assert "Mistral" in error["message"]
    assert gate.calls == 0


async def test_what_mistral_refuses_is_said_in_openais_shape(gate: Gate) -> None:
    error = check_fault(await gate.ask(model=MODEL, nonsense=1), 422, None, "nonsense")
    assert error["message"] == "nonsense: Extra inputs are not permitted"
    error = check_fault(await gate.ask(model=MODEL, seed=-1), 422, None, "seed")
    assert error["message"].startswith("seed: ")
    check_fault(await gate.ask(model="mistral/does-not-exist"), 400, "1500")
    check_fault(await gate.http.post("/v1/responses", json={"model": MODEL, "input": "hi"}), 404, "unknown_url")


async def test_a_busy_provider_is_asked_again(gate: Gate) -> None:
    gate.fault({"kind": "status", "status": 429, "retry_after": 0.01, "match": {"provider": "mistral"}})
    assert (await gate.ask(model=MODEL)).status_code == 200
    assert gate.outcomes == ["refused", "completed"]


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"kind": "cut_stream", "after": 3}, "upstream_cut"),
        ({"kind": "no_done", "finish": False}, "upstream_cut"),
        ({"kind": "error_frame", "after": 3, "message": "overloaded", "code": "3505"}, "3505"),
        ({"kind": "malformed_body"}, "upstream_malformed"),
    ],
)
async def test_a_stream_that_goes_wrong_ends_in_an_error(gate: Gate, rule: dict[str, Any], code: str) -> None:
    gate.fault(rule)
    found = frames((await gate.ask(model=MODEL, stream=True)).text)
    assert found[-1]["error"]["code"] == code
    assert "[DONE]" not in found


async def test_a_stream_may_end_without_its_mark(gate: Gate) -> None:
    gate.fault({"kind": "no_done"})
    assert frames((await gate.ask(model=MODEL, stream=True)).text)[-1] == "[DONE]"


@pytest.mark.parametrize("kind", ["malformed_body", "empty_body", "wrong_shape"])
async def test_a_body_that_is_no_answer(gate: Gate, kind: str) -> None:
    gate.fault({"kind": kind})
    check_fault(await gate.ask(model=MODEL), 502, "upstream_malformed")


async def test_its_limits_are_learnt(clock: HandClock) -> None:
    world = {"requests_per_minute": 2, "now": clock.now}
    async with open_gate(sandbox=world, clock=clock, max_retries=0, reuse="off") as gate:
        for _ in range(2):
            assert (await gate.ask(model=MODEL)).status_code == 200
        late = gate.start(model=MODEL)
        await until(gate.waiting(1))
        await gate.ask(model="gpt-4o-mini")
        assert [line.provider for line in gate.lines] == ["mistral", "mistral", "openai"], "it is held, not refused"
        clock.move(60)
        assert (await late).status_code == 200
