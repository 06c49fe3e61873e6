"""Gemini's side of the sandbox, as Google's own SDK (google-genai) sees it, and as its ledger books it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import last_line, ledger, switch_on

from batchway.sandbox import count_roughly
from batchway.sandbox.gemini.models import MODELS

MODEL = "gemini-3.8-flash"
EMBEDDING = "gemini-embedding-001"
ASKED = "What is a fjord?"
FIXED = types.GenerateContentConfig(temperature=0)


class Fjord(BaseModel):
    """What is asked for as JSON."""

    name: str
    depth: int


@asynccontextmanager
async def speak(
    client: httpx2.AsyncClient, *, key: str = "AIza-test-9876", version: str = "v1beta"
) -> AsyncIterator[Any]:
    """The SDK's asynchronous side, before the sandbox that this client speaks to."""
    async with httpx2.AsyncClient() as http:
        options = types.HttpOptions(
            base_url=f"{str(client.base_url).rstrip('/')}/gemini", api_version=version, httpx_async_client=http
        )
        yield genai.Client(api_key=key, http_options=options).aio.models


@pytest.fixture
async def models(client: httpx2.AsyncClient) -> AsyncIterator[Any]:
    """What the SDK calls its models."""
    async with speak(client) as spoken:
        yield spoken


async def pieces(models: Any, config: types.GenerateContentConfig = FIXED, contents: Any = ASKED) -> list[Any]:
    """The fragments of a stream."""
    stream = await models.generate_content_stream(model=MODEL, contents=contents, config=config)
    return [piece async for piece in stream]


def words(found: list[Any]) -> str:
    """What they say, thoughts left out."""
    return "".join(piece.text or "" for piece in found)


async def post(client: httpx2.AsyncClient, verb: str = "generateContent", **fields: Any) -> httpx2.Response:
    """These very fields, with no SDK between."""
    body = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]} | fields
    headers = {"x-goog-api-key": "AIza-test-9876"}
    return await client.post(f"/gemini/v1beta/models/{MODEL}:{verb}", json=body, headers=headers)


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_whole_and_streamed_say_the_same(client: httpx2.AsyncClient, version: str) -> None:
    async with speak(client, version=version) as models:
        whole = await models.generate_content(model=MODEL, contents=ASKED, config=FIXED)
        line = await last_line(client)
        found = await pieces(models)
    assert whole.text.startswith("Echo ")
    assert ASKED in whole.text
    assert whole.candidates[0].finish_reason == types.FinishReason.STOP
    assert whole.model_version == MODEL
    assert whole.response_id
    usage = whole.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (line["input"], line["output"])
    assert usage.total_token_count == line["input"] + line["output"]
    assert usage.candidates_token_count == count_roughly(whole.text)
    assert words(found) == whole.text
    assert len(found) > 3
    assert found[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert found[-1].usage_metadata == usage
    assert [each.candidates[0].finish_reason for each in found[:-1]] == [None] * (len(found) - 1)
    counts = [each.usage_metadata.candidates_token_count for each in found]
    assert counts == sorted(counts), "usage is what was spent so far"


async def test_events_end_in_crlf(client: httpx2.AsyncClient) -> None:
    answer = await post(client, "streamGenerateContent?alt=sse")
    assert answer.headers["content-type"] == "text/event-stream"
    events = answer.content.split(b"\r\n\r\n")
    assert events.pop() == b""
    assert all(event.startswith(b"data: {") and b"\n" not in event for event in events)
    assert b"[DONE]" not in answer.content
    assert (await post(client, "streamGenerateContent")).status_code == 400


@pytest.mark.parametrize("tier", ["flex", "priority", "standard"])
async def test_the_tier_is_served_and_booked(client: httpx2.AsyncClient, models: Any, tier: str) -> None:
    config = types.GenerateContentConfig(service_tier=types.ServiceTier(tier))
    answer = await models.generate_content(model=MODEL, contents=ASKED, config=config)
    assert answer.sdk_http_response.headers["x-gemini-service-tier"] == tier
    line = await last_line(client)
    assert (line["lane"], line["tier"]) == ("flex" if tier == "flex" else "direct", tier)
    assert (line["provider"], line["endpoint"], line["model"], line["key"]) == ("gemini", "chat", MODEL, "9876")


async def test_the_system_instruction_is_read_and_counted(models: Any) -> None:
    told = types.GenerateContentConfig(temperature=0, system_instruction="Be brief.")
    one = await models.generate_content(model=MODEL, contents=ASKED, config=FIXED)
    other = await models.generate_content(model=MODEL, contents=ASKED, config=told)
    assert one.text != other.text
    assert other.usage_metadata.prompt_token_count > one.usage_metadata.prompt_token_count


async def test_sampling_differs_and_a_seed_repeats(models: Any) -> None:
    async def say(config: types.GenerateContentConfig) -> str:
        return str((await models.generate_content(model=MODEL, contents=ASKED, config=config)).text)

    assert await say(FIXED) == await say(FIXED)
    assert await say(types.GenerateContentConfig()) != await say(types.GenerateContentConfig())
    assert await say(types.GenerateContentConfig(seed=3)) == await say(types.GenerateContentConfig(seed=3))


async def test_candidates_limits_and_logprobs(client: httpx2.AsyncClient, models: Any) -> None:
    config = types.GenerateContentConfig(candidate_count=2, max_output_tokens=5, response_logprobs=True, logprobs=1)
    answer = await models.generate_content(model=MODEL, contents=ASKED, config=config)
    assert [each.index for each in answer.candidates] == [0, 1]
    assert {each.finish_reason for each in answer.candidates} == {types.FinishReason.MAX_TOKENS}
    chosen = answer.candidates[0].logprobs_result.chosen_candidates
    assert "".join(each.token for each in chosen) == answer.candidates[0].content.parts[0].text
    assert (await last_line(client))["output"] == answer.usage_metadata.candidates_token_count <= 10


@pytest.mark.parametrize("kind", ["pydantic", "json schema", "no schema"])
async def test_structured_output(models: Any, kind: str) -> None:
    schemas: dict[str, dict[str, Any]] = {
        "pydantic": {"response_schema": Fjord},
        "json schema": {"response_json_schema": Fjord.model_json_schema()},
    }
    schema = schemas.get(kind, {})
    config = types.GenerateContentConfig(temperature=0, response_mime_type="application/json", **schema)
    answer = await models.generate_content(model=MODEL, contents=ASKED, config=config)
    assert set(json.loads(answer.text)) == ({"answer"} if kind == "no schema" else {"name", "depth"})
    if kind == "pydantic":
        assert isinstance(answer.parsed, Fjord)


async def test_thoughts_are_counted_and_shown_where_asked(client: httpx2.AsyncClient, models: Any) -> None:
    for shown in (True, False):
        thinking = types.ThinkingConfig(include_thoughts=shown, thinking_level=types.ThinkingLevel.LOW)
        config = types.GenerateContentConfig(temperature=0, thinking_config=thinking)
        answer = await models.generate_content(model=MODEL, contents=ASKED, config=config)
        usage = answer.usage_metadata
        assert usage.thoughts_token_count > 0
        assert [bool(part.thought) for part in answer.candidates[0].content.parts] == (
            [True, False] if shown else [False]
        )
        assert (await last_line(client))["output"] == usage.thoughts_token_count + usage.candidates_token_count
        found = await pieces(models, config)
        assert any(part.thought for each in found for part in each.candidates[0].content.parts) == shown
        assert found[-1].usage_metadata == usage
    off = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=0))
    answer = await models.generate_content(model=MODEL, contents=ASKED, config=off)
    assert answer.usage_metadata.thoughts_token_count is None


def look(city: str) -> str:
    """Look up the weather of a city."""
    return f"rain in {city}"


def calling(**fields: Any) -> types.GenerateContentConfig:
    """A call must be made; the SDK itself calls nothing."""
    mode = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
    return types.GenerateContentConfig(
        temperature=0,
        tools=[look],
        tool_config=types.ToolConfig(function_calling_config=mode),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        **fields,
    )


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_turn_goes_on_with_its_signature(models: Any, streamed: bool) -> None:
    if streamed:
        found = await pieces(models, calling())
        said = next(each.candidates[0].content for each in found if each.function_calls)
    else:
        said = (await models.generate_content(model=MODEL, contents=ASKED, config=calling())).candidates[0].content
    (part,) = said.parts
    assert part.function_call.name == "look"
    assert set(part.function_call.args) == {"city"}
    assert part.thought_signature
    result = types.Part.from_function_response(name="look", response={"output": "rain"})
    asked = types.Content(role="user", parts=[types.Part(text=ASKED)])
    given = types.Content(role="user", parts=[result])
    answer = await models.generate_content(model=MODEL, contents=[asked, said, given], config=FIXED)
    assert ASKED in answer.text

    async def refuse(turns: list[types.Content], message: str) -> None:
        with pytest.raises(errors.ClientError, match=message):
            await models.generate_content(model=MODEL, contents=turns, config=FIXED)

    await refuse([asked, said], "number of function response parts")
    part.thought_signature = b"another's"
    await refuse([asked, said, given], "Corrupted thought signature")
    part.thought_signature = None
    await refuse([asked, said, given], "missing a thought_signature")
    later = types.Content(role="user", parts=[types.Part(text="And now?")])
    await models.generate_content(model=MODEL, contents=[asked, said, given, later], config=FIXED)
    await models.generate_content(model="gemini-2.5-pro", contents=[asked, said, given], config=FIXED)


async def test_pictures_are_counted(models: Any) -> None:
    picture = types.Part.from_bytes(data=b"png", mime_type="image/png")
    answer = await models.generate_content(model=MODEL, contents=[ASKED, picture], config=FIXED)
    assert answer.usage_metadata.prompt_token_count == count_roughly(ASKED) + 258


async def test_a_blocked_prompt_has_no_candidates(client: httpx2.AsyncClient, models: Any) -> None:
    answer = await models.generate_content(model=MODEL, contents="a [blocked] question", config=FIXED)
    assert answer.candidates is None
    assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    line = await last_line(client)
    assert (line["output"], line["input"] > 0) == (0, True)
    (piece,) = await pieces(models, contents="a [blocked] question")
    assert piece.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


async def test_embeddings(client: httpx2.AsyncClient, models: Any) -> None:
    config = types.EmbedContentConfig(output_dimensionality=8)
    answer = await models.embed_content(model=EMBEDDING, contents=["a fjord", "a firth", "a fjord"], config=config)
    one, two, three = (each.values for each in answer.embeddings)
    assert one == three != two
    assert len(one) == 8
    assert sum(number**2 for number in one) == pytest.approx(1)
    line = await last_line(client)
    assert (line["endpoint"], line["input"], line["output"]) == ("embeddings", 6, 0)
    assert answer.usage_metadata.prompt_token_count == 6
    single = await client.post(
        f"/gemini/v1beta/models/{EMBEDDING}:embedContent",
        json={"content": {"parts": [{"text": "a fjord"}]}, "outputDimensionality": 8},
        headers={"x-goog-api-key": "k"},
    )
    assert single.json()["embedding"]["values"] == one
    assert len((await models.embed_content(model=EMBEDDING, contents="x")).embeddings[0].values) == 3072


async def test_models_and_tokens(client: httpx2.AsyncClient, models: Any) -> None:
    assert [each.name async for each in await models.list()] == [f"models/{name}" for name in MODELS]
    one = await models.get(model=MODEL)
    assert (one.name, "generateContent" in one.supported_actions) == (f"models/{MODEL}", True)
    counted = await models.count_tokens(model=MODEL, contents=ASKED)
    assert counted.total_tokens == count_roughly(ASKED)
    assert {line["endpoint"] for line in (await ledger(client))["lines"]} == {"models", "count_tokens"}
    assert (await ledger(client))["totals"]["input"] == 0


# Errors


async def test_keys(client: httpx2.AsyncClient) -> None:
    async with speak(client, key="invalid") as models:
        with pytest.raises(errors.ClientError) as refused:
            await models.generate_content(model=MODEL, contents=ASKED)
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert refused.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    path = f"/gemini/v1/models/{MODEL}"
    assert (await client.get(path)).status_code == 200, "the client's bearer is a key too"
    keyless = await client.get(path, headers={"authorization": ""})
    assert (keyless.status_code, keyless.json()["error"]["status"]) == (403, "PERMISSION_DENIED")


async def test_models_that_are_not_there(opened: Open) -> None:
    async with opened(strict=True, models=["mine"]) as client, speak(client) as models:
        assert [each.name async for each in await models.list()] == ["models/mine"]
        for ask in (models.generate_content(model="other", contents="x"), models.get(model="other")):
            with pytest.raises(errors.ClientError, match="models/other is not found") as refused:
                await ask
            assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"colour": 1}, 'Unknown name "colour"'),
        ({"contents": []}, "contents"),
        ({"contents": [{"parts": []}]}, "contents[0].parts"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "contents[0].role"),
        ({"generationConfig": {"temperature": 3}}, "generationConfig.temperature"),
        ({"generationConfig": {"stopSequences": list("abcdef")}}, "generationConfig.stopSequences"),
        ({"serviceTier": "fast"}, "serviceTier"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "needs a declared function"),
    ],
)
async def test_a_wrong_body_is_an_invalid_argument(
    client: httpx2.AsyncClient, fields: dict[str, Any], said: str
) -> None:
    answer = await post(client, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert said in error["message"]
    assert (await last_line(client))["outcome"] == "refused"


async def test_what_is_no_json_and_what_is_no_route(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"/gemini/v1/models/{MODEL}:generateContent", content=b"{")
    assert "Invalid JSON payload" in answer.json()["error"]["message"]
    for method, path in (("GET", "v2/models"), ("POST", f"v1/models/{MODEL}:fly"), ("POST", f"v1/models/{MODEL}")):
        answer = await client.request(method, f"/gemini/{path}")
        assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


async def test_limits_are_told_in_the_body_alone(opened: Open) -> None:
    async with opened(requests_per_minute=1, now=lambda: 30.0) as client, speak(client) as models:
        answer = await models.generate_content(model=MODEL, contents=ASKED)
        assert not any("ratelimit" in name for name in answer.sdk_http_response.headers)
        with pytest.raises(errors.ClientError) as refused:
            await models.generate_content(model=MODEL, contents=ASKED)
        assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
        assert refused.value.details["error"]["details"][-1]["retryDelay"] == "30s"
        assert "retry-after" not in refused.value.response.headers


# Faults: each kind bends this dialect too


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"kind": "status", "status": 503}, errors.ServerError),
        ({"kind": "status", "status": 500, "accepted": True}, errors.ServerError),
        ({"kind": "drop"}, httpx2.RemoteProtocolError),
        ({"kind": "drop", "accepted": True}, httpx2.RemoteProtocolError),
        ({"kind": "cut_body"}, httpx2.RemoteProtocolError),
        ({"kind": "malformed_body"}, json.JSONDecodeError),
    ],
)
async def test_faults_of_whole_answers(
    client: httpx2.AsyncClient, models: Any, rule: dict[str, Any], error: type[Exception]
) -> None:
    await switch_on(client, rule | {"match": {"provider": "gemini", "endpoint": "chat", "model": MODEL}})
    with pytest.raises(error):
        await models.generate_content(model=MODEL, contents=ASKED)
    line = await last_line(client)
    billed = rule.get("accepted", False) or rule["kind"] not in ("status", "drop")
    assert (line["faults"], line["output"] > 0) == ([rule["kind"]], billed)
    assert (await models.generate_content(model=MODEL, contents=ASKED)).text


@pytest.mark.parametrize(
    "rule",
    [{"kind": "delay", "seconds": 9}, {"kind": "slow_body", "bytes_per_second": 500}],
    ids=lambda rule: str(rule["kind"]),
)
async def test_what_is_late_is_whole(opened: Open, rule: dict[str, Any]) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with opened(sleep=sleep) as client, speak(client) as models:
        await switch_on(client, rule | {"count": 2})
        assert (await models.generate_content(model=MODEL, contents=ASKED, config=FIXED)).text == words(
            await pieces(models)
        )
    assert slept


async def test_a_cut_stream_bills_what_was_said(client: httpx2.AsyncClient, models: Any) -> None:
    await switch_on(client, {"kind": "cut_stream", "after": 3})
    found: list[Any] = []
    with pytest.raises(httpx2.RemoteProtocolError):
        async for piece in await models.generate_content_stream(model=MODEL, contents=ASKED, config=FIXED):
            found.append(piece)  # noqa: PERF401 - what came before the break is wanted
    line = await last_line(client)
    assert (len(found), line["outcome"], line["output"]) == (3, "cut", count_roughly(words(found)))


@pytest.mark.parametrize("finish", [True, False])
async def test_a_stream_without_its_last_word(client: httpx2.AsyncClient, models: Any, finish: bool) -> None:
    await switch_on(client, {"kind": "no_done", "finish": finish})
    found = await pieces(models)
    assert [each.candidates[0].finish_reason for each in found] == [None] * len(found)
    assert (await last_line(client))["outcome"] == "cut"


async def test_an_error_in_a_stream(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "error_frame", "after": 2, "status": 503})
    events = (await post(client, "streamGenerateContent?alt=sse")).text.split("\r\n\r\n")
    assert len(events) == 4
    assert json.loads(events[2].removeprefix("data: "))["error"]["status"] == "UNAVAILABLE"


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse"])
async def test_bodies_that_are_nothing(client: httpx2.AsyncClient, verb: str) -> None:
    await switch_on(
        client,
        {"kind": "empty_body"},
        {"kind": "wrong_shape", "skip": 1},
        {"kind": "oversized_body", "bytes": 99, "skip": 2},
    )
    empty, wrong, large = [(await post(client, verb)).text for _ in range(3)]
    assert empty == ""
    assert '{"unexpected":true}' in wrong
    assert '{"filler":"xxx' in large
