"""The official openai SDK asks the gateway, and Gemini answers: the caller sees OpenAI's shapes and nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel
from tests.gate import Gate, open_gate, until

MODEL = "gemini-3.8-flash"
ASKED = "What is a fjord?"
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": ASKED}], "temperature": 0}
LOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "strict": True,
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


def speak(gate: Gate) -> openai.AsyncOpenAI:
    """The SDK, which tries nothing twice."""
    return openai.AsyncOpenAI(base_url=f"{gate.address}/v1", api_key="none", max_retries=0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened() -> AsyncIterator[Gate]:
    """A gateway whose requests go to Gemini, each of them, and once. Tests use `gate`."""
    async with open_gate(default_provider="gemini", reuse="off", max_retries=0) as gate:
        yield gate


@pytest_asyncio.fixture(loop_scope="session")
async def gate(opened: Gate) -> AsyncIterator[Gate]:
    """That gateway, nothing under way, its provider without faults and its ledger empty."""
    yield opened
    await until(opened.under_way(0))
    opened.sandbox.faults.switch_off()
    opened.sandbox.ledger.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def client(gate: Gate) -> AsyncIterator[Any]:
    """The SDK before that gateway."""
    async with speak(gate) as spoken:
        yield spoken


async def test_whole_and_streamed_say_the_same(gate: Gate, client: Any) -> None:
    whole = await client.chat.completions.create(**CHAT)
    (choice,) = whole.choices
    assert choice.message.content.startswith("Echo ")
    assert (choice.finish_reason, choice.message.role, whole.object) == ("stop", "assistant", "chat.completion")
    assert (whole.model, whole.service_tier, whole.provider, whole.routed_via) == (MODEL, "default", "gemini", "direct")
    line = gate.lines[-1]
    assert (line.provider, line.endpoint, line.stream) == ("gemini", "chat", False)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (line.input, line.output)

    chunks = [chunk async for chunk in await client.chat.completions.create(**CHAT, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == choice.message.content
    assert all(chunk.object == "chat.completion.chunk" and chunk.usage is None for chunk in chunks)
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert gate.lines[-1].stream

    async with client.chat.completions.stream(**CHAT, stream_options={"include_usage": True}) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == choice.message.content
    assert final.usage == whole.usage


async def test_the_cost_is_known_and_flex_costs_half(gate: Gate, client: Any) -> None:
    costs = []
    for tier in ("auto", "flex"):
        raw = await client.chat.completions.with_raw_response.create(**CHAT, service_tier=tier)
        costs.append(float(raw.headers["x-batchway-cost-usd"]))
    assert costs[0] == pytest.approx(2 * costs[1])
    assert raw.parse().service_tier == "flex"
    assert gate.lines[-1].lane == "flex"


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_agents_loop(gate: Gate, client: Any, streamed: bool) -> None:
    """The model signs its calls and wants the signature back: what the SDK hands over is sent back as it is."""
    asked = CHAT | {"tools": [LOOK], "tool_choice": "required"}
    if streamed:
        async with client.chat.completions.stream(**asked) as stream:
            completion = await stream.get_final_completion()
    else:
        completion = await client.chat.completions.create(**asked)
    (choice,) = completion.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert call.function.name == "look"
    assert set(json.loads(call.function.arguments)) == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    turns = [*CHAT["messages"], choice.message.model_dump(exclude={"parsed"}), result]
    for each in turns[1].get("tool_calls", ()):
        each["function"].pop("parsed_arguments", None)
    answer = await client.chat.completions.create(**CHAT | {"messages": turns, "tools": [LOOK]})
    assert ASKED in answer.choices[0].message.content

    del turns[1]["tool_calls"][0]["extra_content"]
    with pytest.raises(openai.BadRequestError, match="missing a thought_signature"):
        await client.chat.completions.create(**CHAT | {"messages": turns, "tools": [LOOK]})


async def test_structured_output_and_effort(client: Any) -> None:
    parsed = await client.chat.completions.parse(**CHAT, response_format=Fjord)
    assert isinstance(parsed.choices[0].message.parsed, Fjord)
    google = {"google": {"thinking_config": {"include_thoughts": True}}}
    thought = await client.chat.completions.create(**CHAT, reasoning_effort="low", extra_body={"extra_body": google})
    assert thought.usage.completion_tokens_details.reasoning_tokens > 0
    assert thought.choices[0].message.reasoning_content
    assert thought.choices[0].message.content.startswith("Echo ")


async def test_choices_limits_and_logprobs(client: Any) -> None:
    answer = await client.chat.completions.create(**CHAT, n=2, max_tokens=5, logprobs=True, top_logprobs=1)
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    for choice in answer.choices:
        assert "".join(token.token for token in choice.logprobs.content) == choice.message.content


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_blocked_prompt_is_filtered_content(client: Any, streamed: bool) -> None:
    asked = CHAT | {"messages": [{"role": "user", "content": "a [blocked] question"}]}
    if streamed:
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    else:
        reasons = [choice.finish_reason for choice in (await client.chat.completions.create(**asked)).choices]
    assert reasons[-1] == "content_filter"


async def test_embeddings(gate: Gate, client: Any) -> None:
    asked = {"model": "gemini-embedding-001", "input": ["a fjord", "a firth"], "dimensions": 8}
    packed = await client.embeddings.create(**asked)
    plain = await client.embeddings.create(**asked, encoding_format="float")
    assert [each.index for each in plain.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
        assert len(one.embedding) == 8
    assert packed.usage.prompt_tokens == gate.lines[-1].input == 4
    single = await client.embeddings.create(model="gemini-embedding-001", input="a fjord", dimensions=8)
    assert single.data[0].embedding == packed.data[0].embedding


async def test_models(client: Any) -> None:
    listed = [model.id async for model in await client.models.list()]
    assert MODEL in listed
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("does-not-exist")


async def test_identical_questions_are_answered_once() -> None:
    async with open_gate(default_provider="gemini") as gate, speak(gate) as client:
        first = await client.chat.completions.create(**CHAT)
        chunks = [chunk async for chunk in await client.chat.completions.create(**CHAT, stream=True)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == first.choices[0].message.content
        assert gate.calls == 1


# Errors


async def refused(client: Any, error: type[openai.APIStatusError], **fields: Any) -> openai.APIStatusError:
    """The error that the SDK raises, in OpenAI's shape."""
    with pytest.raises(error) as raised:
        await client.chat.completions.create(**CHAT | fields)
    body = raised.value.body
    assert isinstance(body, dict)
    assert {"message", "type", "param", "code"} <= set(body)
    return raised.value


async def test_what_gemini_cannot_be_asked_never_leaves(gate: Gate, client: Any) -> None:
    error = await refused(client, openai.BadRequestError, verbosity="high")
    assert (error.param, error.code) == ("verbosity", "unsupported_parameter")
    error = await refused(client, openai.BadRequestError, stream=True, logit_bias={"5": 1})
    assert error.param == "logit_bias"
    with pytest.raises(openai.BadRequestError, match="does not speak responses"):
        await client.responses.create(model=MODEL, input="x")
    assert gate.calls == 0


async def test_googles_refusals_in_openais_shape(gate: Gate, client: Any) -> None:
    error = await refused(client, openai.BadRequestError, temperature=3)
    assert (error.code, error.type) == ("invalid_argument", "invalid_request_error")
    assert error.param == "generationConfig.temperature"
    error = await refused(client, openai.NotFoundError, model="does-not-exist")
    assert error.code == "not_found"
    assert set(gate.outcomes) == {"refused"}


@pytest.mark.parametrize("stream", [False, True])
async def test_rate_limits_and_the_quota_of_a_day(gate: Gate, client: Any, stream: bool) -> None:
    gate.fault({"kind": "status", "status": 429, "retry_after": 7})
    error = await refused(client, openai.RateLimitError, stream=stream)
    assert (error.code, error.response.headers["retry-after"]) == ("resource_exhausted", "7")
    violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]
    spent = {"error": {"code": 429, "message": "Spent.", "status": "RESOURCE_EXHAUSTED", "details": details}}
    gate.fault({"kind": "status", "status": 429, "body": spent})
    error = await refused(client, openai.RateLimitError, stream=stream)
    assert (error.code, "retry-after" in error.response.headers) == ("insufficient_quota", False)


async def test_what_passes_is_tried_again_and_the_quota_of_a_day_is_not() -> None:
    async with open_gate(default_provider="gemini", reuse="off", max_retries=2) as gate, speak(gate) as client:
        gate.fault({"kind": "status", "status": 503, "retry_after": 0.01})
        await client.chat.completions.create(**CHAT)
        assert gate.outcomes == ["refused", "completed"]
        spent = [{"error": {"message": "x", "details": [{"violations": [{"quotaId": "RequestsPerDay"}]}]}}]
        gate.fault({"kind": "status", "status": 429, "body": spent})
        await refused(client, openai.RateLimitError)
        assert gate.outcomes == ["refused", "completed", "refused"]


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"kind": "malformed_body"}, "upstream_malformed"),
        ({"kind": "wrong_shape"}, "upstream_malformed"),
        ({"kind": "empty_body"}, "upstream_malformed"),
        ({"kind": "oversized_body", "bytes": 100_000}, "upstream_malformed"),
        ({"kind": "cut_body"}, "upstream_cut"),
        ({"kind": "drop"}, "upstream_cut"),
    ],
)
async def test_faults_of_whole_answers(gate: Gate, client: Any, rule: dict[str, Any], code: str) -> None:
    gate.fault(rule)
    assert (await refused(client, openai.InternalServerError)).code == code


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"kind": "cut_stream", "after": 3}, "upstream_cut"),
        ({"kind": "no_done"}, "upstream_cut"),
        ({"kind": "no_done", "finish": False}, "upstream_cut"),
        ({"kind": "error_frame", "after": 2, "status": 503}, "unavailable"),
        ({"kind": "malformed_body"}, "upstream_malformed"),
        ({"kind": "wrong_shape", "skip": 0}, "upstream_malformed"),
    ],
)
async def test_a_broken_stream_is_an_error_not_a_short_answer(
    gate: Gate, client: Any, rule: dict[str, Any], code: str
) -> None:
    gate.fault(rule)
    with pytest.raises(openai.APIError) as raised:
        async for _ in await client.chat.completions.create(**CHAT, stream=True):
            pass
    assert raised.value.code == code


async def test_v1_is_spoken_too() -> None:
    environment = {"BATCHWAY_PROVIDERS__GEMINI__VERSION": "v1"}
    async with open_gate(environment=environment, default_provider="gemini") as gate, speak(gate) as client:
        assert (await client.chat.completions.create(**CHAT)).choices[0].finish_reason == "stop"
        assert gate.gateway.accounts["gemini"].version == "v1"
