"""The Gemini dialect: golden files of what goes out and comes back, and what no file can show."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion
from tests.core.asking import request
from tests.providers.gemini_speaking import DIALECT, KEY, ROOT, ask, dumps, incoming, read_stream, reply
from tests.wire.sdk import streamed_chat

from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Fault
from batchway.providers.gemini import GeminiDialect
from batchway.wire import sse

GOLDEN = sorted((Path(__file__).parent / "golden" / "gemini").glob("*.json"))
NOW = 1_000_000.5
CHAT: dict[str, Any] = {"model": "gemini-3.8-flash", "messages": [{"role": "user", "content": "What is a fjord?"}]}


def check_request(golden: dict[str, Any]) -> None:
    outgoing = DIALECT.encode(ask(golden["endpoint"], golden["request"]))
    assert outgoing.method == "POST"
    assert outgoing.url == golden["url"]
    assert outgoing.body == dumps(golden["sent"])
    turned = dict(reversed(golden["request"].items()))
    assert DIALECT.encode(ask(golden["endpoint"], turned)).body == outgoing.body, "the order of fields says nothing"


def check_answer(golden: dict[str, Any]) -> None:
    asked = ask("chat", golden["request"])
    answer = DIALECT.decode(asked, incoming(200, golden["reply"], **golden["headers"]), NOW)
    assert isinstance(answer, Answer)
    assert json.loads(answer.body) == golden["answer"]
    assert (answer.complete, answer.finished_at) == (golden["complete"], NOW)
    counted = golden["answer"].get("usage")
    usage = answer.usage
    assert (usage is None) == (counted is None)
    if usage is not None:
        assert (usage.input, usage.output) == (counted["prompt_tokens"], counted["completion_tokens"])
        assert usage.cached == counted["prompt_tokens_details"]["cached_tokens"]
        assert usage.reasoning == counted["completion_tokens_details"]["reasoning_tokens"]
        assert usage.tier == golden["answer"].get("service_tier")
    ChatCompletion.model_validate(
        golden["answer"] | {"choices": [_known(each) for each in golden["answer"]["choices"]]}, strict=True
    )


def _known(choice: dict[str, Any]) -> dict[str, Any]:
    return choice | {"finish_reason": choice["finish_reason"].replace("brand_new", "stop")}


def check_stream(golden: dict[str, Any]) -> None:
    reader = DIALECT.follow(ask("chat", golden["request"]), fold=True)
    passed = read_stream(reader, golden["fragments"])
    chunks = [json.loads(sse.payload(frame) or b"") for frame, _ in passed]
    assert chunks == golden["chunks"]
    assert [hidden for _, hidden in passed] == [not chunk["choices"] for chunk in chunks]
    assert (reader.whole, reader.error) == (True, None)
    answer = reader.answer(NOW)
    assert json.loads(answer.body) == golden["folded"]
    assert answer.complete == golden["complete"]
    added_up = streamed_chat(b"".join(frame for frame, _ in passed) + sse.DONE).model_dump(exclude_none=True)
    for mine, theirs in zip(golden["folded"]["choices"], added_up["choices"], strict=True):
        assert mine["message"].get("content") == theirs["message"].get("content")
        assert mine["finish_reason"] == theirs["finish_reason"]
        assert mine.get("logprobs", {}).get("content") == theirs.get("logprobs", {}).get("content")
        assert [call["function"] for call in mine["message"].get("tool_calls", ())] == [
            call["function"] for call in theirs["message"].get("tool_calls") or ()
        ]


CHECKS = {"request": check_request, "answer": check_answer, "stream": check_stream}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: str(path.stem))
def test_golden(path: Path) -> None:
    CHECKS[path.stem.partition("_")[0]](json.loads(path.read_text(encoding="utf-8")))


def test_there_are_golden_files_of_every_kind() -> None:
    kinds = [path.stem.partition("_")[0] for path in GOLDEN]
    assert {kind: kinds.count(kind) >= 8 for kind in CHECKS} == dict.fromkeys(CHECKS, True)


# What goes out


def test_numbers_and_schemas_go_out_as_the_bytes_they_were() -> None:
    arguments = '{"b": 1.50,  "a": 12345678901234567890123}'
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    turns = f'[{{"role":"assistant","tool_calls":[{json.dumps(call)}]}}]'
    schema = '{"type": "object", "properties": {"x": {"minimum": 1.0e2}}}'
    tools = f'[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]'
    body = f'{{"model":"m","temperature":0.10,"messages":{turns},"tools":{tools}}}'
    sent = DIALECT.encode(request(body=body.encode())).body.decode()
    for text in ('"temperature":0.10', f'"args":{arguments}', f'"parametersJsonSchema":{schema}'):
        assert text in sent


@pytest.mark.parametrize(
    ("key", "authorization", "header"),
    [
        (KEY, None, ("x-goog-api-key", KEY)),
        (KEY, "Bearer theirs", ("x-goog-api-key", KEY)),
        (None, "Bearer theirs", ("authorization", "Bearer theirs")),
        (None, None, None),
    ],
)
def test_our_key_or_the_callers_and_never_in_the_url(
    key: str | None, authorization: str | None, header: tuple[str, str] | None
) -> None:
    dialect = GeminiDialect("gemini", "https://upstream.test/", key, "v1")
    headers = (("content-type", "application/json"),) + ((header,) if header else ())
    asked = ask("chat", CHAT, authorization=authorization)
    for outgoing in (dialect.encode(asked), dialect.encode_models(None, authorization)):
        assert outgoing.headers == headers
        assert outgoing.url.startswith("https://upstream.test/v1/models")
        assert KEY not in outgoing.url


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (None, "models?pageSize=1000"),
        ("gemini-3.8-flash", "models/gemini-3.8-flash"),
        ("models/gemini-3.8-flash", "models/gemini-3.8-flash"),
        ("tunedModels/x", "tunedModels/x"),
        ("../files/a?b#c", "models/..%2Ffiles%2Fa%3Fb%23c"),
        ("models/../files", "models/..%2Ffiles"),
        ("a:batchGenerateContent", "models/a%3AbatchGenerateContent"),
    ],
)
def test_a_model_is_one_step_of_the_path(model: str | None, path: str) -> None:
    outgoing = DIALECT.encode_models(model, None)
    assert (outgoing.method, outgoing.url, outgoing.body) == ("GET", f"{ROOT}/{path}", b"")
    if model is not None:
        assert DIALECT.encode(ask("chat", CHAT | {"model": model})).url == f"{ROOT}/{path}:generateContent"


USER = {"role": "user", "content": "x"}
CALLED = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[1]"}}]}


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"verbosity": "high"}, "verbosity"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "mp3"}}, "audio"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"colour": "blue"}, "colour"),
        ({"generationConfig": {}}, "generationConfig"),
        ({"extra_body": {"google": {"colour": 1}}}, "extra_body.google.colour"),
        ({"extra_body": {"azure": {}}}, None),
        ({"thinking_config": 1, "reasoning_effort": "low"}, "thinking_config"),
        ({"reasoning_effort": "none"}, "reasoning_effort"),
        ({"reasoning_effort": "xhigh", "model": "gemini-2.5-pro"}, "reasoning_effort"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema"),
        ({"stop": 1}, "stop"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"description": "x"}}]}, "tools[0].function"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice.type"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [USER | {"name": "Ann"}]}, "messages[0].name"),
        ({"messages": [USER | {"mood": "glad"}]}, "messages[0]"),
        ({"messages": [USER, CALLED]}, "messages[1].tool_calls[0].function.arguments"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "z", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [USER, {"role": "assistant", "audio": {"id": "a"}}]}, "messages[1].audio"),
        (block(type="image_url", image_url={"url": "ftp://x/a.png"}), "messages[0].content[0].image_url.url"),
        (block(type="image_url", image_url={"url": "data:image/png,abc"}), "messages[0].content[0].image_url.url"),
        (block(type="image_url", image_url={"url": "data:;base64,abc"}), "messages[0].content[0].image_url.url"),
        (block(type="image_url", image_url={"url": "//x", "detail": 1}), "messages[0].content[0].image_url.detail"),
        (block(type="file", file={"file_id": "file-1"}), "messages[0].content[0].file.file_id"),
        (block(type="video", video={}), "messages[0].content[0].type"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_refused_by_name(fields: dict[str, Any], param: str | None) -> None:
    body = dumps(CHAT | fields)
    with pytest.raises(BadRequest) as refused:
        DIALECT.encode(request(body=body, model=fields.get("model", "gemini-3.8-flash")))
    fault = refused.value.fault
    assert (fault.status, fault.param) == (400, param)
    assert fault.message.startswith(f"{param}: " if param else "body: ")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"colour": 1}, "colour"),
    ],
)
def test_an_embedding_that_cannot_be_asked(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        DIALECT.encode(request(endpoint="embeddings", body=dumps({"model": "m", "input": "x"} | fields)))
    assert refused.value.fault.param == param


def test_responses_are_not_spoken() -> None:
    with pytest.raises(BadRequest, match="'gemini' does not speak responses"):
        DIALECT.encode(request(endpoint="responses", body=b'{"model":"m","input":"x"}'))


def test_what_the_model_said_goes_back_as_it_came() -> None:
    """An agent's loop: the answer's message is sent back, through the SDK's own types, with the results."""
    parts: list[dict[str, Any]] = [
        {"text": "I look."},
        {"functionCall": {"name": "look", "args": {"city": "Oslo"}, "id": "x1"}, "thoughtSignature": "c2lnMQ=="},
        {"functionCall": {"name": "look", "args": {"city": "Bergen"}, "id": "x2"}},
    ]
    answer = DIALECT.decode(ask("chat", CHAT), incoming(200, reply(*parts)), NOW)
    assert isinstance(answer, Answer)
    message = ChatCompletion.model_validate_json(answer.body).choices[0].message.model_dump()
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "rain"} for each in message["tool_calls"]]
    again = CHAT | {"messages": [*CHAT["messages"], message, *results]}
    sent = json.loads(DIALECT.encode(ask("chat", again)).body)["contents"]
    expected = [parts[0], *({**part, "functionCall": dict(sorted(part["functionCall"].items()))} for part in parts[1:])]
    assert sent[1] == {"role": "model", "parts": expected}
    assert [part["functionResponse"]["name"] for part in sent[2]["parts"]] == ["look", "look"]


# What comes back


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b"{}", b'{"unexpected":true}', b'{"candidates":[]}', b'{"candidates":1}',
        b'{"usageMetadata":{"promptTokenCount":3}}', b'{"promptFeedback":{}}',
        b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}',
    ],
)  # fmt: skip
def test_a_2xx_that_is_no_answer_is_malformed(body: bytes) -> None:
    fault = DIALECT.decode(ask("chat", CHAT), incoming(200, body), NOW)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.code, fault.billed) == (502, "upstream_malformed", "unknown")
    assert fault.message.startswith("'gemini' answered 200 with a body that is not a chat object (")


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE", "UNEXPECTED_TOOL_CALL"])
def test_a_model_that_failed_to_speak_gives_no_answer(reason: str) -> None:
    """`stop` with nothing in it would be cached and taken for an answer."""
    candidate = {"finishReason": reason, "finishMessage": "print(default_api.f(", "index": 0}
    failed = DIALECT.decode(ask("chat", CHAT), incoming(200, {"candidates": [candidate]}), NOW)
    assert isinstance(failed, Fault)
    assert (failed.status, failed.code, failed.billed) == (502, reason.lower(), "unknown")
    assert failed.message == "print(default_api.f("
    reader = DIALECT.follow(ask("chat", CHAT), fold=False)
    read_stream(reader, [reply({"text": "a"}, end=None), {"candidates": [candidate]}])
    assert reader.error is not None
    assert DIALECT.error_frame(reader.error) == failed


def test_a_stream_without_its_end_is_not_whole() -> None:
    reader = DIALECT.follow(ask("chat", CHAT), fold=True)
    assert not reader.whole
    assert read_stream(reader, [reply({"text": "a"}, end=None), reply({"text": "b"}, end="FINISH_REASON_UNSPECIFIED")])
    assert (reader.whole, reader.done, reader.usage) == (False, False, None)
    read_stream(reader, [reply({"text": "c"})])
    assert (reader.whole, reader.done) == (True, False)
    assert reader.usage is not None


def test_an_error_ends_a_stream() -> None:
    reader = DIALECT.follow(ask("chat", CHAT), fold=True)
    error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    assert read_stream(reader, [{"error": error}]) == []
    assert reader.error is not None
    fault = DIALECT.error_frame(reader.error)
    assert (fault.status, fault.code, fault.billed, fault.passing) == (502, "unavailable", "unknown", True)
    assert fault.message == "The model is overloaded."


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"unexpected":true}', b'{"candidates":[{"index":"x"}]}'])
def test_a_fragment_that_cannot_be_read(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        DIALECT.follow(ask("chat", CHAT), fold=False).read(sse.frame(data), data)


def test_without_folding_nothing_is_kept() -> None:
    reader = DIALECT.follow(ask("chat", CHAT), fold=False)
    read_stream(reader, [reply({"text": "a"})])
    assert reader.answer(NOW).body == b""


VECTORS = {"embeddings": [{"values": [0.5, -0.25]}, {"values": [1, 0.10]}]}
"""0.5 and -0.25 are 32-bit floats exactly."""


def embedded(content: Any, **fields: Any) -> Answer | Fault:
    body = {"model": "gemini-embedding-001", "input": ["a", "b"]} | fields
    return DIALECT.decode(ask("embeddings", body), incoming(200, content), NOW)


def test_vectors_as_floats() -> None:
    answer = embedded(VECTORS | {"usageMetadata": {"promptTokenCount": 2}})
    assert isinstance(answer, Answer)
    listed = CreateEmbeddingResponse.model_validate_json(answer.body, strict=True)
    assert [(each.index, each.embedding) for each in listed.data] == [(0, [0.5, -0.25]), (1, [1.0, 0.1])]
    assert (listed.model, listed.usage.prompt_tokens, listed.usage.total_tokens) == ("gemini-embedding-001", 2, 2)
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output, answer.complete) == (2, 0, True)


def test_vectors_as_base64() -> None:
    answer = embedded(VECTORS, encoding_format="base64")
    assert isinstance(answer, Answer)
    first = json.loads(answer.body)["data"][0]["embedding"]
    assert first == "AAAAPwAAgL4="  # 3f000000 and be800000, lowest byte first.
    assert answer.usage is None, "what Gemini does not say is not made up"
    assert "usage" not in json.loads(answer.body)


@pytest.mark.parametrize(
    "content", [{}, {"embeddings": []}, {"embeddings": [{"values": [1]}]}, {"embeddings": [{}, {}]}]
)
def test_vectors_that_are_not_one_for_each_text(content: Any) -> None:
    fault = embedded(content)
    assert isinstance(fault, Fault)
    assert fault.code == "upstream_malformed"
    assert "not a embeddings object" in fault.message


def test_models_as_openai_lists_them() -> None:
    listed = json.loads(DIALECT.decode_models(dumps({"models": [{"name": "models/a"}, {"name": "tunedModels/b"}]})))
    assert listed["object"] == "list"
    assert [Model.model_validate(each, strict=True).id for each in listed["data"]] == ["a", "tunedModels/b"]
    assert json.loads(DIALECT.decode_models(dumps({"name": "models/a", "version": "1"}))) == listed["data"][0]
    assert json.loads(DIALECT.decode_models(b"{}")) == {"object": "list", "data": []}
    for content in (b"", b"[]", b'{"models":[{}]}'):
        with pytest.raises(msgspec.DecodeError):
            DIALECT.decode_models(content)


def test_headers_say_nothing_of_limits() -> None:
    assert DIALECT.report({"x-gemini-service-tier": "standard", "retry-after": "3"}, NOW) is None


def test_no_golden_file_holds_a_key() -> None:
    assert not any(re.search(r"AIza|sk-", path.read_text(encoding="utf-8")) for path in GOLDEN)
