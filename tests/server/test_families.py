"""All families of providers behind one gateway: the official openai SDK asks each of them the same things at the same
address, and cannot tell them apart but by the name of the model. Anthropic in both versions of its API."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel
from tests.gate import Gate, open_gate, until

MODELS = ("gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-3.8-flash", "mistral/mistral-small-latest")
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
TURNS: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a fjord?"}]
LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Fjord(BaseModel):
    """What `parse` is asked for."""

    name: str
    depth: int


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["2023-06-01", "2026-10-21"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    """One gateway for all; its version of Anthropic's API. Tests use `gate`."""
    environment = {"BATCHWAY_PROVIDERS__ANTHROPIC__VERSION": request.param}
    async with open_gate(environment=environment, reuse="off", max_retries=0) as gate:
        yield gate


@pytest_asyncio.fixture(loop_scope="session")
async def gate(opened: Gate) -> AsyncIterator[Gate]:
    """That gateway, nothing under way, its providers without faults and their ledger empty."""
    yield opened
    await until(opened.under_way(0))
    opened.sandbox.faults.switch_off()
    opened.sandbox.ledger.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def client(gate: Gate) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK, which tries nothing twice."""
    async with openai.AsyncOpenAI(base_url=f"{gate.address}/v1", api_key="none", max_retries=0) as spoken:
        yield spoken


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


async def test_an_answer_and_its_usage(gate: Gate, client: Any, model: str) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=TURNS)
    answer = raw.parse()
    (choice,) = answer.choices
    assert (answer.object, choice.finish_reason, choice.message.role) == ("chat.completion", "stop", "assistant")
    assert "What is a fjord?" in choice.message.content
    (line,) = gate.lines
    assert (line.input, line.output) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert answer.usage.total_tokens == line.input + line.output
    assert float(raw.headers["x-batchway-cost-usd"]) > 0


async def test_a_stream_and_its_usage(gate: Gate, client: Any, model: str) -> None:
    asked = {"model": model, "messages": TURNS, "stream_options": {"include_usage": True}}
    chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "What is a fjord?" in told
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    (line,) = gate.lines
    assert line.stream
    assert (line.input, line.output) == (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens)


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_there_and_back(client: Any, model: str, streamed: bool) -> None:
    asked = {"model": model, "messages": TURNS, "tools": [LOOK], "tool_choice": "required"}
    if streamed:
        async with client.chat.completions.stream(**asked) as stream:
            message = (await stream.get_final_completion()).choices[0].message
    else:
        message = (await client.chat.completions.create(**asked)).choices[0].message
    (call,) = message.tool_calls
    assert (call.type, call.function.name, set(json.loads(call.function.arguments))) == ("function", "look", {"city"})
    said = message.model_dump(exclude={"parsed"}, exclude_none=True)
    for each in said["tool_calls"]:
        each["function"].pop("parsed_arguments", None)
    turns = [*TURNS, said, {"role": "tool", "tool_call_id": call.id, "content": "It rains."}]
    answer = await client.chat.completions.create(model=model, messages=turns, tools=[LOOK])
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("streamed", [False, True])
async def test_images_are_seen(gate: Gate, client: Any, model: str, streamed: bool) -> None:
    text = {"type": "text", "text": "What is this?"}
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    for parts in ([text], [text, picture]):
        turns = [{"role": "user", "content": parts}]
        answer = await client.chat.completions.create(model=model, messages=turns, stream=streamed)
        if streamed:
            async for _ in answer:
                pass
    plain, seen = gate.lines
    assert seen.input > plain.input + 50, "a picture is tokens"


async def test_structured_output(client: Any, model: str) -> None:
    parsed = await client.chat.completions.parse(model=model, messages=TURNS, response_format=Fjord)
    assert isinstance(parsed.choices[0].message.parsed, Fjord)


async def test_stop_and_length(client: Any, model: str) -> None:
    cut = await client.chat.completions.create(model=model, messages=TURNS, max_tokens=3)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 3)


@pytest.mark.parametrize("streamed", [False, True])
async def test_refusals_in_openais_shape(gate: Gate, client: Any, model: str, streamed: bool) -> None:
    for status, kind in ((429, openai.RateLimitError), (500, openai.InternalServerError), (401, openai.APIStatusError)):
        gate.fault({"kind": "status", "status": status})
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model=model, messages=TURNS, stream=streamed)
        error: Any = caught.value.body
        assert error["message"]
        assert error["type"]
        assert caught.value.status_code in (status, 502, 503), (
            "a wrong key of the gateway's own is no 401 of the caller's"
        )


@pytest.mark.parametrize("marked", [False, True])
async def test_what_anthropics_cache_spared_is_seen_and_paid_for(client: Any, marked: bool) -> None:
    guide: dict[str, Any] = {"type": "text", "text": "You sort letters to a newspaper. " * 400}
    if marked:
        guide["cache_control"] = {"type": "ephemeral"}
    name = f"marked {marked}"
    turns = [{"role": "system", "content": [guide]}, {"role": "user", "content": name}]
    costs, cached = [], []
    for _ in range(2):
        raw = await client.chat.completions.with_raw_response.create(model=MODELS[1], messages=turns)
        costs.append(float(raw.headers["x-batchway-cost-usd"]))
        cached.append(raw.parse().usage.prompt_tokens_details.cached_tokens)
    assert cached[0] == 0
    assert (cached[1] > 1000) == marked
    assert (costs[1] < costs[0] / 5) == marked


async def test_one_address_lists_all_models(client: Any) -> None:
    listed = {each.id async for each in client.models.list()}
    assert set(MODELS) <= listed | {"gpt-4o-mini"}
    assert {name.partition("/")[0] for name in listed if "/" in name} >= {"anthropic", "gemini", "mistral"}
