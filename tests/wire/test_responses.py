"""Responses: what is read of a request, and events followed to the object that they end in."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response
from tests.wire.sdk import streamed_events, streamed_response
from tests.wire.simulated import response_stream, response_whole

from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Prompt, Usage
from batchway.wire import responses, sse
from batchway.wire.reading import Reading

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "What is a fjord?", "temperature": 0}
TOOL = {
    "type": "function",
    "name": "f",
    "strict": True,
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
}
SANDBOX: list[dict[str, Any]] = [{}, {"max_output_tokens": 2}, {"tools": [TOOL], "tool_choice": "required"}]


def read(**fields: Any) -> Reading:
    return responses.read(msgspec.json.encode({"model": "m", "input": "hi", "store": False} | fields))


def item(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "hi"} | fields]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"model": None}, {"model": ""}),
        ({"stream": True}, {"stream": True}),
        ({"temperature": 0, "top_p": 1}, {"temperature": 0.0, "top_p": 1.0}),
        ({"max_output_tokens": 9}, {"max_output": 9}),
        ({"instructions": "be"}, {"texts": ("be", "hi"), "system": "be"}),
        ({"store": True}, {"features": ("stateful",)}),
        ({"store": None}, {"features": ("stateful",)}),
        ({"background": True}, {"features": ("stateful",)}),
        ({"previous_response_id": "resp_1"}, {"features": ("stateful",)}),
        ({"conversation": "conv_1"}, {"features": ("stateful",)}),
        ({"conversation": {"id": "conv_1"}}, {"features": ("stateful",)}),
        ({"conversation": None, "tools": None, "text": None}, {}),
        ({"top_logprobs": 2}, {"features": ("logprobs",)}),
        ({"tools": [{"a": 1}]}, {"features": ("tools",), "texts": ("hi", '[{"a":1}]')}),
        ({"text": {"format": {}}}, {"features": ("response_format",), "texts": ("hi", '{"format":{}}')}),
        ({"input": item()}, {}),
        ({"input": item(role="developer")}, {"system": "hi"}),
        ({"instructions": "be", "input": item(role="system")}, {"texts": ("be", "hi"), "system": "be\nhi"}),
        (
            {"input": item(content=[{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}])},
            {"texts": ("a", "b")},
        ),
        ({"input": item(content=[{"type": "input_image", "image_url": "u"}])}, {"texts": (), "features": ("images",)}),
        ({"input": item(content=[{"type": "input_file", "file_id": "f"}])}, {"texts": (), "features": ("images",)}),
        ({"input": item(content=[{"type": "input_audio"}])}, {"texts": (), "features": ("audio",)}),
        ({"input": [{"type": "function_call", "arguments": "{}"}]}, {"texts": ("{}",), "features": ("tools",)}),
        ({"input": [{"type": "function_call_output", "output": "42"}]}, {"texts": ('"42"',)}),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, {"texts": ()}),
    ],
)
def test_fields_that_a_decision_needs(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = Prompt(model="m", texts=("hi",))
    assert read(**fields).prompt == msgspec.structs.replace(plain, **expected)


@pytest.mark.parametrize("fields", [{"prompt": {"id": "p"}}, {"previous_response_id": "r"}, {"conversation": "c"}])
def test_the_input_may_be_elsewhere(fields: dict[str, Any]) -> None:
    assert read(input=None, **fields).prompt.texts == ()


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": None}, "input", "input: give a text or a list of items."),
        ({"input": ""}, "input", "input: give a text or a list of items."),
        ({"input": []}, "input", "input: give a text or a list of items."),
        ({"input": 5}, "input", "got `int`"),
        ({"input": ["hi"]}, "input[0]", "expected `object`, got `str`"),
        ({"input": item(content=5)}, "input[0].content", "got `int`"),
        ({"input": item(content=[{"text": 5}])}, "input[0].content[0].text", "got `int`"),
        ({"instructions": []}, "instructions", "got `array`"),
        ({"model": 5}, "model", "got `int`"),
        ({"stream": "yes"}, "stream", "got `str`"),
        ({"temperature": "0"}, "temperature", "got `str`"),
        ({"top_p": "0"}, "top_p", "got `str`"),
        ({"max_output_tokens": 1.5}, "max_output_tokens", "got `float`"),
        ({"store": 1}, "store", "got `int`"),
        ({"background": 1}, "background", "got `int`"),
        ({"previous_response_id": 1}, "previous_response_id", "got `int`"),
        ({"user": 1}, "user", "got `int`"),
        ({"safety_identifier": 1}, "safety_identifier", "got `int`"),
        ({"top_logprobs": "1"}, "top_logprobs", "got `str`"),
        ({"priority": "asap"}, "priority", "'asap' is not one of low, normal, high"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**fields)
    assert (refused.value.fault.status, refused.value.fault.param) == (400, param)
    assert words in refused.value.fault.message


def test_who_asked_and_that_the_usage_is_always_theirs() -> None:
    reading = read(user="u", safety_identifier="s", caller_id="c")
    assert (reading.user, reading.hints.caller_id, reading.ours, reading.include_usage) == (
        "s",
        "c",
        ("caller_id",),
        True,
    )


USAGE = {
    "input_tokens": 9,
    "output_tokens": 4,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 1},
    "output_tokens_details": {"reasoning_tokens": 3},
}


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "in_progress", "queued", "cancelled", None])
def test_an_answer(status: str | None) -> None:
    body = json.dumps({"output": [], "status": status, "usage": USAGE, "service_tier": "flex"}).encode()
    usage = Usage(input=9, output=4, cached=8, cache_written=1, reasoning=3, tier="flex")
    assert responses.answer(body, 5.0) == Answer(
        body=body, usage=usage, complete=status == "completed", finished_at=5.0
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"output":null}', b'{"output":{}}', b'{"error":{"message":"x"}}']
)
def test_what_is_no_response(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        responses.answer(body, 0)


def frames_of(stream: bytes) -> list[bytes]:
    return [data for frame in sse.FrameCutter(100_000).feed(stream) if (data := sse.payload(frame)) is not None]


def followed(frames: list[bytes]) -> responses.StreamReader:
    reader = responses.StreamReader()
    for data in frames:
        passed = reader.read(b"f", data)
        assert passed == (() if data == b"[DONE]" or reader.error is not None else ((b"f", False),))
    return reader


@pytest.mark.parametrize("fields", SANDBOX)
def test_the_last_event_holds_the_answer(fields: dict[str, Any]) -> None:
    frames = frames_of(response_stream(ASK | fields))
    whole = responses.answer(response_whole(ASK | fields), 7.0)
    reader = followed(frames)
    assert reader.answer(7.0) == whole
    assert (reader.whole, reader.done, reader.usage) == (True, True, whole.usage)
    for length in range(len(frames)):
        reader = followed(frames[:length])
        assert (reader.whole, reader.done, reader.usage) == (False, False, None)
        assert reader.answer(7.0) == Answer(body=b"", complete=False, finished_at=7.0)


@pytest.mark.parametrize("name, complete", [("completed", True), ("incomplete", False), ("failed", False)])
def test_every_ending_ends(name: str, complete: bool) -> None:
    response = {"id": "r", "status": name, "output": []}
    reader = followed([json.dumps({"type": f"response.{name}", "response": response}).encode(), b"[DONE]"])
    assert (reader.whole, reader.done, reader.answer(0).complete) == (True, True, complete)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (
            {"type": "error", "code": "x", "message": "bad", "param": None},
            {"type": "error", "code": "x", "message": "bad", "param": None},
        ),
        (
            {"type": "error", "error": {"type": "server_error", "message": "bad"}},
            {"type": "server_error", "message": "bad"},
        ),
    ],
)
def test_an_error_event(event: dict[str, Any], error: dict[str, Any]) -> None:
    reader = followed([json.dumps(event).encode()])
    assert json.loads(reader.error or b"") == error
    assert not reader.whole


@pytest.mark.parametrize("data", [b"", b"x", b"[]", b'{"type":5}', b'{"type":"response.completed","response":{}}'])
def test_what_is_no_event(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        responses.StreamReader().read(b"", data)


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [
        {"type": "output_text", "text": "Grüße \u2028🚢", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a":1}',
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "s"}],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}


def response(*output: dict[str, Any]) -> bytes:
    """A completed response with this output."""
    return json.dumps(json.loads(response_whole(ASK)) | {"output": output}).encode()


EXAMPLES = [
    *(response_whole(ASK | fields) for fields in SANDBOX),
    response(),
    response(MESSAGE),
    response(CALL),
    response(REASONING, MESSAGE, CALL, CALL | {"id": "fc_2", "call_id": "call_2"}),
]


@pytest.mark.parametrize("body", EXAMPLES)
def test_an_answer_replayed_ends_in_itself(body: bytes) -> None:
    frames = responses.unfold(body)
    assert not any(only_usage for _, only_usage in frames)
    reader = followed([sse.payload(frame) or b"" for frame, _ in frames])
    assert json.loads(reader.answer(0).body) == json.loads(body)


@pytest.mark.parametrize("body", EXAMPLES)
def test_the_sdk_reads_every_event_of_a_replay(body: bytes) -> None:
    Response.model_validate_json(body, strict=True)
    events = streamed_events(b"".join(frame for frame, _ in responses.unfold(body)))
    for event in events:
        type(event).model_validate(event.model_dump(), strict=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]


@pytest.mark.parametrize("body", EXAMPLES)
def test_events_have_the_order_of_the_sandbox(body: bytes) -> None:
    names = [json.loads(sse.payload(frame) or b"")["type"] for frame, _ in responses.unfold(body)]
    for item_ in json.loads(body)["output"]:
        assert names.count("response.output_item.added") == names.count("response.output_item.done")
        for part in item_.get("content") or ():
            assert f"response.{part['type']}.delta" in names


@pytest.mark.parametrize("fields", SANDBOX)
def test_a_replay_has_the_events_of_a_stream_in_longer_pieces(fields: dict[str, Any]) -> None:
    def kinds(frames: list[bytes]) -> list[str]:
        """Their types in order, a run of deltas counted once."""
        types = [json.loads(data)["type"] for data in frames]
        return [name for at, name in enumerate(types) if not (name.endswith(".delta") and types[at - 1] == name)]

    replayed = [sse.payload(frame) or b"" for frame, _ in responses.unfold(response_whole(ASK | fields))]
    assert kinds(replayed) == kinds(frames_of(response_stream(ASK | fields)))


@pytest.mark.parametrize("body", EXAMPLES[4:])
def test_the_sdk_adds_a_replay_up_to_the_answer(body: bytes) -> None:
    built, final = streamed_response(b"".join(frame for frame, _ in responses.unfold(body)))
    whole = Response.model_validate_json(body)
    assert final.model_dump(exclude_none=True, warnings=False)["id"] == whole.id
    assert [texts(each) for each in built.output] == [texts(each) for each in whole.output]


def texts(each: Any) -> tuple[Any, ...]:
    """What the SDK grows: the texts of the parts and the arguments."""
    said = [getattr(part, "text", None) for part in getattr(each, "content", None) or () if part.type == "output_text"]
    return each.type, said, getattr(each, "arguments", None)


def test_a_response_with_gaps_can_still_be_replayed() -> None:
    bare = b'{"output":[{"type":"x_new"},{"type":"function_call"},{"type":"message","content":[{}]}]}'
    assert json.loads(
        followed([sse.payload(frame) or b"" for frame, _ in responses.unfold(bare)]).answer(0).body
    ) == json.loads(bare)
