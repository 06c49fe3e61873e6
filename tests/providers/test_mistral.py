"""The Mistral dialect by golden files: what goes out, what comes back, streams and errors, each in both shapes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistralai.client import models as theirs
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.core.asking import request

from batchway.core.errors import BadRequest
from batchway.core.limits import Report
from batchway.core.types import Answer, Fault
from batchway.ports import Incoming
from batchway.providers.mistral import MistralDialect
from batchway.providers.openai import OpenAIDialect
from batchway.sandbox import Sandbox
from batchway.sandbox.contract import Visit
from batchway.sandbox.mistral.chat import complete
from batchway.sandbox.mistral.embeddings import embed
from batchway.wire import chat, embeddings, sse

GOLDEN = Path(__file__).parent / "golden" / "mistral"
KEY = "0123456789abcdefKEY"
DIALECT = MistralDialect(OpenAIDialect("mistral", "https://api.mistral.ai/v1", KEY))


def golden(name: str) -> pytest.MarkDecorator:
    """The cases of a file, each with its name."""
    cases = json.loads((GOLDEN / f"{name}.json").read_text())
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


def encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def incoming(status: int, body: bytes, **headers: str) -> Incoming:
    return Incoming(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=body)


async def no_sleep(_: float) -> None:
    """Nothing here waits."""


WORLD = Sandbox(now=lambda: 0.0, sleep=no_sleep)


def visit(body: bytes) -> Visit:
    return Visit(number=1, at=0.0, provider="mistral", method="POST", path="", body=body)


# What goes out


def sent(asked: dict[str, Any]) -> bytes:
    body = encoded(asked)
    outgoing = DIALECT.encode(request(body=body, stream=asked.get("stream") is True))
    assert (outgoing.method, outgoing.url) == ("POST", "https://api.mistral.ai/v1/chat/completions")
    assert ("authorization", f"Bearer {KEY}") in outgoing.headers
    return outgoing.body


@golden("requests")
def test_a_request(case: dict[str, Any]) -> None:
    chat.read(encoded(case["in"]))
    body = sent(case["in"])
    assert json.loads(body) == case["out"]
    assert sent(case["in"]) == body, "a prefix cache needs the same bytes again"
    assert complete(WORLD, visit(body)).outcome == "completed"
    theirs.ChatCompletionRequest.model_validate(case["out"])


@pytest.mark.parametrize(
    ("field", "fields"), json.loads((GOLDEN / "refused.json").read_text()).items(), ids=lambda each: str(each)[:40]
)
def test_what_mistral_cannot_be_asked_is_named(field: str, fields: dict[str, Any]) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields
    chat.read(encoded(asked))
    with pytest.raises(BadRequest) as refused:
        sent(asked)
    assert refused.value.fault.param == field
    assert refused.value.fault.status == 400
    assert refused.value.fault.message.startswith(f"{field}: ")


def test_untouched_fields_keep_their_bytes() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.50,"x":[1e5, 12345678901234567890]}'
    )
    assert DIALECT.encode(request(body=body)).body == body


@pytest.mark.parametrize("extra", [b'"logit_bias":{"1":1e999}', b'"tools":[{"type":"x","y":1e999}]'])
def test_a_number_past_all_floats_is_refused(extra: bytes) -> None:
    with pytest.raises(BadRequest):
        DIALECT.encode(request(body=b'{"model":"m","messages":[],' + extra + b"}"))


@pytest.mark.parametrize("call_id", ["call_1", "", "Zürich", "abcdefgh-", "a" * 10, "x" * 5000])
def test_ids_of_calls_are_nine_letters_and_digits(call_id: str) -> None:
    message = {"role": "tool", "tool_call_id": call_id, "content": "x"}
    body = json.loads(sent({"model": "m", "messages": [message]}))
    found = body["messages"][0]["tool_call_id"]
    assert len(found) == 9
    assert found.isalnum()
    assert found.isascii()


@golden("embeddings")
def test_embeddings(case: dict[str, Any]) -> None:
    body = encoded(case["in"])
    embeddings.read(body)
    outgoing = DIALECT.encode(request(endpoint="embeddings", body=body))
    assert outgoing.url == "https://api.mistral.ai/v1/embeddings"
    assert json.loads(outgoing.body) == case["out"]
    answer = embed(WORLD, visit(outgoing.body))
    came = DIALECT.decode(request(endpoint="embeddings"), incoming(200, answer.parts[0].data), 1.0)
    assert isinstance(came, Answer)
    assert came.body == answer.parts[0].data
    theirs.EmbeddingRequest.model_validate(case["out"])


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]], ["a", 1]])
def test_token_ids_cannot_be_embedded(tokens: list[Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        DIALECT.encode(request(endpoint="embeddings", body=encoded({"model": "m", "input": tokens})))
    assert refused.value.fault.param == "input"


def test_responses_pass_as_they_are() -> None:
    body = b'{ "model":"m" , "input":"hi"}'
    outgoing = DIALECT.encode(request(endpoint="responses", body=body))
    assert (outgoing.url, outgoing.body) == ("https://api.mistral.ai/v1/responses", body)


def test_models() -> None:
    assert DIALECT.encode_models(None, None).url == "https://api.mistral.ai/v1/models"
    assert DIALECT.encode_models("m", None).url == "https://api.mistral.ai/v1/models/m"
    assert DIALECT.decode_models(b'{"data":[]}') == b'{"data":[]}'


# What comes back


@golden("answers")
def test_an_answer(case: dict[str, Any]) -> None:
    theirs.ChatCompletionResponse.model_validate(case["in"])
    answer = DIALECT.decode(request(), incoming(200, encoded(case["in"])), 7.0)
    assert isinstance(answer, Answer)
    assert json.loads(answer.body) == case["out"]
    assert (answer.complete, answer.finished_at) == (case["complete"], 7.0)
    assert answer.usage is not None
    assert answer.usage.cached == case["cached"]
    assert answer.usage.tier == case["out"].get("service_tier")
    if case["out"]["choices"][0]["finish_reason"] != "error":
        ChatCompletion.model_validate(case["out"])


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"choices":', b'{"choices":7}', b"\xff"])
def test_a_2xx_that_is_no_answer_is_malformed(body: bytes) -> None:
    fault = DIALECT.decode(request(), incoming(200, body), 0.0)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.code, fault.billed) == (502, "upstream_malformed", "unknown")


def test_a_2xx_that_reports_an_error_is_that_error() -> None:
    body = b'{"object":"error","message":"no luck","type":"t","code":"9"}'
    fault = DIALECT.decode(request(), incoming(200, body), 0.0)
    assert isinstance(fault, Fault)
    assert (fault.message, fault.code, fault.billed) == ("no luck", "9", "unknown")


@golden("errors")
def test_an_error(case: dict[str, Any]) -> None:
    for fault in (
        DIALECT.fault(incoming(case["status"], encoded(case["in"]))),
        DIALECT.decode(request(), incoming(case["status"], encoded(case["in"])), 0.0),
    ):
        assert isinstance(fault, Fault)
        out = case["out"]
        assert (fault.message, fault.type, fault.param, fault.code) == (
            out["message"],
            out["type"],
            out["param"],
            out["code"],
        )
        assert fault.status == case["status"]
        assert fault.passing is (case["status"] in (429, 500))
        assert json.loads(fault.body or b"")["error"] == out


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"x":1}', b'{"message":""}'])
def test_an_error_without_words_stays_as_it_came(body: bytes) -> None:
    fault = DIALECT.fault(incoming(503, body, retry_after="3"))
    assert (fault.body, fault.message) == (body, "'mistral' answered 503, and gave no reason.")
    assert (fault.passing, fault.retry_after) == (True, 3.0)


def test_our_key_never_comes_back() -> None:
    fault = DIALECT.fault(incoming(401, encoded({"detail": f"bad key {KEY}"})))
    assert KEY not in repr(fault)


# Streams


def follow(chunks: list[Any], *, done: bool = True) -> Any:
    reader = DIALECT.follow(request(stream=True), fold=True)
    passed: list[sse.Frame] = []
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else encoded(chunk)
        passed += reader.read(sse.frame(data), data)
    if done:
        assert reader.read(sse.DONE, b"[DONE]") == ()
        assert reader.done
    return reader, passed


@golden("streams")
def test_a_stream(case: dict[str, Any]) -> None:
    for chunk in case["in"]:
        theirs.CompletionChunk.model_validate(chunk)
    reader, passed = follow(case["in"])
    assert [json.loads(sse.payload(frame) or b"") for frame, _ in passed] == case["out"]
    assert [only_usage for _, only_usage in passed] == [not chunk["choices"] for chunk in case["out"]]
    for chunk in case["out"]:
        ChatCompletionChunk.model_validate(chunk)
    assert reader.whole
    assert reader.usage.output == 7
    answer = reader.answer(3.0)
    assert (answer.complete, answer.finished_at) == (case["complete"], 3.0)
    (choice,) = json.loads(answer.body)["choices"]
    assert (choice["message"], choice["finish_reason"]) == (case["message"], case["reason"])


def test_a_stream_that_stops_before_its_reason_is_not_whole() -> None:
    reader, _ = follow([{"id": "c", "choices": [{"index": 0, "delta": {"content": "He"}, "finish_reason": None}]}])
    assert not reader.whole


@pytest.mark.parametrize(
    ("said", "message", "code"),
    [
        (
            {"object": "error", "message": "overloaded", "type": "t", "param": None, "code": "3505"},
            "overloaded",
            "3505",
        ),
        ({"error": {"message": "m", "code": "c"}}, "m", "c"),
        ({"detail": "gone"}, "gone", "upstream_error"),
    ],
)
def test_an_error_amid_a_stream(said: dict[str, Any], message: str, code: str) -> None:
    reader, passed = follow([said], done=False)
    assert passed == []
    fault = DIALECT.error_frame(reader.error)
    assert (fault.message, fault.code, fault.status, fault.billed) == (message, code, 502, "unknown")


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b"\xff", b'{"choices":7}'])
def test_what_is_no_chunk_cannot_be_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        follow([data])


def test_a_stream_of_responses_is_openais() -> None:
    reader = DIALECT.follow(request(endpoint="responses", stream=True), fold=False)
    data = b'{"type":"response.created","response":{}}'
    assert reader.read(sse.frame(data), data) == ((sse.frame(data), False),)


# Headers

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        ({}, None),
        ({"retry-after": "2"}, Report(retry_after=2.0)),
        (
            {
                "x-ratelimit-limit-tokens-minute": "5000000",
                "x-ratelimit-remaining-tokens-minute": "4999911",
                "x-ratelimit-tokens-query-cost": "52",
                "x-ratelimit-limit-req-minute": "720",
                "x-ratelimit-remaining-req-minute": "717",
            },
            Report(
                limit_requests=720,
                limit_tokens=5000000,
                remaining_requests=717,
                remaining_tokens=4999911,
                reset_requests=NOW + 60,
                reset_tokens=NOW + 60,
            ),
        ),
        ({"x-ratelimit-remaining-req-minute": "0"}, Report(remaining_requests=0, reset_requests=NOW + 60)),
    ],
)
def test_limits_are_by_the_minute(headers: dict[str, str], report: Report | None) -> None:
    assert DIALECT.report(headers, NOW) == report


# Whatever comes

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("choices", "message", "delta", "content", "tool_calls", "usage", "detail", "error", "loc", "function", "type")
SHAPED = st.dictionaries(st.sampled_from(NAMES), ANY | st.dictionaries(st.sampled_from(NAMES), ANY, max_size=3))


@given(SHAPED | st.builds(lambda inner: {"choices": [inner]}, SHAPED), st.integers(200, 599))
def test_no_json_can_break_the_decoding(body: Any, status: int) -> None:
    assert isinstance(DIALECT.decode(request(), incoming(status, encoded(body)), 0.0), Answer | Fault)
    reader = DIALECT.follow(request(stream=True), fold=True)
    try:
        reader.read(sse.frame(encoded(body)), encoded(body))
    except ValueError:
        return
    if reader.error is not None:
        assert isinstance(DIALECT.error_frame(reader.error), Fault)
