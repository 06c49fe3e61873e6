"""Mistral's side of the sandbox, asked by the official SDK and by hand: answers, strictness, errors, bills."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mistralai.client import Mistral, errors
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import frames, last_line, switch_on

CHAT = "/mistral/v1/chat/completions"
MODEL = "mistral-small-latest"
TURNS: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a fjord?"}]
ASKED: Any = {"model": MODEL, "messages": TURNS, "temperature": 0}
LOOK: Any = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@asynccontextmanager
async def sdk(client: httpx2.AsyncClient, key: str = "mistral-test-9876") -> AsyncIterator[Any]:
    """The SDK as this sandbox's caller: it reads what it gets into its own types, which the tests look at freely."""
    address = str(client.base_url).rstrip("/")
    async with Mistral(api_key=key, server_url=f"{address}/mistral") as speaking:
        yield speaking


async def post(client: httpx2.AsyncClient, path: str = CHAT, **fields: Any) -> httpx2.Response:
    """A chat by hand."""
    return await client.post(path, json=ASKED | fields)


async def streamed(speaking: Any, **fields: Any) -> list[Any]:
    """The chunks of a streamed chat."""
    async with await speaking.chat.stream_async(**(ASKED | fields)) as events:
        return [event.data async for event in events]


async def test_a_chat_whole_and_streamed(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as speaking:
        whole = await speaking.chat.complete_async(**ASKED)
        text = whole.choices[0].message.content
        assert "What is a fjord?" in text
        assert whole.choices[0].finish_reason == "stop"
        line = await last_line(client)
        assert (line["provider"], line["endpoint"], line["model"], line["tier"]) == (
            "mistral",
            "chat",
            MODEL,
            "standard",
        )
        assert (line["input"], line["output"]) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
        chunks = await streamed(speaking)
        assert "".join(chunk.choices[0].delta.content for chunk in chunks) == text
        assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert chunks[-1].choices[0].delta.content, "the last words come with the reason, as Mistral's do"
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


async def test_thoughts_are_chunks_and_are_billed(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as speaking:
        plain = await speaking.chat.complete_async(**ASKED, reasoning_effort="none")
        thought = await speaking.chat.complete_async(**ASKED, reasoning_effort="high")
        (thinking, said) = thought.choices[0].message.content
        assert (thinking.type, said.type) == ("thinking", "text")
        assert said.text == plain.choices[0].message.content
        assert thought.usage.completion_tokens > plain.usage.completion_tokens
        assert (await last_line(client))["output"] == thought.usage.completion_tokens
        chunks = await streamed(speaking, prompt_mode="reasoning")
        thoughts = [c.choices[0].delta.content[0] for c in chunks if isinstance(c.choices[0].delta.content, list)]
        assert "".join(each.thinking[0].text for each in thoughts) == thinking.thinking[0].text


async def test_tools(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as speaking:
        whole = await speaking.chat.complete_async(**ASKED, tools=[LOOK], tool_choice="any", reasoning_effort="high")
        (call,) = whole.choices[0].message.tool_calls
        assert (call.function.name, list(json.loads(call.function.arguments))) == ("look", ["city"])
        assert whole.choices[0].finish_reason == "tool_calls"
        unthought = await speaking.chat.complete_async(**ASKED, tools=[LOOK], tool_choice="any")
        assert unthought.usage == whole.usage, "a call is not thought about aloud"
        result = {"role": "tool", "tool_call_id": call.id, "name": "look", "content": "3"}
        more = await speaking.chat.complete_async(
            **ASKED | {"messages": [*TURNS, whole.choices[0].message, result]}, tools=[LOOK]
        )
        assert more.choices[0].finish_reason == "stop"
        chunks = await streamed(speaking, tools=[LOOK], tool_choice={"type": "function", "function": {"name": "look"}})
        (again,) = chunks[-1].choices[0].delta.tool_calls
        assert again.function.arguments == call.function.arguments


async def test_formats_lengths_choices_and_seeds(client: httpx2.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"depth": {"type": "integer"}}, "required": ["depth"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "fjord", "schema": schema, "strict": True}}
    async with sdk(client) as speaking:
        for form in (wanted, {"type": "json_object"}):
            found = await speaking.chat.complete_async(**ASKED, response_format=form)
            assert isinstance(json.loads(found.choices[0].message.content), dict)
        short = await speaking.chat.complete_async(**ASKED, max_tokens=3)
        assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
        sampled = ASKED | {"temperature": 0.7}
        two = await speaking.chat.complete_async(**sampled, n=2)
        assert two.choices[0].message.content != two.choices[1].message.content
        seeded = [await speaking.chat.complete_async(**sampled, random_seed=7) for _ in range(2)]
        assert seeded[0].choices[0].message.content == seeded[1].choices[0].message.content
    chunks = frames((await post(client, n=2, stream=True)).text)[:-1]
    assert {chunk["choices"][0]["index"] for chunk in chunks} == {0, 1}
    assert sum("usage" in chunk for chunk in chunks) == 1


async def test_pictures_cost_tokens(client: httpx2.AsyncClient) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    content = [{"type": "text", "text": "look"}, picture, picture]
    async with sdk(client) as speaking:
        found = await speaking.chat.complete_async(model=MODEL, messages=[{"role": "user", "content": content}])
    assert found.usage.prompt_tokens > 2 * 85


async def test_embeddings(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as speaking:
        found = await speaking.embeddings.create_async(model="mistral-embed", inputs=["a", "b"])
        assert [len(each.embedding) for each in found.data] == [1024, 1024]
        assert found.data[0].embedding != found.data[1].embedding
        assert (await last_line(client))["input"] == found.usage.prompt_tokens > 0
        short = await speaking.embeddings.create_async(model="codestral-embed", inputs="a", output_dimension=16)
        assert len(short.data[0].embedding) == 16
        with pytest.raises(errors.SDKError, match="at most 1024"):
            await speaking.embeddings.create_async(model="mistral-embed", inputs="a", output_dimension=2000)


async def test_models(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as speaking:
        listed = await speaking.models.list_async()
        assert {"mistral-small-latest", "mistral-embed"} <= {model.id for model in listed.data}
        assert all(model.type == "base" for model in listed.data)
        one = await speaking.models.retrieve_async(model_id="mistral-embed")
        assert (one.id, one.capabilities.completion_chat) == ("mistral-embed", False)
        with pytest.raises(errors.SDKError) as missing:
            await speaking.models.retrieve_async(model_id="does-not-exist")
        assert missing.value.status_code == 404


async def test_a_strict_sandbox_knows_its_models_only(opened: Open) -> None:
    async with opened(strict=True) as client:
        assert (await post(client)).status_code == 200
        assert (await post(client, model="gpt-4o-mini")).json()["code"] == "1500"
    async with opened(strict=True, models=["own"]) as client:
        assert (await post(client, model="own")).status_code == 200
        listed = (await client.get("/mistral/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["own"]


@pytest.mark.parametrize(
    ("fields", "kind", "place"),
    [
        ({"max_completion_tokens": 5}, "extra_forbidden", ["max_completion_tokens"]),
        ({"stream_options": {"include_usage": True}}, "extra_forbidden", ["stream_options"]),
        ({"user": "u"}, "extra_forbidden", ["user"]),
        ({"temperature": 1.6}, "value_error", ["temperature"]),
        ({"random_seed": -1}, "value_error", ["random_seed"]),
        ({"messages": []}, "value_error", ["messages"]),
        ({"messages": [{"role": "developer", "content": "x"}]}, "value_error", ["messages", 0, "role"]),
        ({"messages": [{"role": "user", "content": "x", "name": "bob"}]}, "extra_forbidden", ["messages", 0, "name"]),
        ({"messages": [{"role": "user"}]}, "missing", ["messages", 0, "content"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
            "extra_forbidden",
            ["messages", 0, "content", 0, "cache_control"],
        ),
        ({"tools": [{"function": {"name": "f"}}]}, "missing", ["tools", 0, "function", "parameters"]),
        ({"response_format": {"type": "json_schema"}}, "missing", ["response_format", "json_schema"]),
        ({"service_tier": "flex"}, "value_error", ["service_tier"]),
    ],
)
async def test_it_is_strict_about_parameters(
    client: httpx2.AsyncClient, fields: dict[str, Any], kind: str, place: list[str | int]
) -> None:
    answer = await post(client, **fields)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["type"] == kind
    assert problem["loc"] == ["body", *place]
    assert (await last_line(client))["outcome"] == "refused"


async def test_a_body_that_is_no_json(client: httpx2.AsyncClient) -> None:
    for body in (b"{", b"", b"\xff", b'{"metadata":{"a":' + b"[" * 100_000):
        answer = await client.post(CHAT, content=body)
        assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "json_invalid")


CALL = {"type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "kind", "words"),
    [
        ([*TURNS, {"role": "assistant", "content": "It is"}], "invalid_request_message_order", "got assistant"),
        ([{"role": "system", "content": "x"}], "invalid_request_message_order", "got system"),
        ([*TURNS, {"role": "assistant"}, TURNS[1]], "invalid_request_error", "but not none"),
        ([{"role": "assistant", "tool_calls": [CALL | {"id": "call_1"}]}, TURNS[1]], "invalid_function_call", "call_1"),
        ([{"role": "tool", "tool_call_id": "x", "content": "1"}], "invalid_function_call", "length of 9"),
    ],
)
async def test_it_is_strict_about_turns(client: httpx2.AsyncClient, messages: list[Any], kind: str, words: str) -> None:
    answer = await post(client, messages=messages)
    error = answer.json()
    assert (answer.status_code, error["object"], error["type"]) == (400, "error", kind)
    assert words in error["message"]


async def test_an_assistant_may_be_gone_on_with(client: httpx2.AsyncClient) -> None:
    begun = {"role": "assistant", "content": "It is", "prefix": True}
    assert (await post(client, messages=[*TURNS, begun])).status_code == 200


async def test_keys_and_models_as_the_sdk_sees_them(client: httpx2.AsyncClient) -> None:
    async with sdk(client, "invalid") as speaking:
        with pytest.raises(errors.SDKError) as wrong:
            await speaking.chat.complete_async(**ASKED)
        assert wrong.value.status_code == 401
    async with sdk(client) as speaking:
        with pytest.raises(errors.SDKError, match="Invalid model: does-not-exist"):
            await speaking.chat.complete_async(**ASKED | {"model": "does-not-exist"})
        with pytest.raises(errors.HTTPValidationError) as invalid:
            await speaking.chat.complete_async(**ASKED | {"temperature": 9})
        assert invalid.value.data.detail is not None
        assert invalid.value.data.detail[0].loc == ["body", "temperature"]


async def test_limits_by_the_minute(opened: Open) -> None:
    async with opened(requests_per_minute=2, tokens_per_minute=1000) as client:
        answer = await post(client)
        named = {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit")}
        assert named == {
            "x-ratelimit-limit-req-minute": "2",
            "x-ratelimit-remaining-req-minute": "1",
            "x-ratelimit-limit-tokens-minute": "1000",
            "x-ratelimit-remaining-tokens-minute": "1000",
        }
        await post(client)
        late = await post(client)
        assert (late.status_code, late.json()["object"]) == (429, "error")
        assert int(late.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/mistral/v1/responses", "/mistral/v1/batches", "/mistral/v2/models"])
async def test_what_it_does_not_serve(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


# Faults bend its answers as any dialect's


async def test_an_error_status(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "status", "status": 429, "retry_after": 3, "code": "1300", "message": "slow"})
    async with sdk(client) as speaking:
        with pytest.raises(errors.SDKError, match="slow") as refused:
            await speaking.chat.complete_async(**ASKED)
    assert refused.value.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({"kind": "no_done"}, (True, False)),
        ({"kind": "no_done", "finish": False}, (False, False)),
        ({"kind": "error_frame", "after": 2}, (False, False)),
        ({"kind": "wrong_shape"}, (False, True)),
    ],
)
async def test_a_stream_that_goes_wrong(
    client: httpx2.AsyncClient, rule: dict[str, Any], seen: tuple[bool, bool]
) -> None:
    await switch_on(client, rule | {"match": {"provider": "mistral", "endpoint": "chat", "model": MODEL}})
    found = frames((await post(client, stream=True)).text)
    finished = any(c != "[DONE]" and c.get("choices") and c["choices"][0]["finish_reason"] for c in found)
    assert (finished, found[-1] == "[DONE]") == seen
    assert (await last_line(client))["outcome"] == "cut"


async def test_an_error_frame_is_mistrals(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "error_frame", "after": 3, "message": "overloaded", "code": "3505"})
    found = frames((await post(client, stream=True)).text)
    assert len(found) == 4
    assert (found[-1]["object"], found[-1]["message"], found[-1]["code"]) == ("error", "overloaded", "3505")


@pytest.mark.parametrize("kind", ["cut_stream", "cut_body", "drop"])
async def test_a_connection_that_breaks(client: httpx2.AsyncClient, kind: str) -> None:
    await switch_on(client, {"kind": kind})
    with pytest.raises(httpx2.RemoteProtocolError):
        await post(client, stream=kind == "cut_stream")


@pytest.mark.parametrize("kind", ["malformed_body", "empty_body"])
async def test_a_body_that_is_none(client: httpx2.AsyncClient, kind: str) -> None:
    await switch_on(client, {"kind": kind})
    async with sdk(client) as speaking:
        with pytest.raises(errors.ResponseValidationError):
            await speaking.chat.complete_async(**ASKED)
