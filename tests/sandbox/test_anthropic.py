"""The sandbox as Anthropic: the official SDK over real HTTP, both versions of the API, every fault, and the bill."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import pytest
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import last_line, ledger, switch_on

from batchway.sandbox import count_roughly

MODEL = "claude-sonnet-5-5"
OLD, NEW = "2023-06-01", "2026-10-21"
LOOK: Any = {
    "name": "look",
    "description": "Looks up a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def asked(text: str = "What is a fjord?", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": text}]} | fields


def repeatable(text: str = "What is a fjord?", **fields: Any) -> dict[str, Any]:
    """A message that asks for a repeatable answer, which only the old version can."""
    return asked(text, extra_headers={"anthropic-version": OLD}, extra_body={"temperature": 0}) | fields


@asynccontextmanager
async def open_sdk(client: httpx2.AsyncClient, key: str = "sk-ant-9876") -> AsyncIterator[anthropic.AsyncAnthropic]:
    base = f"{str(client.base_url).rstrip('/')}/anthropic"
    async with anthropic.AsyncAnthropic(api_key=key, base_url=base, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def sdk(client: httpx2.AsyncClient) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with open_sdk(client) as opened:
        yield opened


async def refused(sdk: anthropic.AsyncAnthropic, **fields: Any) -> anthropic.APIStatusError:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await sdk.messages.create(**asked(**fields))
    error = caught.value
    assert error.request_id
    assert isinstance(error.body, dict)
    assert error.body["type"] == "error"
    assert error.body["request_id"] == error.request_id
    return error


# Whole and streamed


async def test_an_answer(sdk: anthropic.AsyncAnthropic, client: httpx2.AsyncClient) -> None:
    message = await sdk.messages.create(**repeatable())
    assert (message.type, message.role, message.model, message.stop_reason) == (
        "message",
        "assistant",
        MODEL,
        "end_turn",
    )
    (block,) = message.content
    assert block.type == "text"
    assert "What is a fjord?" in block.text
    assert message._request_id
    line = await last_line(client)
    assert (line["provider"], line["endpoint"], line["model"], line["key"]) == ("anthropic", "messages", MODEL, "9876")
    assert (line["input"], line["output"], line["cached"], line["tier"]) == (
        message.usage.input_tokens,
        message.usage.output_tokens,
        0,
        "standard",
    )
    assert message.usage.output_tokens == count_roughly(block.text)
    assert (await sdk.messages.create(**repeatable())).content == message.content
    assert (await sdk.messages.create(**asked())).content != (await sdk.messages.create(**asked())).content


async def test_a_stream_adds_up_to_the_answer(sdk: anthropic.AsyncAnthropic, client: httpx2.AsyncClient) -> None:
    fields = repeatable(thinking={"type": "adaptive"}, stop_sequences=["|"])
    whole = await sdk.messages.create(**fields)
    async with sdk.messages.stream(**fields) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_message()
    assert [shown(block) for block in streamed.content] == [shown(block) for block in whole.content]
    assert (streamed.stop_reason, streamed.stop_sequence) == ("stop_sequence", "|")
    assert (streamed.usage.output_tokens, streamed.usage.input_tokens) == (
        whole.usage.output_tokens,
        whole.usage.input_tokens,
    )
    assert {"thinking", "signature", "text", "message_stop"} <= set(kinds)
    lines = (await ledger(client))["lines"]
    assert [line["stream"] for line in lines] == [False, True]
    assert len({(line["input"], line["output"]) for line in lines}) == 1


def shown(block: Any) -> dict[str, Any]:
    return {name: value for name, value in block.to_dict().items() if name != "parsed_output"}


async def test_events_as_they_are(client: httpx2.AsyncClient) -> None:
    headers = {"anthropic-version": NEW}
    answer = await client.post("/anthropic/v1/messages", json=asked(stream=True), headers=headers)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = [frame.split("\n") for frame in answer.text.rstrip("\n").split("\n\n")]
    events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in found]
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    begun = events[0][1]["message"]
    assert (begun["content"], begun["stop_reason"], begun["usage"]["output_tokens"]) == ([], None, 1)
    assert events[-2][1]["usage"]["output_tokens"] == (await last_line(client))["output"]


async def test_a_bound_cuts(sdk: anthropic.AsyncAnthropic) -> None:
    cut = await sdk.messages.create(**asked(max_tokens=5))
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 5)
    nothing = await sdk.messages.create(**asked(max_tokens=0))
    assert (nothing.stop_reason, nothing.content, nothing.usage.output_tokens) == ("max_tokens", [], 0)


async def test_structured_output(sdk: anthropic.AsyncAnthropic) -> None:
    schema = {"type": "object", "properties": {"depth": {"type": "integer"}}, "required": ["depth"]}
    message = await sdk.messages.create(**asked(output_config={"format": {"type": "json_schema", "schema": schema}}))
    (block,) = message.content
    assert block.type == "text"
    assert isinstance(json.loads(block.text)["depth"], int)


# Tools and thinking


async def test_a_turn_of_tools(sdk: anthropic.AsyncAnthropic) -> None:
    fields = asked("Weather in Bergen?", tools=[LOOK], tool_choice={"type": "any"})
    called = await sdk.messages.create(**fields)
    (use,) = called.content
    assert (called.stop_reason, use.type) == ("tool_use", "tool_use")
    assert use.type == "tool_use"
    assert use.name == "look"
    assert isinstance(use.input["city"], str)
    async with sdk.messages.stream(**fields) as stream:
        streamed = (await stream.get_final_message()).content[0]
    assert streamed.type == "tool_use"
    assert set(streamed.input) == {"city"}
    turns = [
        *fields["messages"],
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "It rains."}]},
    ]
    told = await sdk.messages.create(**asked(messages=turns, tools=[LOOK]))
    assert told.content[0].type == "text"
    assert "It rains." in told.content[0].text
    error = await refused(sdk, messages=turns[:2], tools=[LOOK])
    assert "`tool_use` ids were found without `tool_result`" in str(error.api_message)
    error = await refused(sdk, messages=[turns[2]], tools=[LOOK])
    assert "unexpected `tool_use_id`" in str(error.api_message)
    late = {"role": "user", "content": [{"type": "text", "text": "Well?"}, turns[2]["content"][0]]}
    error = await refused(sdk, messages=[*turns[:2], late], tools=[LOOK])
    assert "must come first" in str(error.api_message)


async def test_thinking_is_signed_and_wanted_back(sdk: anthropic.AsyncAnthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    fields = asked(max_tokens=2000, thinking=thinking, tools=[LOOK])
    thought = (await sdk.messages.create(**fields)).content[0]
    assert thought.type == "thinking"
    assert thought.thinking
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"city": "Bergen"}}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]}

    def continued(*content: Any) -> dict[str, Any]:
        return fields | {"messages": [*fields["messages"], {"role": "assistant", "content": content}, result]}

    assert (await sdk.messages.create(**continued(thought, use))).content[-1].type == "text"
    error = await refused(sdk, **continued(use))
    assert "Expected `thinking`" in str(error.api_message)
    forged = {"type": "thinking", "thinking": "something else", "signature": thought.signature}
    error = await refused(sdk, **continued(forged, use))
    assert "Invalid `signature`" in str(error.api_message)


async def test_thinking_counts_and_may_be_kept_silent(sdk: anthropic.AsyncAnthropic) -> None:
    silent: Any = {"type": "adaptive", "display": "omitted"}
    message = await sdk.messages.create(**asked(thinking=silent))
    thought = message.content[0]
    assert thought.type == "thinking"
    assert (thought.thinking, bool(thought.signature)) == ("", True)
    details = message.usage.output_tokens_details
    assert details is not None
    assert 0 < details.thinking_tokens < message.usage.output_tokens


# Refusals


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"max_tokens": -1}, "max_tokens: "),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "messages.0.content.0.text: "),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages.0.content.0.type: "),
        ({"messages": [{"role": "user", "content": "x", "name": "ann"}]}, "messages.0.name: Extra inputs"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role: a system message must follow"),
        ({"extra_body": {"n": 1}}, "n: Extra inputs are not permitted"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: may only be specified while providing tools"),
        ({"tools": [LOOK], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
        ({"tools": [{"name": "x", "input_schema": {}}]}, "tools.0.custom.input_schema.type: "),
        ({"tools": [{"name": "x"}]}, "tools.0.custom.input_schema: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens: "),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "`max_tokens` must be greater"),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "max_tokens": 2000,
                "tools": [LOOK],
                "tool_choice": {"type": "any"},
            },
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
    ],
)
async def test_bad_requests(sdk: anthropic.AsyncAnthropic, fields: dict[str, Any], says: str) -> None:
    error = await refused(sdk, **fields)
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert str(error.api_message).startswith(says), error.api_message


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
async def test_sampling_is_of_the_old_version(sdk: anthropic.AsyncAnthropic, name: str) -> None:
    sampled: dict[str, Any] = {"extra_body": {name: 1}}
    await sdk.messages.create(**asked(**sampled, extra_headers={"anthropic-version": OLD}))
    error = await refused(sdk, **sampled, extra_headers={"anthropic-version": NEW})
    assert error.api_message == f"{name}: Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"anthropic-version": NEW, "x-api-key": "k"}, 200, None),
        ({"anthropic-version": NEW, "authorization": "Bearer k"}, 200, None),
        ({"anthropic-version": NEW, "authorization": "Bearer k", "x-api-key": "k"}, 400, "invalid_request_error"),
        ({"anthropic-version": NEW}, 401, "authentication_error"),
        ({"anthropic-version": NEW, "authorization": "Basic k"}, 401, "authentication_error"),
        ({"anthropic-version": NEW, "x-api-key": "invalid"}, 401, "authentication_error"),
        ({"x-api-key": "k"}, 400, "invalid_request_error"),
        ({"anthropic-version": "2020-01-01", "x-api-key": "k"}, 400, "invalid_request_error"),
    ],
)
async def test_key_and_version(
    client: httpx2.AsyncClient, headers: dict[str, str], status: int, kind: str | None
) -> None:
    async with httpx2.AsyncClient(base_url=client.base_url) as bare:
        answer = await bare.post("/anthropic/v1/messages", json=asked(), headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["request-id"].startswith("req_")
    assert answer.json().get("error", {}).get("type") == kind
    assert (await last_line(client))["outcome"] == ("completed" if status == 200 else "refused")


async def test_what_is_not_json_and_what_is_nowhere(client: httpx2.AsyncClient) -> None:
    headers = {"anthropic-version": NEW}
    answer = await client.post("/anthropic/v1/messages", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    nowhere = await client.get("/anthropic/v1/nowhere", headers=headers)
    assert (nowhere.status_code, nowhere.json()["error"]["type"]) == (404, "not_found_error")


async def test_models(sdk: anthropic.AsyncAnthropic, opened: Open) -> None:
    names = [model.id async for model in sdk.models.list(limit=3)]
    assert len(names) == len(set(names)) > 3
    assert (await sdk.models.retrieve("claude-of-my-own")).id == "claude-of-my-own"
    assert (await refused(sdk, model="does-not-exist")).status_code == 404
    with pytest.raises(anthropic.NotFoundError):
        await sdk.models.retrieve("does-not-exist")
    with pytest.raises(anthropic.BadRequestError):
        await sdk.models.list(limit=0)
    async with opened(strict=True, models=("claude-of-my-own",)) as client, open_sdk(client) as strict:
        assert [model.id async for model in strict.models.list()] == [*names, "claude-of-my-own"]
        assert (await refused(strict, model="claude-unheard-of")).status_code == 404
        assert await strict.messages.create(**asked(model="claude-of-my-own"))
        assert await strict.messages.create(**asked())


# Limits and caches


async def test_rate_limits_per_key(opened: Open) -> None:
    limited = opened(requests_per_minute=2, tokens_per_minute=10_000, now=lambda: 1_790_000_030.0)
    async with limited as client, open_sdk(client) as sdk:
        raw = await sdk.messages.with_raw_response.create(**asked())
        named = {name: value for name, value in raw.headers.items() if name.startswith("anthropic-ratelimit")}
        assert named == {
            "anthropic-ratelimit-requests-limit": "2",
            "anthropic-ratelimit-requests-remaining": "1",
            "anthropic-ratelimit-requests-reset": "2026-09-21T14:14:00Z",
            "anthropic-ratelimit-tokens-limit": "10000",
            "anthropic-ratelimit-tokens-remaining": "10000",
            "anthropic-ratelimit-tokens-reset": "2026-09-21T14:14:00Z",
        }
        await sdk.messages.create(**asked())
        error = await refused(sdk)
        assert (error.status_code, error.type) == (429, "rate_limit_error")
        assert error.response.headers["retry-after"] == "10"


async def test_a_marked_beginning_is_cached_per_key_and_for_a_while(opened: Open) -> None:
    now = [1_790_000_000.0]
    marked: Any = [{"type": "text", "text": "word " * 2000, "cache_control": {"type": "ephemeral"}}]

    async def ask(sdk: anthropic.AsyncAnthropic, **fields: Any) -> tuple[int, int, int]:
        usage = (await sdk.messages.create(**asked(**({"system": marked} | fields)))).usage
        return usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0, usage.input_tokens

    async with opened(now=lambda: now[0]) as client, open_sdk(client) as sdk, open_sdk(client, "sk-other") as other:
        written, read, rest = await ask(sdk)
        assert written > 2000
        assert (read, rest < 20) == (0, True)
        line = await last_line(client)
        assert (line["input"], line["cached"], line["written"]) == (written + rest, 0, written)
        assert await ask(sdk, text="What is a canal?") == (0, written, rest)
        line = await last_line(client)
        assert (line["input"], line["cached"], line.get("written")) == (written + rest, written, None)
        assert await ask(other) == (written, 0, rest), "what one key keeps serves no other"
        assert await ask(sdk, model="claude-haiku-5-5") == (written, 0, rest)
        assert await ask(sdk, system=[marked[0] | {"text": "word " * 1999 + "wort "}]) == (written, 0, rest)
        now[0] += 299
        assert await ask(sdk) == (0, written, rest), "a use prolongs it"
        now[0] += 299
        assert await ask(sdk) == (0, written, rest)
        now[0] += 301
        assert await ask(sdk) == (written, 0, rest)
        hour = [marked[0] | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        assert await ask(sdk, system=hour) == (0, written, rest)
        now[0] += 3599
        assert await ask(sdk) == (0, written, rest)
        short = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
        assert (await ask(sdk, system=short))[:2] == (0, 0), "too little to be kept"
        whole = await ask(sdk, system="word " * 2000, cache_control={"type": "ephemeral"})
        assert whole[0] > written, "a mark at the top stands at the end"


async def test_what_is_kept_for_an_hour_is_told_and_billed_apart(opened: Open) -> None:
    """What is marked for five minutes after it is not a part of it, and what was read is written by neither."""
    long: Any = {"type": "text", "text": "word " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    short: Any = {"type": "text", "text": "wort " * 500, "cache_control": {"type": "ephemeral"}}

    async with opened() as client, open_sdk(client) as sdk:

        async def ask(*system: Any) -> tuple[int, int, int]:
            usage = (await sdk.messages.create(**asked(system=list(system)))).usage
            created, line = usage.cache_creation, await last_line(client)
            assert created is not None
            hour, minutes = created.ephemeral_1h_input_tokens, created.ephemeral_5m_input_tokens
            assert usage.cache_creation_input_tokens == hour + minutes == line.get("written", 0)
            assert line.get("written_hour", 0) == hour
            return hour, minutes, usage.cache_read_input_tokens or 0

        hour, minutes, read = await ask(long, short)
        assert hour > 2000 and 500 < minutes < 2000 and read == 0
        assert await ask(long, short) == (0, 0, hour + minutes)
        other = {**short, "text": "wart " * 500}
        assert await ask(long, other) == (0, minutes, hour)
        assert await ask({**long, "text": "ward " * 2000}) == (hour, 0, 0)


# Faults

STATUSES = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    529: (anthropic.OverloadedError, "overloaded_error"),
}


@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_as_the_sdk_knows_it(
    sdk: anthropic.AsyncAnthropic, client: httpx2.AsyncClient, status: int
) -> None:
    await switch_on(client, {"kind": "status", "status": status, "retry_after": 7, "code": "a_code"})
    with pytest.raises(STATUSES[status][0]) as caught:
        await sdk.messages.create(**asked())
    assert (caught.value.type, caught.value.error_code) == (STATUSES[status][1], "a_code")
    assert caught.value.response.headers["retry-after"] == "7"
    assert (await last_line(client))["outcome"] == "refused"


async def test_the_sdk_retries_an_overload(client: httpx2.AsyncClient, sdk: anthropic.AsyncAnthropic) -> None:
    await switch_on(client, {"kind": "status", "status": 529, "retry_after": 0.01, "count": 2})
    assert await sdk.with_options(max_retries=2).messages.create(**asked())


async def test_an_error_amid_a_stream(client: httpx2.AsyncClient, sdk: anthropic.AsyncAnthropic) -> None:
    await switch_on(client, {"kind": "error_frame", "status": 529, "after": 4, "message": "Overloaded"})
    seen = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        async for event in await sdk.messages.create(**asked(), stream=True):
            seen.append(event.type)  # noqa: PERF401 - what came before the error is wanted
    assert (caught.value.type, caught.value.api_message) == ("overloaded_error", "Overloaded")
    assert seen == ["message_start", "content_block_start", "content_block_delta"]
    line = await last_line(client)
    assert line["outcome"] == "cut"
    assert 0 < line["output"] < 20


async def test_a_stream_without_its_end(client: httpx2.AsyncClient) -> None:
    headers = {"anthropic-version": NEW}
    for finish, missing in ((True, ["message_stop"]), (False, ["message_stop", "message_delta"])):
        await switch_on(client, {"kind": "no_done", "finish": finish})
        answer = await client.post("/anthropic/v1/messages", json=asked(stream=True), headers=headers)
        names = {"message_start", "message_delta", "message_stop", "content_block_stop"}
        found = {line.removeprefix("event: ") for line in answer.text.split("\n") if line.startswith("event: ")}
        assert names - found == set(missing)


BREAKING: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "cut_body"},
    {"kind": "malformed_body"},
    {"kind": "empty_body"},
    {"kind": "wrong_shape"},
    {"kind": "oversized_body", "bytes": 10_000},
    {"kind": "cut_stream"},
    {"kind": "malformed_body"},
    {"kind": "slow_body", "bytes_per_second": 1e6},
    {"kind": "delay", "seconds": 0.01},
]


@pytest.mark.parametrize("stream", [False, True])
async def test_every_fault_bends_a_message(client: httpx2.AsyncClient, stream: bool) -> None:
    whole = asked(stream=stream)
    headers = {"anthropic-version": NEW}
    plain = (await client.post("/anthropic/v1/messages", json=whole, headers=headers)).text
    for rule in BREAKING:
        if rule["kind"] == ("cut_body" if stream else "cut_stream"):
            continue
        await switch_on(client, rule)
        try:
            text = (await client.post("/anthropic/v1/messages", json=whole, headers=headers)).text
        except httpx2.RemoteProtocolError:
            text = ""
        line = await last_line(client)
        assert line["faults"] == [rule["kind"]]
        harmless = rule["kind"] in ("slow_body", "delay")
        assert (line["outcome"] == "completed") is harmless, rule
        assert (abs(len(text) - len(plain)) < 20) is harmless, rule


async def test_a_client_that_leaves_pays_for_what_was_written(
    client: httpx2.AsyncClient, sdk: anthropic.AsyncAnthropic
) -> None:
    await switch_on(client, {"kind": "slow_body", "bytes_per_second": 2000})
    stream = await sdk.messages.create(**asked(), stream=True)
    async for event in stream:
        if event.type == "content_block_delta":
            break
    await stream.close()
    async with asyncio.timeout(10):
        while not (await ledger(client))["lines"]:
            await asyncio.sleep(0.01)
    line = await last_line(client)
    assert (line["outcome"], line["output"] < 60) == ("aborted", True)
