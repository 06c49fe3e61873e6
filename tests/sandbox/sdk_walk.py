"""Walks the official openai SDK (2.x or 3.x, sync and async) through a server that claims to speak its dialect.

    python sdk_walk.py BASE_URL [SANDBOX_URL]

BASE_URL ends in `/v1`. With SANDBOX_URL (the sandbox that is or stands behind BASE_URL) faults are switched on too.
Prints one line per step; exits 1 at the first that fails. Needs nothing but the SDK.
"""

import asyncio
import json
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import openai
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
TURNS: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a fjord?"}]
CHAT: Any = {"model": MODEL, "messages": TURNS, "temperature": 0}
TOOLS: Any = [
    {
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
]


class Fjord(BaseModel):
    """What `parse` is asked for."""

    name: str
    depth: int
    arms: list[str]


def say(step: str) -> None:
    print("ok", step, flush=True)


def check_refusal(error: openai.APIStatusError, status: int, param: str | None) -> None:
    assert error.status_code == status, error
    assert error.param == param, error.body
    assert isinstance(error.body, dict), error.body
    assert {"message", "type", "param", "code"} <= set(error.body), error.body


def walk_chat(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**CHAT)
    text = whole.choices[0].message.content
    assert text and whole.choices[0].finish_reason == "stop" and whole.usage and whole.usage.total_tokens > 0
    say("chat.create")
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[-1].usage == whole.usage, (chunks[-1].usage, whole.usage)
    say("chat.create stream")
    with client.chat.completions.stream(**CHAT) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_completion().choices[0].message.content == text
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    say("chat.stream")
    parsed = client.chat.completions.parse(**CHAT, response_format=Fjord).choices[0].message.parsed
    assert isinstance(parsed, Fjord) and parsed.arms
    with client.chat.completions.stream(**CHAT, response_format=Fjord) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed
    say("chat.parse and chat.stream of a pydantic model")


def walk_tools(client: openai.OpenAI) -> None:
    answer: Any = client.chat.completions.create(**CHAT, tools=TOOLS, tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "look" and "city" in json.loads(call.function.arguments)
    with client.chat.completions.stream(**CHAT, tools=TOOLS, tool_choice="required") as stream:
        events = list(stream)
        final: Any = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == call.function.arguments
    assert any(event.type == "tool_calls.function.arguments.done" for event in events)
    say("tools")


def walk_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=16)
    plain = client.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], dimensions=16, encoding_format="float"
    )
    assert [len(each.embedding) for each in answer.data] == [16, 16]
    gaps = [abs(x - y) for x, y in zip(answer.data[0].embedding, plain.data[0].embedding, strict=True)]
    assert max(gaps) < 1e-6
    say("embeddings")


def walk_responses(client: openai.OpenAI) -> None:
    asked: Any = {"model": MODEL, "input": "What is a fjord?", "temperature": 0}
    whole = client.responses.create(**asked)
    assert whole.output_text and whole.status == "completed" and whole.usage
    events = list(client.responses.create(**asked, stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    with client.responses.stream(**asked) as stream:
        final = stream.until_done().get_final_response()
    assert final.output_text == whole.output_text
    parsed = client.responses.parse(**asked, text_format=Fjord).output_parsed
    assert isinstance(parsed, Fjord)
    say("responses")


def walk_models(client: openai.OpenAI) -> None:
    assert MODEL in {model.id for model in client.models.list()}
    assert client.models.retrieve(MODEL).id == MODEL
    say("models")


def walk_errors(client: openai.OpenAI) -> None:
    for status, call, param in refusals(client):
        try:
            call()
        except openai.APIStatusError as error:
            check_refusal(error, status, param)
        else:
            raise AssertionError(f"no {status}")
    say("errors 400, 404")


def refusals(client: Any) -> list[tuple[int, Callable[[], Any], str | None]]:
    create = client.chat.completions.create
    return [
        (400, lambda: create(model=MODEL, messages=TURNS, temperature=9), "temperature"),
        (400, lambda: create(model=MODEL, messages=[]), "messages"),
        (404, lambda: create(model="does-not-exist", messages=TURNS), None),
    ]


def walk_wrong_key(client: openai.OpenAI) -> None:
    try:
        client.with_options(api_key="invalid").chat.completions.create(**CHAT)
    except openai.AuthenticationError as error:
        check_refusal(error, 401, None)
    else:
        raise AssertionError("no 401")
    say("error 401")


def switch_on(sandbox: str, *rules: dict[str, Any]) -> None:
    data = json.dumps(rules).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{sandbox}/sandbox/faults", data, method="POST")):
        pass


def walk_faults(client: openai.OpenAI, sandbox: str) -> None:
    switch_on(sandbox, {"kind": "status", "status": 429, "retry_after": 0.2, "count": 2})
    assert client.with_options(max_retries=2).chat.completions.create(**CHAT).choices
    switch_on(sandbox, {"kind": "status", "status": 429, "retry_after": 7, "code": "slow_down"})
    try:
        client.chat.completions.create(**CHAT)
    except openai.RateLimitError as error:
        check_refusal(error, 429, None)
        assert error.response.headers["retry-after"] == "7"
        assert error.code == "slow_down"
    else:
        raise AssertionError("no 429")
    say("429: retried after Retry-After, and raised")
    switch_on(sandbox, {"kind": "error_frame", "code": "overloaded"})
    try:
        list(client.chat.completions.create(**CHAT, stream=True))
    except openai.APIError as error:
        assert error.code == "overloaded"
    else:
        raise AssertionError("no error in the stream")
    say("error frame")


async def walk_async(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(**CHAT)
    chunks = [chunk async for chunk in await client.chat.completions.create(**CHAT, stream=True)]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    parsed = (await client.chat.completions.parse(**CHAT, response_format=Fjord)).choices[0].message.parsed
    async with client.chat.completions.stream(**CHAT, response_format=Fjord) as stream:
        assert (await stream.get_final_completion()).choices[0].message.parsed == parsed
    asked: Any = {"model": MODEL, "input": "What is a fjord?", "temperature": 0}
    async with client.responses.stream(**asked) as events:
        final = await events.get_final_response()
    assert final.output_text == (await client.responses.create(**asked)).output_text
    assert (await client.embeddings.create(model="text-embedding-3-small", input="a")).data[0].embedding
    assert [model.id async for model in client.models.list()]
    assert (await client.models.retrieve(MODEL)).id == MODEL
    await walk_errors_async(client)
    many = await asyncio.gather(*(client.chat.completions.create(**CHAT) for _ in range(20)))
    assert {each.choices[0].message.content for each in many} == {whole.choices[0].message.content}
    say("async: chat, parse, stream, responses, embeddings, models, errors, 20 at once")


async def walk_errors_async(client: openai.AsyncOpenAI) -> None:
    calls: list[tuple[int, Callable[[], Awaitable[Any]], str | None]] = refusals(client)
    for status, call, param in calls:
        try:
            await call()
        except openai.APIStatusError as error:
            check_refusal(error, status, param)
        else:
            raise AssertionError(f"no {status}")


async def open_and_walk_async(base: str) -> None:
    async with openai.AsyncOpenAI(base_url=base, api_key="sk-walk", max_retries=0) as client:
        await walk_async(client)


def main(base: str, sandbox: str | None = None) -> None:
    print("openai", openai.__version__)
    with openai.OpenAI(base_url=base, api_key="sk-walk", max_retries=0) as client:
        walk_chat(client)
        walk_tools(client)
        walk_embeddings(client)
        walk_responses(client)
        walk_models(client)
        walk_errors(client)
        if sandbox:
            walk_wrong_key(client)
            walk_faults(client, sandbox)
    asyncio.run(open_and_walk_async(base))
    say("walked")


if __name__ == "__main__":
    main(*sys.argv[1:])
