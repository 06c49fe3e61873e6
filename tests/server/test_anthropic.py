"""Anthropic behind the gateway: the official openai SDK asks, and sees OpenAI's shapes whatever happens."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.gate import Gate, chat, check_fault, frames, open_gate, said, via, words

MODEL = "anthropic/claude-haiku-4-5"
TURNS: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a fjord?"}]
CHAT: Any = {"model": MODEL, "messages": TURNS, "temperature": 0}
LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Fjord(BaseModel):
    """What `parse` is asked for."""

    name: str
    depth: int


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(gate) as opened:
        yield opened


@asynccontextmanager
async def sdk(gate: Gate, headers: Mapping[str, str] | None = None) -> AsyncIterator[openai.AsyncOpenAI]:
    base = f"{gate.address}/v1"
    async with openai.AsyncOpenAI(api_key="sk-caller", base_url=base, max_retries=0, default_headers=headers) as opened:
        yield opened


async def test_an_answer(gate: Gate, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**CHAT)
    choice = answer.choices[0]
    assert (answer.object, choice.finish_reason, choice.message.role) == ("chat.completion", "stop", "assistant")
    assert "What is a fjord?" in (choice.message.content or "")
    assert answer.usage is not None
    (line,) = gate.lines
    assert (line.provider, line.endpoint, line.model) == ("anthropic", "messages", "claude-haiku-4-5")
    assert (line.input, line.output) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    again = await client.chat.completions.with_raw_response.create(**CHAT)
    assert again.headers["x-batchway-routed-via"] == "cache"
    assert again.parse().choices == answer.choices
    assert gate.calls == 1


async def test_a_stream_says_the_same(gate: Gate, client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(**CHAT, extra_body={"reuse": "off"})
    options: Any = {"stream": True, "stream_options": {"include_usage": True}, "extra_body": {"reuse": "off"}}
    chunks = [chunk async for chunk in await client.chat.completions.create(**CHAT, **options)]
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert told == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [line.stream for line in gate.lines] == [False, True]


async def test_a_stream_is_kept_and_replayed(gate: Gate) -> None:
    first = await gate.ask(model=MODEL, temperature=0, stream=True)
    assert (via(first), gate.calls) == ("direct", 1)
    assert first.text.rstrip().endswith("data: [DONE]")
    assert not any(chunk != "[DONE]" and chunk.get("usage") for chunk in frames(first.text)), "not asked for"
    again = await gate.ask(model=MODEL, temperature=0, stream=True)
    assert (via(again), words(frames(again.text)), gate.calls) == ("cache", words(frames(first.text)), 1)
    whole = await gate.ask(model=MODEL, temperature=0)
    assert (via(whole), said(whole), gate.calls) == ("cache", words(frames(first.text)), 1)


async def test_the_cost_is_known(gate: Gate) -> None:
    answer = await gate.ask(model=MODEL)
    usage = answer.json()["usage"]
    # providers.md §17: 1 USD per million tokens in, 5 out.
    expected = (usage["prompt_tokens"] + 5 * usage["completion_tokens"]) / 1e6
    assert float(answer.headers["x-batchway-cost-usd"]) == pytest.approx(expected)


async def test_tools_there_and_back(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": TURNS, "tools": [LOOK]}
    called = await client.chat.completions.create(**asked, tool_choice="required")
    message = called.choices[0].message
    assert called.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city"}
    turns = [*TURNS, message, {"role": "tool", "tool_call_id": call.id, "content": "It rains."}]
    told = await client.chat.completions.create(**asked | {"messages": turns})
    assert "It rains." in (told.choices[0].message.content or "")
    async with client.chat.completions.stream(**asked, tool_choice="required") as stream:
        streamed = (await stream.get_final_completion()).choices[0].message
    assert streamed.tool_calls is not None
    assert streamed.tool_calls[0].function.name == "look"
    assert set(json.loads(streamed.tool_calls[0].function.arguments)) == {"city"}


async def test_structured_output(client: openai.AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(**CHAT, response_format=Fjord)
    assert isinstance(parsed.choices[0].message.parsed, Fjord)


@pytest.mark.parametrize("streamed", [False, True])
async def test_thinking_is_carried_through_a_turn_of_tools(
    gate: Gate, client: openai.AsyncOpenAI, streamed: bool
) -> None:
    asked: Any = {"model": MODEL, "messages": TURNS, "reasoning_effort": "low", "tools": [LOOK]}
    if streamed:
        async with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(**asked)
    thought = answer.choices[0].message.model_extra
    assert thought["reasoning_content"]
    assert thought["thinking_blocks"][0]["thinking"] == thought["reasoning_content"]
    assert answer.usage.completion_tokens_details.reasoning_tokens > 0
    call = {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Bergen"}'}}
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "It rains."}
    for handed_back in ({}, {"thinking_blocks": thought["thinking_blocks"]}):
        turn = {"role": "assistant", "content": None, "tool_calls": [call]} | handed_back
        told = await client.chat.completions.create(**asked | {"messages": [*TURNS, turn, result]})
        # It goes on thinking where it gets its thoughts back, and answers all the same where it does not.
        assert bool((told.choices[0].message.model_extra or {}).get("reasoning_content")) is bool(handed_back)
    assert set(gate.outcomes) == {"completed"}


async def test_models(client: openai.AsyncOpenAI) -> None:
    listed = {model.id: model async for model in client.models.list()}
    assert listed[MODEL].owned_by == "anthropic"
    assert (await client.models.retrieve(MODEL)).object == "model"


async def test_the_cut_and_the_stopped(gate: Gate) -> None:
    cut = (await gate.ask(model=MODEL, max_tokens=3)).json()
    assert (cut["choices"][0]["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", 3)
    stopped = await gate.ask(model=MODEL, stop=["|"])
    assert stopped.json()["choices"][0]["finish_reason"] == "stop"
    assert "|" not in said(stopped)


# What goes wrong


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"seed": 1}, "seed", "unsupported_parameter"),
        ({"made_up": 1}, "made_up", "unknown_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_anthropic_cannot_be_asked(
    gate: Gate, fields: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    answer = await gate.ask(model=MODEL, stream=stream, **fields)
    error = check_fault(answer, 400, code, param)
    assert error["type"] == "invalid_request_error"
    assert gate.calls == 0, "nothing was sent"


async def test_endpoints_that_are_not_there(gate: Gate) -> None:
    for path, body in (
        ("/v1/embeddings", {"model": MODEL, "input": "x"}),
        ("/v1/responses", {"model": MODEL, "input": "x"}),
    ):
        check_fault(await gate.http.post(path, json=body), 400, "unsupported_endpoint", "model")
    assert gate.calls == 0


async def test_the_providers_own_refusal(gate: Gate, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(**CHAT | {"model": "anthropic/does-not-exist"})
    error = caught.value
    assert (error.type, error.param, error.code) == ("not_found_error", None, None)
    assert isinstance(error.body, dict)
    assert error.body["message"] == "model: does-not-exist"
    assert error.body["request_id"] == gate.lines[0].request_id


async def test_an_overload_is_waited_out_and_an_empty_account_is_not() -> None:
    async with open_gate(max_retries=2) as gate:
        gate.fault({"kind": "status", "status": 529, "retry_after": 0.01, "count": 2})
        assert (await gate.ask(model=MODEL)).status_code == 200
        assert gate.calls == 3
        spent = {"status": 429, "type": "rate_limit_error", "code": "enforced_spend_limit_reached"}
        gate.fault({"kind": "status", **spent, "count": None})
        answer = await gate.ask(model=MODEL)
        check_fault(answer, 429, "enforced_spend_limit_reached")
        assert answer.headers["x-should-retry"] == "false"
        assert gate.calls == 4


async def test_an_error_amid_a_stream(gate: Gate, client: openai.AsyncOpenAI) -> None:
    gate.fault({"kind": "error_frame", "status": 529, "after": 4, "message": "Overloaded"})
    told = ""
    with pytest.raises(openai.APIError, match="Overloaded") as caught:
        async for chunk in await client.chat.completions.create(**CHAT, stream=True):
            told += chunk.choices[0].delta.content or ""
    assert caught.value.type == "overloaded_error"
    assert told.startswith("Echo")


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "cut_stream", "after": 4},
        {"kind": "no_done", "finish": False},
        {"kind": "malformed_body"},
        {"kind": "wrong_shape"},
        {"kind": "empty_body"},
    ],
)
async def test_a_broken_stream_is_no_short_answer(gate: Gate, rule: dict[str, Any]) -> None:
    gate.fault(rule)
    answer = await gate.ask(model=MODEL, stream=True, temperature=0)
    if answer.status_code == 200:
        last = frames(answer.text)[-1]
        assert last["error"]["code"] in ("upstream_cut", "upstream_malformed"), last
    else:
        assert answer.status_code == 502, answer.text
    whole = await gate.ask(model=MODEL, temperature=0)
    assert (whole.status_code, via(whole)) == (200, "direct"), "nothing broken was kept"


@pytest.mark.parametrize("kind", ["cut_body", "malformed_body", "wrong_shape", "empty_body", "drop"])
async def test_a_broken_answer(gate: Gate, kind: str) -> None:
    rule: dict[str, Any] = {"kind": kind} | ({"accepted": True} if kind == "drop" else {})
    gate.fault(rule)
    answer = await gate.ask(model=MODEL)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] in ("upstream_cut", "upstream_malformed")


# Keys and versions


async def test_the_newer_version() -> None:
    async with open_gate(environment={"BATCHWAY_PROVIDERS__ANTHROPIC__VERSION": "2026-10-21"}) as gate:
        assert (await gate.ask(model=MODEL, temperature=1)).status_code == 200
        answer = await gate.ask(model=MODEL, temperature=0.5)
        error = check_fault(answer, 400, "unsupported_parameter", "temperature")
        assert "2023-06-01" in error["message"]
        assert gate.calls == 1


async def test_a_callers_own_key_is_forwarded_as_its_bearer() -> None:
    async with open_gate(keyless=True) as first:
        environment = {"ANTHROPIC_BASE_URL": f"{first.upstream}/anthropic", "OPENAI_BASE_URL": f"{first.upstream}/v1"}
        async with open_gate(environment=environment) as gate:
            headers = {"authorization": "Bearer sk-ant-callers-4321"}
            answer = await gate.http.post("/v1/chat/completions", json=chat(model=MODEL), headers=headers)
            assert answer.status_code == 200, answer.text
            assert [(line.provider, line.key) for line in first.lines] == [("anthropic", "4321")]
