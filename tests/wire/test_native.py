"""Our fields on answers and errors, beside what the provider said."""

import json
from typing import Any

import pytest

from batchway.core.errors import BadRequest
from batchway.core.types import Fault
from batchway.wire import body, chat, native

RECEIVED = (
    b'{"id":"c1","x_new":{"a":[1.50, 1e2,"\\u00e9"]},"choices":[ {"index":0,"message":{"content":"hi"}} ],'
    b'"status":"theirs","error":{"old":1},"created":1}'
)


ANSWER = chat.answer(RECEIVED, 0.0).body


def enveloped(answer: bytes = ANSWER, **how: Any) -> bytes:
    given: dict[str, Any] = {
        "request_id": "r-1",
        "provider": "openai",
        "via": "direct",
        "batch_id": None,
        "completed_at": 1_790_000_000.25,
        "with_content": False,
    }
    return native.envelope(answer, **(given | how))


def test_our_fields_are_added_and_win() -> None:
    answer = json.loads(enveloped())
    assert {name: answer[name] for name in answer if name not in ("id", "x_new", "choices", "created")} == {
        "request_id": "r-1",
        "status": "completed",
        "provider": "openai",
        "routed_via": "direct",
        "batch_id": None,
        "completed_at": "2026-09-21T14:13:20.250Z",
        "error": None,
    }


def test_the_providers_fields_keep_their_bytes() -> None:
    before, after = body.fields(RECEIVED), body.fields(enveloped())
    for name in ("id", "x_new", "choices", "created"):
        assert bytes(after[name]) == bytes(before[name])


def test_no_name_is_there_twice() -> None:
    pairs = json.loads(enveloped(with_content=True), object_pairs_hook=lambda pairs: [name for name, _ in pairs])
    assert sorted(pairs) == sorted({*pairs}), "readers differ on which of the two holds"
    assert set(chat.OUR_FIELDS) == set(pairs) - {"id", "x_new", "choices", "created"}


def test_an_answer_without_our_names_stays_as_it_came() -> None:
    received = b' {"choices" : [],\n "id":1}\n'
    assert chat.answer(received, 0.0).body is received
    assert json.loads(enveloped(received))["id"] == 1


def test_a_batch_is_named() -> None:
    answer = json.loads(enveloped(via="batch", batch_id="b-1"))
    assert (answer["routed_via"], answer["batch_id"]) == ("batch", "b-1")


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "hi"}, "hi"),
        ({"content": ""}, ""),
        ({"content": None, "tool_calls": [{"id": "c"}]}, None),
        ({"content": [{"type": "text", "text": "parts"}]}, None),
    ],
)
def test_content_is_the_first_choices_text(message: dict[str, Any], content: str | None) -> None:
    answer = json.dumps({"choices": [{"message": message}, {"message": {"content": "second"}}]}).encode()
    assert json.loads(enveloped(answer, with_content=True))["content"] == content
    assert "content" not in json.loads(enveloped(answer))


def fault(**fields: Any) -> Fault:
    given: dict[str, Any] = {"whose": "theirs", "status": 429, "type": "t", "code": None, "message": "m"}
    return Fault(**(given | fields))


def test_an_error_of_ours_has_openais_shape() -> None:
    refused = BadRequest("n: 0; give at least 1.", param="n").fault
    assert json.loads(native.error_body(refused, "r-1")) == {
        "error": {
            "message": "n: 0; give at least 1.",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        },
        "status": "failed",
        "request_id": "r-1",
        "content": None,
    }
    assert json.loads(native.error_body(refused, None))["request_id"] is None


def test_a_providers_error_object_is_kept_as_it_came() -> None:
    own = b'{"error": {"message":"slow","inner_error":{"a":[1.50]},"code":7} ,"x":1}'
    content = native.error_body(fault(body=own), "r-1")
    assert b'"error":{"message":"slow","inner_error":{"a":[1.50]},"code":7}' in content
    assert json.loads(content)["status"] == "failed"


@pytest.mark.parametrize(
    "own",
    [
        b"",
        b"<html>",
        b"[]",
        b'[{"error":{}}]',
        b'{"error":"text"}',
        b'{"error":null}',
        b'{"message":"flat"}',
        b'{"error":{',
    ],
)
def test_other_shapes_are_told_in_openais(own: bytes) -> None:
    error = json.loads(native.error_body(fault(body=own, param="p", code="c"), "r-1"))["error"]
    assert error == {"message": "m", "type": "t", "param": "p", "code": "c"}


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000.9996, "2026-09-21T14:13:20.999Z"),
        (1e9 + 0.5, "2001-09-09T01:46:40.500Z"),
    ],
)
def test_instants(at: float, text: str) -> None:
    assert native.instant(at) == text
