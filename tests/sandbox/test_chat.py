"""Chat completions: what they answer, what they refuse, and how they stream."""

import json
from typing import Any

import httpx2
import pytest
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import ask, content, frames, last_line

from batchway.sandbox import count_roughly
from batchway.sandbox.openai.chat import KNOWN


def formed(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


def said(answer: httpx2.Response) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


async def test_an_answer_is_a_function_of_the_request(client: httpx2.AsyncClient) -> None:
    first, again = said(await ask(client)), said(await ask(client))
    other = said(await ask(client, messages=[{"role": "user", "content": "What is a dune?"}]))
    assert first == again != other
    assert "What is a fjord?" in first
    assert "What is a dune?" in other


async def test_sampling_is_not_collapsed(client: httpx2.AsyncClient) -> None:
    hot = {said(await ask(client, temperature=0.7)) for _ in range(3)}
    unset = {said(await ask(client, temperature=None)) for _ in range(3)}
    seeded = {said(await ask(client, temperature=0.7, seed=5)) for _ in range(3)}
    assert (len(hot), len(unset), len(seeded)) == (3, 3, 1)
    assert len({text.split()[1] for text in hot}) == 1, "the hash of the messages stays"
    assert said(await ask(client, temperature=0.7, seed=6)) not in seeded


async def test_choices_of_a_sampled_request_differ(client: httpx2.AsyncClient) -> None:
    answer = (await ask(client, n=3, temperature=1)).json()
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == sum(
        count_roughly(choice["message"]["content"]) for choice in answer["choices"]
    )


async def test_usage_is_counted_with_the_given_counter(opened: Open) -> None:
    async with opened(count=lambda text: len(text.split())) as client:
        answer = await ask(client)
    usage = answer.json()["usage"]
    assert usage["prompt_tokens"] == 3 + (4 + 2) + (4 + 4)
    assert usage["completion_tokens"] == len(said(answer).split())
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_of_tokens_cuts_the_answer(client: httpx2.AsyncClient, field: str) -> None:
    whole, short = await ask(client), await ask(client, **dict[str, Any]({field: 5}))
    assert said(whole).startswith(said(short))
    assert short.json()["choices"][0]["finish_reason"] == "length"
    assert short.json()["usage"]["completion_tokens"] == 5
    assert whole.json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("asked", "served", "lane"),
    [
        (None, "default", "direct"),
        ("auto", "default", "direct"),
        ("flex", "flex", "flex"),
        ("fast", "priority", "direct"),
    ],
)
async def test_the_tier_is_said_and_booked(client: httpx2.AsyncClient, asked: str, served: str, lane: str) -> None:
    answer = await ask(client, service_tier=asked)
    line = await last_line(client)
    assert answer.json()["service_tier"] == line["tier"] == served
    assert line["lane"] == lane


TOOLS = [
    {"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "look", "parameters": {"properties": {"city": {"type": "string"}}}}},
]


@pytest.mark.parametrize(
    ("choice", "name"), [("required", "add"), ({"type": "function", "function": {"name": "look"}}, "look")]
)
async def test_a_tool_is_called_when_it_must_be(client: httpx2.AsyncClient, choice: object, name: str) -> None:
    answer = (await ask(client, tools=TOOLS, tool_choice=choice)).json()["choices"][0]
    call = answer["message"]["tool_calls"][0]
    assert (call["function"]["name"], answer["finish_reason"], answer["message"]["content"]) == (
        name,
        "tool_calls",
        None,
    )
    assert len(json.loads(call["function"]["arguments"])) == 1
    found = frames((await ask(client, tools=TOOLS, tool_choice=choice, stream=True)).text)
    deltas = [chunk["choices"][0]["delta"].get("tool_calls", [{}])[0] for chunk in found[:-1]]
    assert "".join(each["function"]["arguments"] for each in deltas if each) == call["function"]["arguments"]


async def test_tools_are_not_called_unless_they_must_be(client: httpx2.AsyncClient) -> None:
    assert said(await ask(client, tools=TOOLS, tool_choice="auto"))
    refused = await ask(client, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "absent"}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tool_choice")


async def test_json_is_answered_where_json_is_asked_for(client: httpx2.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "many": {"type": "array", "items": {}}}}
    shaped = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    assert json.loads(said(await ask(client, response_format=shaped)))["kind"] == "a"
    assert isinstance(json.loads(said(await ask(client, response_format={"type": "json_object"}))), dict)
    assert (await ask(client, response_format={"type": "yaml"})).status_code == 400


async def test_a_stream_says_what_the_whole_answer_says(client: httpx2.AsyncClient) -> None:
    whole = await ask(client)
    streamed = await ask(client, stream=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, finish, usage, done = frames(streamed.text)
    assert content(chunks) == said(whole)
    assert len(chunks) > 5
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"] == whole.json()["usage"]
    assert all(chunk["usage"] is None for chunk in [*chunks, finish])
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


async def test_usage_is_streamed_only_if_asked_for(client: httpx2.AsyncClient) -> None:
    assert all("usage" not in chunk for chunk in frames((await ask(client, stream=True)).text)[:-1])
    assert (await ask(client, stream_options={"include_usage": True})).json()["error"]["param"] == "stream_options"


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"messages": []}, 400, "messages", "invalid_value"),
        ({"messages": [{"content": "x"}]}, 400, "messages[0].role", "missing_required_parameter"),
        ({"temperature": 3}, 400, "temperature", "invalid_value"),
        ({"n": "two"}, 400, "n", "invalid_type"),
        ({"tools": [{"function": {}}], "tool_choice": "required"}, 400, "tools", "missing_required_parameter"),
        ({"tools": TOOLS, "tool_choice": {"function": 1}}, 400, "tool_choice", None),
        ({"response_format": formed([])}, 400, "response_format", "invalid_json_schema"),
        ({"response_format": formed({"$ref": "#"})}, 400, None, "invalid_json_schema"),
        ({"response_format": formed({"properties": 1})}, 400, None, "invalid_json_schema"),
        ({"model": "does-not-exist"}, 404, None, "model_not_found"),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx2.AsyncClient, fields: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    answer = await ask(client, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
    assert set(error) == {"message", "type", "param", "code"}
    line = await last_line(client)
    assert (line["status"], line["outcome"], line["input"], line["output"]) == (status, "refused", 0, 0)


@pytest.mark.parametrize("missing", ["model", "messages"])
async def test_a_missing_field_is_named(client: httpx2.AsyncClient, missing: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    del body[missing]
    answer = await client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, missing)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"[" * 100_000])
async def test_what_is_not_json_is_a_400(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_strict_sandbox_knows_its_models_and_parameters(opened: Open) -> None:
    async with opened(strict=True, models=["only-this"]) as client:
        assert (await ask(client)).json()["error"]["code"] == "model_not_found"
        assert (await ask(client, model="only-this")).status_code == 200
        hinted = (await ask(client, model="only-this", deadline=5)).json()["error"]
    assert (hinted["param"], hinted["code"]) == ("deadline", "unknown_parameter")


def test_the_known_parameters_are_the_sdks() -> None:
    from typing import get_type_hints

    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    assert set(get_type_hints(CompletionCreateParamsStreaming)) == KNOWN
