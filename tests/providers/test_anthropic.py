"""The Anthropic dialect: golden files for every shape, and what may go wrong named as the caller knows it."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydantic
import pytest
from anthropic.types import MessageCreateParams
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.core.asking import request

from batchway.core.errors import BadRequest
from batchway.core.limits import Report
from batchway.core.types import Answer, Fault
from batchway.ports import Incoming
from batchway.providers.anthropic import AnthropicDialect
from batchway.providers.openai import OpenAIDialect
from batchway.sandbox.anthropic import body as strict
from batchway.sandbox.anthropic import conversation
from batchway.wire import sse

KEY = "sk-ant-api03-SECRET0123456789"
OWN = "Bearer sk-ant-callers-own-99"
OLD, NEW = "2023-06-01", "2026-10-21"
NOW = 1_790_000_000.9
GOLDEN = Path(__file__).parent / "golden" / "anthropic"
MESSAGE_PARAMS = pydantic.TypeAdapter[Any](MessageCreateParams)


def dialect(version: str = OLD, key: str | None = KEY, url: str = "https://api.anthropic.com") -> AnthropicDialect:
    return AnthropicDialect("anthropic", url, key, version, errors=OpenAIDialect("anthropic", url, key))


def golden(kind: str) -> list[Any]:
    found = [pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted(GOLDEN.glob(f"{kind}_*.json"))]
    assert found, f"no golden files of {kind}"
    return found


def spelt(value: object) -> str:
    """JSON in which the order of keys shows: caches hang on it."""
    return json.dumps(value, indent=1)


def sent(chat: dict[str, Any], version: str = OLD) -> bytes:
    asked = request(body=json.dumps(chat).encode(), model=chat["model"], stream=chat.get("stream", False))
    return dialect(version).encode(asked).body


# Shapes


@pytest.mark.parametrize("case", golden("request"))
def test_a_chat_as_a_message(case: Any) -> None:
    message = json.loads(sent(case["chat"], case["version"]))
    assert spelt(message) == spelt(case["message"])
    MESSAGE_PARAMS.validate_python(message)
    conversation.check(strict.read(json.dumps(message).encode(), case["version"]))


@pytest.mark.parametrize("case", golden("answer"))
def test_a_message_as_a_completion(case: Any) -> None:
    answered = Incoming(status=200, headers={}, body=json.dumps(case["message"]).encode())
    answer = dialect().decode(request(), answered, NOW)
    assert isinstance(answer, Answer)
    completion = json.loads(answer.body)
    assert spelt(completion) == spelt(case["completion"])
    ChatCompletion.model_validate(completion)
    assert answer.complete is (completion["choices"][0]["finish_reason"] in ("stop", "tool_calls"))
    check_usage(answer, completion["usage"], completion["service_tier"])


@pytest.mark.parametrize("case", golden("stream"))
@pytest.mark.parametrize("fold", [True, False])
def test_events_as_chunks(case: Any, fold: bool) -> None:
    reader = dialect().follow(request(model="asked-for", asked_at=NOW), fold=fold)
    frames: list[dict[str, Any]] = []
    for event in case["events"]:
        assert not reader.done
        data = json.dumps(event).encode()
        for frame, only_usage in reader.read(sse.frame(data, event["type"]), data):
            chunk = sse.payload(frame)
            if chunk is not None:
                ChatCompletionChunk.model_validate_json(chunk)
            frames.append({"only_usage": only_usage, "frame": json.loads(chunk) if chunk else frame.decode()})
    assert spelt(frames) == spelt(case["frames"])
    answer = reader.answer(NOW)
    assert (reader.done, reader.whole, reader.error, reader.usage) == (True, True, None, answer.usage)
    expected = case["completion"]
    assert answer.complete is (expected["choices"][0]["finish_reason"] in ("stop", "tool_calls"))
    check_usage(answer, expected["usage"], expected["service_tier"])
    if fold:
        assert spelt(json.loads(answer.body)) == spelt(expected)
        ChatCompletion.model_validate(expected)


def check_usage(answer: Answer, usage: dict[str, Any], tier: str) -> None:
    assert answer.usage is not None
    details = usage["prompt_tokens_details"]
    assert (answer.usage.input, answer.usage.output) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (answer.usage.cached, answer.usage.cache_written) == (
        details["cached_tokens"],
        details["cache_write_tokens"],
    )
    assert answer.usage.cache_written_hour == details.get("cache_write_1h_tokens", 0)
    assert answer.usage.reasoning == usage["completion_tokens_details"]["reasoning_tokens"]
    assert answer.usage.tier == tier


def test_a_stream_says_what_the_whole_answer_says() -> None:
    """The golden stream and answer of each name that both have are the same message."""
    for name in ("plain", "thinking"):
        streamed, whole = (json.loads((GOLDEN / f"{kind}_{name}.json").read_text()) for kind in ("stream", "answer"))
        told, said = (each["completion"]["choices"][0]["message"] for each in (streamed, whole))
        for block in told.get("thinking_blocks", ()):
            del block["index"]
        assert told == {field: value for field, value in said.items() if field != "refusal"}


# Bytes


def test_numbers_and_texts_keep_their_bytes() -> None:
    chat = (
        b'{"model":"m","temperature":0.50,"messages":[{"role":"user","content":"\xc3\xa9"},{"role":"assistant",'
        b'"tool_calls":[{"id":"a","function":{"name":"f","arguments":" {\\"x\\" : 1e5, \\"y\\":1.0}"}}]},'
        b'{"role":"tool","tool_call_id":"a","content":"1"}],'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","x":[1.50 , 1e400]}}}]}'
    )
    body = dialect().encode(request(body=chat)).body
    for kept in (b'"temperature":0.50', "é".encode(), b'"input":{"x" : 1e5, "y":1.0}', b'"x":[1.50 , 1e400]'):
        assert kept in body


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.booleans())))
def test_the_same_question_gives_the_same_bytes(arguments: dict[str, Any]) -> None:
    called = {"id": "a", "type": "function", "function": {"name": "f", "arguments": json.dumps(arguments)}}
    chat = {"model": "m", "messages": [{"role": "assistant", "tool_calls": [called]}]}
    first = sent(chat)
    assert first == sent(chat)
    assert json.loads(first)["messages"][0]["content"][0]["input"] == arguments


@given(st.permutations(["temperature", "stop", "user", "tools", "max_tokens", "cache_control", "container"]))
def test_the_order_of_fields_does_not_matter(order: list[str]) -> None:
    fields = {
        "temperature": 0,
        "stop": "x",
        "user": "u",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "max_tokens": 5,
        "cache_control": {"type": "ephemeral"},
        "container": "c",
    }
    plain = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert sent({name: fields[name] for name in order} | plain) == sent(plain | fields)


@given(st.lists(st.tuples(st.sampled_from(["system", "developer", "user", "assistant"]), st.text(min_size=1))))
def test_turns_alternate_and_no_word_is_lost(said: list[tuple[str, str]]) -> None:
    chat = {"model": "m", "messages": [{"role": role, "content": text} for role, text in said]}
    if not any(role in ("user", "assistant") for role, _ in said):
        assert refused(chat).fault.param == "messages"
        return
    message = json.loads(sent(chat))
    roles = [turn["role"] for turn in message["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    assert all(json.dumps(text)[1:-1] in json.dumps(message) for _, text in said)


# What cannot be expressed


def refused(chat: dict[str, Any], version: str = OLD) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        sent(chat, version)
    assert caught.value.fault.status == 400
    return caught.value


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content} | fields


def assistant(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant"} | fields


HI = [user("hi")]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"seed": 0}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 0.1}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"prediction": {"type": "content"}}, "prediction"),
        ({"verbosity": "low"}, "verbosity"),
        ({"store": True}, "store"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"made_up": 1}, "made_up"),
        ({"temperature": 1.5}, "temperature"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"model": "claude-haiku-4-5", "reasoning_effort": "low", "max_tokens": 1024}, "reasoning_effort"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].custom"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": [{"role": "system", "content": "alone"}]}, "messages"),
        ({"messages": [user("hi", name="ann")]}, "messages[0].name"),
        ({"messages": [user("hi", made_up=1)]}, "messages[0]"),
        ({"messages": [user("hi"), assistant(content="x", audio={"id": "a"})]}, "messages[1].audio"),
        ({"messages": [*HI, assistant(function_call={"name": "f", "arguments": ""})]}, "messages[1].function_call"),
        ({"messages": [{"role": "function", "name": "f", "content": "1"}]}, "messages[0].role"),
        ({"messages": [*HI, {"role": "tool", "content": "1"}]}, "messages[1].tool_call_id"),
        ({"messages": [user([{"type": "input_audio", "input_audio": {}}])]}, "messages[0].content[0]"),
        ({"messages": [user([{"type": "made_up"}])]}, "messages[0].content[0].type"),
        ({"messages": [user([{"type": "text", "text": "x", "made_up": 1}])]}, "messages[0].content[0].made_up"),
        ({"messages": [user([{"type": "text"}])]}, "messages[0].content[0].text"),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "gs://x"}}])]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "https://x.test", "detail": "low"}}])]},
            "messages[0].content[0].image_url.detail",
        ),
        ({"messages": [user([{"type": "image_url", "image_url": {}}])]}, "messages[0].content[0].image_url"),
        ({"messages": [user([{"type": "file", "file": {"file_id": "file-1"}}])]}, "messages[0].content[0].file"),
        (
            {
                "messages": [
                    {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]},
                    *HI,
                ]
            },
            "messages[0].content",
        ),
        (
            {"messages": [assistant(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{"}}])]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"messages": [assistant(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "[1]"}}])]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_cannot_be_said_is_named(fields: dict[str, Any], param: str, version: str) -> None:
    refusal = refused({"model": "claude-opus-5-5", "messages": HI} | fields, version)
    assert refusal.fault.param == param
    assert refusal.fault.message.startswith(f"{param}: ")


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.2), ("temperature", 0), ("top_p", 0.9), ("top_k", 1)])
def test_sampling_hangs_on_the_version(name: str, value: float) -> None:
    chat = {"model": "claude-haiku-4-5", "messages": HI, name: value}
    assert json.loads(sent(chat, OLD))[name] == value
    refusal = refused(chat, NEW)
    assert (refusal.fault.param, refusal.fault.code) == (name, "unsupported_parameter")
    assert OLD in refusal.fault.message, "it says which version would take it"


@pytest.mark.parametrize("endpoint", ["embeddings", "responses"])
def test_endpoints_that_are_not_there(endpoint: Any) -> None:
    with pytest.raises(BadRequest, match=f"'anthropic' has no {endpoint}"):
        dialect().encode(request(endpoint=endpoint))


# Where it goes


@pytest.mark.parametrize(
    ("key", "authorization", "expected"),
    [
        (KEY, None, [("x-api-key", KEY)]),
        (KEY, OWN, [("x-api-key", KEY)]),
        (None, OWN, [("authorization", OWN)]),
        (None, None, []),
    ],
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_one_key_and_the_version(
    key: str | None, authorization: str | None, expected: list[tuple[str, str]], version: str
) -> None:
    body = json.dumps({"model": "m", "messages": HI}).encode()
    headers = (("content-type", "application/json"), ("anthropic-version", version), *expected)
    outgoing = dialect(version, key).encode(request(body=body, authorization=authorization))
    assert (outgoing.method, outgoing.url) == ("POST", "https://api.anthropic.com/v1/messages")
    assert outgoing.headers == headers
    assert dialect(version, key).encode_models(None, authorization).headers == headers


@pytest.mark.parametrize("fields", [{"service_tier": "fast"}, {"speed": "fast"}])
def test_fast_mode_says_so_in_a_header(fields: dict[str, str]) -> None:
    body = json.dumps({"model": "m", "messages": HI} | fields).encode()
    outgoing = dialect().encode(request(body=body))
    assert ("anthropic-beta", "fast-mode-2026-02-01") in outgoing.headers
    assert json.loads(outgoing.body)["speed"] == "fast"


@pytest.mark.parametrize("url", ["https://x.test", "https://x.test/", "https://x.test/v1", "https://x.test/v1/"])
def test_the_base_url_may_end_in_the_version(url: str) -> None:
    models = dialect(url=url).encode_models("a/b c", None)
    assert (models.method, models.url, models.body) == ("GET", "https://x.test/v1/models/a/b%20c", b"")
    assert dialect(url=url).encode_models(None, None).url == "https://x.test/v1/models?limit=1000"


def test_models_as_openai_lists_them() -> None:
    model = {"type": "model", "id": "claude-x", "display_name": "X", "created_at": "2025-01-01T00:00:00Z"}
    card = {"id": "claude-x", "object": "model", "created": 1735689600, "owned_by": "anthropic"}
    listed = dialect().decode_models(
        json.dumps({"data": [model, model | {"created_at": "?"}], "has_more": False}).encode()
    )
    assert json.loads(listed) == {"object": "list", "data": [card, card | {"created": 0}]}
    assert json.loads(dialect().decode_models(json.dumps(model).encode())) == card


# Errors


def error_body(kind: str, code: str | None = None, message: str = "m") -> bytes:
    details = {"details": {"error_code": code}} if code else {}
    return json.dumps(
        {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "req_1"}
    ).encode()


def fault_of(status: int, body: bytes, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fault = dialect().decode(request(), Incoming(status=status, headers=named, body=body), NOW)
    assert isinstance(fault, Fault)
    return fault


@pytest.mark.parametrize(
    ("status", "kind", "code", "passing"),
    [
        (400, "invalid_request_error", None, False),
        (401, "authentication_error", None, False),
        (402, "billing_error", "contract_spend_limit_reached", False),
        (403, "permission_error", None, False),
        (404, "not_found_error", None, False),
        (409, "conflict_error", None, True),
        (413, "request_too_large", None, False),
        (429, "rate_limit_error", None, True),
        (429, "rate_limit_error", "enforced_spend_limit_reached", False),
        (429, "billing_error", None, False),
        (500, "api_error", None, True),
        (504, "timeout_error", None, True),
        (529, "overloaded_error", None, True),
    ],
)
def test_errors(status: int, kind: str, code: str | None, passing: bool) -> None:
    fault = fault_of(status, error_body(kind, code), retry_after="7")
    assert (fault.status, fault.type, fault.code, fault.message) == (status, kind, code, "m")
    assert (fault.passing, fault.retry_after, fault.healthy, fault.billed) == (passing, 7.0, status < 500, "no")
    expected = {"message": "m", "type": kind, "param": None, "code": code, "request_id": "req_1"}
    assert json.loads(fault.body or b"") == {"error": expected}


def test_the_provider_has_the_last_word_on_retries() -> None:
    assert not fault_of(529, error_body("overloaded_error"), x_should_retry="false").passing


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":5}', b'{"error":{"details":5}}'])
def test_an_error_without_words(body: bytes) -> None:
    fault = fault_of(502, body)
    assert (fault.status, fault.type, fault.passing) == (502, "upstream_error", True)
    assert set(json.loads(fault.body or b"")["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"unexpected":true}', b'{"id":"m","model":"m"}'])
def test_a_2xx_that_is_no_message(body: bytes) -> None:
    fault = fault_of(200, body)
    assert (fault.status, fault.code, fault.billed, fault.passing) == (502, "upstream_malformed", "unknown", False)


def test_a_2xx_that_reports_an_error_is_that_error() -> None:
    fault = fault_of(200, error_body("overloaded_error"))
    assert (fault.status, fault.type, fault.passing, fault.billed) == (529, "overloaded_error", True, "unknown")


def test_bytes_that_are_no_text_do_not_lose_an_answer() -> None:
    body = b'{"id":"m","model":"m","content":[{"type":"text","text":"caf\xe9"}],"stop_reason":"end_turn","usage":{}}'
    answer = dialect().decode(request(), Incoming(status=200, headers={}, body=body), NOW)
    assert isinstance(answer, Answer)
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "caf\ufffd"


def test_our_key_never_comes_back() -> None:
    for fault in (
        fault_of(401, error_body("authentication_error", KEY, f"bad key {KEY}")),
        fault_of(200, error_body("authentication_error", KEY, f"bad key {KEY}")),
        dialect().error_frame(json.dumps({"type": "api_error", "message": f"bad key {KEY}"}).encode()),
    ):
        assert KEY not in repr(fault)
        assert fault.message == "bad key [key]"


@pytest.mark.parametrize(
    ("kind", "status", "passing"),
    [
        ("overloaded_error", 529, True),
        ("rate_limit_error", 429, True),
        ("api_error", 502, True),
        ("timeout_error", 504, True),
        ("invalid_request_error", 400, False),
        ("billing_error", 402, False),
        ("something_new", 502, True),
    ],
)
def test_an_error_inside_a_stream(kind: str, status: int, passing: bool) -> None:
    reader = dialect().follow(request(), fold=False)
    event = json.dumps({"type": "error", "error": {"type": kind, "message": "m"}}).encode()
    assert reader.read(sse.frame(event, "error"), event) == ()
    assert reader.error is not None
    fault = dialect().error_frame(reader.error)
    assert (fault.status, fault.type, fault.message, fault.passing) == (status, kind, "m", passing)
    assert (fault.billed, fault.healthy, reader.whole, reader.done) == ("unknown", status < 500, False, False)


@pytest.mark.parametrize(
    "event",
    [
        b"[]",
        b"{",
        b'{"unexpected":true}',
        b'{"type":"content_block_start","index":0}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}',
        b'{"type":"message_delta","delta":5}',
    ],
)
def test_an_event_that_cannot_be_read(event: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        dialect().follow(request(), fold=False).read(sse.frame(event), event)


def test_a_stream_that_stops_early_is_not_whole() -> None:
    case = json.loads((GOLDEN / "stream_tools.json").read_text())
    reader = dialect().follow(request(), fold=True)
    for event in case["events"]:
        if event["type"] == "message_delta":
            break
        data = json.dumps(event).encode()
        reader.read(sse.frame(data), data)
        assert not reader.whole
    assert reader.usage is None


# Limits

RESET = "2026-09-21T14:13:20Z"
RESET_AT = 1_790_000_000.0


def limits(name: str, limit: object, left: object, reset: str = RESET) -> dict[str, str]:
    said = {"limit": limit, "remaining": left, "reset": reset}
    return {f"anthropic-ratelimit-{name}-{what}": str(value) for what, value in said.items()}


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        ({}, None),
        ({"retry-after": "3"}, Report(retry_after=3.0)),
        (
            limits("requests", 50, 49),
            Report(limit_requests=50, remaining_requests=49, reset_requests=RESET_AT),
        ),
        (
            limits("requests", 50, 0)
            | limits("tokens", 9, 8)
            | limits("input-tokens", 30000, 28000)
            | {"retry-after": "2"},
            Report(
                limit_requests=50,
                remaining_requests=0,
                reset_requests=RESET_AT,
                limit_tokens=30000,
                remaining_tokens=28000,
                reset_tokens=RESET_AT,
                retry_after=2.0,
            ),
        ),
        (limits("tokens", 9, 8), Report(limit_tokens=9, remaining_tokens=8, reset_tokens=RESET_AT)),
        (limits("tokens", "many", 8, "soon"), Report(remaining_tokens=8)),
        (limits("tokens", 9, 8, "2026-09-21T14:13:20"), Report(limit_tokens=9, remaining_tokens=8)),
        (limits("tokens", 9, "some"), None),
    ],
)
def test_rate_limits(headers: dict[str, str], report: Report | None) -> None:
    assert dialect().report(headers, NOW) == report
