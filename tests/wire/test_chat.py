"""Chat completions: what is read of a request, and a stream folded into the answer that it is."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.wire.sdk import streamed_chat
from tests.wire.simulated import chat_stream, chat_whole

from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Prompt, Usage
from batchway.wire import chat, sse
from batchway.wire.reading import Reading

GOLDEN = Path(__file__).parent / "golden"
WHOLE = ["chat_plain", "chat_tools", "chat_refusal", "chat_choices", "chat_logprobs", "chat_variations"]
HI = {"role": "user", "content": "hi"}


def read(**fields: Any) -> Reading:
    return chat.read(msgspec.json.encode({"model": "m", "messages": [HI]} | fields))


# Requests


def test_a_plain_question() -> None:
    assert read() == Reading(prompt=Prompt(model="m", texts=("hi",), last_user="hi"), hints=read().hints, ours=())


@pytest.mark.parametrize(
    ("last", "text"),
    [
        ({"role": "user", "content": "b"}, "b"),
        ({"role": "user", "content": [{"type": "text", "text": "b"}]}, "b"),
        ({"role": "user", "content": ""}, ""),
        ({"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]}, None),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}, None),
        ({"role": "user", "content": []}, None),
        ({"role": "assistant", "content": "b"}, None),
        ({"role": "system", "content": "b"}, None),
    ],
)
def test_the_last_user_text(last: dict[str, Any], text: str | None) -> None:
    assert read(messages=[HI, last]).prompt.last_user == text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": None}, {"model": ""}),
        ({"stream": True}, {"stream": True}),
        ({"stream": False}, {"stream": False}),
        ({"stream": None}, {"stream": False}),
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 1}, {"top_p": 1.0}),
        ({"seed": -7}, {"seed": -7}),
        ({"n": 3}, {"n": 3}),
        ({"n": None}, {"n": 1}),
        ({"max_tokens": 5}, {"max_output": 5}),
        ({"max_completion_tokens": 6}, {"max_output": 6}),
        ({"max_completion_tokens": 6, "max_tokens": 5}, {"max_output": 6}),
        ({"logprobs": True}, {"features": ("logprobs",)}),
        ({"logprobs": False}, {"features": ()}),
        ({"store": True}, {"features": ("stateful",)}),
        ({"store": False}, {"features": ()}),
        ({"tools": [{"a": 1}]}, {"features": ("tools",), "texts": ("hi", '[{"a":1}]')}),
        ({"functions": [{}]}, {"features": ("tools",), "texts": ("hi", "[{}]")}),
        ({"web_search_options": {}}, {"features": ("tools",), "texts": ("hi", "{}")}),
        ({"response_format": {"type": "text"}}, {"features": ("response_format",), "texts": ("hi", '{"type":"text"}')}),
        ({"audio": {"voice": "v"}}, {"features": ("audio",), "texts": ("hi", '{"voice":"v"}')}),
        ({"tools": None, "functions": None, "response_format": None, "audio": None}, {"features": ()}),
        (
            {"tools": [], "store": True, "logprobs": True},
            {"features": ("logprobs", "stateful", "tools"), "texts": ("hi", "[]")},
        ),
    ],
)
def test_fields_that_a_decision_needs(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**fields).prompt == msgspec.structs.replace(read().prompt, **expected)


@pytest.mark.parametrize(
    ("message", "texts", "system", "features"),
    [
        ({"role": "system", "content": "be"}, ("be",), "be", ()),
        ({"role": "developer", "content": "be"}, ("be",), "be", ()),
        ({"role": "assistant", "content": None}, (), "", ()),
        ({"role": "assistant"}, (), "", ()),
        ({"role": "user", "content": ""}, ("",), "", ()),
        ({"role": "user", "content": []}, (), "", ()),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ("a", "b"),
            "",
            (),
        ),
        (
            {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ("a", "b"),
            "a\nb",
            (),
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}, (), "", ("images",)),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, (), "", ("audio",)),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, (), "", ("images",)),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, (), "", ()),
        ({"role": "tool", "tool_call_id": "c", "content": "42"}, ("42",), "", ()),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, ('[{"id":"c"}]',), "", ("tools",)),
        ({"role": "assistant", "function_call": {"name": "f"}}, ('{"name":"f"}',), "", ("tools",)),
        ({"role": "assistant", "tool_calls": None, "function_call": None, "content": "x"}, ("x",), "", ()),
    ],
)
def test_messages(message: dict[str, Any], texts: tuple[str, ...], system: str, features: tuple[str, ...]) -> None:
    prompt = read(messages=[message]).prompt
    assert (prompt.texts, prompt.system, prompt.features) == (texts, system, features)


def test_texts_keep_their_order_and_system_texts_are_joined() -> None:
    turns = [("system", "a"), ("user", "b"), ("assistant", "c"), ("developer", "d"), ("user", "e")]
    prompt = read(messages=[{"role": role, "content": content} for role, content in turns]).prompt
    assert (prompt.texts, prompt.system) == (("a", "b", "c", "d", "e"), "a\nd")


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({}, None),
        ({"user": "u"}, "u"),
        ({"safety_identifier": "s"}, "s"),
        ({"user": "u", "safety_identifier": "s"}, "s"),
    ],
)
def test_who_asked(fields: dict[str, Any], user: str | None) -> None:
    assert read(**fields).user == user


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": None}, False),
        ({"include_usage": False}, False),
        ({"include_usage": True}, True),
    ],
)
def test_whether_the_caller_wants_the_usage(options: object, wanted: bool) -> None:
    assert read(stream=True, stream_options=options).include_usage is wanted


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": 5}, "model", "model: expected `str | null`, got `int`."),
        ({"messages": None}, "messages", "messages: give at least one message."),
        ({"messages": []}, "messages", "messages: give at least one message."),
        ({"messages": "hi"}, "messages", "messages: expected `array | null`, got `str`."),
        ({"messages": {}}, "messages", "messages: expected `array | null`, got `object`."),
        ({"messages": ["hi"]}, "messages[0]", "messages[0]: expected `object`, got `str`."),
        ({"messages": [{}]}, "messages[0]", "messages[0]: object missing required field `role`."),
        ({"messages": [{"role": 1}]}, "messages[0].role", "messages[0].role: expected `str`, got `int`."),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "got `int`"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content", "got `object`"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]", "expected `object`, got `str`"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]", "missing required field `type`"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages[0].content[0].text",
            "got `int`",
        ),
        ({"stream": "true"}, "stream", "stream: expected `bool | null`, got `str`."),
        ({"stream_options": []}, "stream_options", "got `array`"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "got `int`"),
        ({"temperature": "0"}, "temperature", "temperature: expected `float | null`, got `str`."),
        ({"top_p": []}, "top_p", "got `array`"),
        ({"seed": 1.5}, "seed", "seed: expected `int | null`, got `float`."),
        ({"n": "2"}, "n", "n: expected `int | null`, got `str`."),
        ({"n": True}, "n", "got `bool`"),
        ({"n": 0}, "n", "n: 0; give at least 1."),
        ({"n": -2}, "n", "n: -2; give at least 1."),
        ({"max_tokens": "5"}, "max_tokens", "got `str`"),
        ({"max_completion_tokens": 5.5}, "max_completion_tokens", "got `float`"),
        ({"logprobs": 3}, "logprobs", "got `int`"),
        ({"store": "no"}, "store", "got `str`"),
        ({"user": 5}, "user", "got `int`"),
        ({"safety_identifier": {}}, "safety_identifier", "got `object`"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**fields)
    assert (refused.value.fault.status, refused.value.fault.param) == (400, param)
    assert words in refused.value.fault.message


def test_fields_that_nobody_reads_may_be_anything() -> None:
    assert read(x_new=[{}], metadata={"a": 1}, stop=["a"], reasoning_effort="max").prompt == read().prompt


# Answers


def completion(*reasons: str | None, **fields: Any) -> bytes:
    choices = [
        {"index": at, "message": {"role": "assistant", "content": f"c{at}"}, "finish_reason": reason}
        for at, reason in enumerate(reasons)
    ]
    return json.dumps({"object": "chat.completion", "choices": choices} | fields).encode()


@pytest.mark.parametrize(
    ("reasons", "complete"),
    [
        (["stop"], True),
        (["tool_calls"], True),
        (["function_call"], True),
        (["stop", "tool_calls"], True),
        (["length"], False),
        (["content_filter"], False),
        (["error"], False),
        ([None], False),
        (["stop", "length"], False),
        ([], False),
    ],
)
def test_an_answer_is_complete_when_every_choice_ended_by_itself(reasons: list[str | None], complete: bool) -> None:
    body = completion(*reasons)
    assert chat.answer(body, 5.0) == Answer(body=body, complete=complete, finished_at=5.0)


def test_an_answers_usage() -> None:
    usage = {
        "prompt_tokens": 21,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 2, "cache_write_1h_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    answer = chat.answer(completion("stop", usage=usage, service_tier="flex"), 0)
    assert answer.usage == Usage(
        input=21, output=5, cached=16, cache_written=2, cache_written_hour=1, reasoning=3, tier="flex"
    )


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 2, "completion_tokens": None},
        {"prompt_tokens": 2, "prompt_tokens_details": None, "completion_tokens_details": None},
        {"prompt_tokens": 2, "prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": {}},
        {"prompt_tokens": 2, "cost": 0.1, "x": {}},
    ],
)
def test_gaps_in_the_usage_do_not_cost_the_answer(usage: dict[str, Any]) -> None:
    assert chat.answer(completion("stop", usage=usage), 0).usage == Usage(input=2)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices":null}', b'{"choices":[1]}', b'{"error":{}}']
)
def test_what_is_no_completion(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        chat.answer(body, 0)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (completion("stop", "stop"), "c0"),
        (b'{"choices":[]}', None),
        (b'{"choices":[{}]}', None),
        (b'{"choices":[{"message":{"content":null}}]}', None),
        (b'{"choices":[{"message":{"content":[{"type":"text","text":"x"}]}}]}', None),
        (b'{"choices":[{"message":{"content":"\xff"}}]}', None),
    ],
)
def test_the_text_of_an_answer(body: bytes, text: str | None) -> None:
    assert chat.content(body) == text


# Streams


def frames_of(stream: bytes) -> list[bytes]:
    """The data of its frames."""
    return [data for frame in sse.FrameCutter(10_000).feed(stream) if (data := sse.payload(frame)) is not None]


def followed(stream: bytes, n: int = 1, fold: bool = True) -> tuple[chat.StreamReader, list[bool]]:
    reader = chat.StreamReader(fold=fold, n=n)
    return reader, [reader.read(b"f", data) == ((b"f", True),) for data in frames_of(stream)]


@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_adds_up_to_its_answer(name: str) -> None:
    reader, _ = followed((GOLDEN / f"{name}.sse").read_bytes())
    answer = reader.answer(7.0)
    assert (reader.whole, reader.done, reader.error) == (True, True, None)
    assert json.loads(answer.body) == json.loads((GOLDEN / f"{name}.json").read_text())
    assert answer.complete is (name != "chat_choices")
    assert answer.finished_at == 7.0


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "chat_variations"])
def test_golden_streams_and_answers_are_what_the_sdk_knows(name: str) -> None:
    for data in frames_of((GOLDEN / f"{name}.sse").read_bytes()):
        if data != b"[DONE]":
            ChatCompletionChunk.model_validate_json(data, strict=True)
    ChatCompletion.model_validate_json((GOLDEN / f"{name}.json").read_text(), strict=True)


def test_the_usage_chunk_is_marked() -> None:
    reader, marks = followed((GOLDEN / "chat_plain.sse").read_bytes())
    assert marks == [False, False, False, False, True, False]
    assert reader.usage == Usage(input=21, output=5, cached=16, cache_written=2, reasoning=3, tier="default")


def test_usage_beside_a_choice_is_read_and_shown() -> None:
    reader, marks = followed((GOLDEN / "chat_variations.sse").read_bytes())
    assert not any(marks)
    assert reader.usage == Usage(input=4)


def test_nothing_is_kept_that_nobody_folds() -> None:
    reader, _ = followed((GOLDEN / "chat_plain.sse").read_bytes(), fold=False)
    assert (reader.answer(0).body, reader.answer(0).complete, reader.whole) == (b"", True, True)


@pytest.mark.parametrize("n, whole", [(1, True), (2, False)])
def test_a_choice_that_never_began_is_missing(n: int, whole: bool) -> None:
    reader, _ = followed((GOLDEN / "chat_missing_choice.sse").read_bytes(), n)
    assert (reader.whole, reader.answer(0).complete) == (whole, whole)
    assert reader.read(b"f", b"[DONE]") == ()
    assert reader.whole, "the provider says that there are no more"


@pytest.mark.parametrize("name, done", [("chat_cut", False), ("chat_cut_politely", True)])
def test_a_stream_without_a_reason_to_end_was_cut(name: str, done: bool) -> None:
    reader, _ = followed((GOLDEN / f"{name}.sse").read_bytes())
    assert (reader.whole, reader.done, reader.answer(0).complete) == (False, done, False)


@pytest.mark.parametrize("name", WHOLE)
def test_every_shorter_stream_is_not_whole(name: str) -> None:
    frames = frames_of((GOLDEN / f"{name}.sse").read_bytes())
    n = 2 if name == "chat_choices" else 1
    last = max(at for at, data in enumerate(frames) if b'"finish_reason":"' in data)
    if name == "chat_variations":
        last -= 1  # It gives its reason twice.
    for length in range(len(frames)):
        reader = chat.StreamReader(fold=True, n=n)
        for data in frames[:length]:
            reader.read(b"", data)
        assert reader.whole is (length > last)


def test_an_error_in_the_stream() -> None:
    reader, _ = followed((GOLDEN / "chat_error.sse").read_bytes())
    assert json.loads(reader.error or b"null")["type"] == "server_error"
    assert not reader.whole


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"[]", b'"x"', b'{"choices":5}', b'{"choices":[1]}', b'{"usage":[]}']
)
def test_what_is_no_chunk(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        chat.StreamReader(fold=True).read(b"", data)


def test_tool_calls_that_stay_null() -> None:
    reader = chat.StreamReader(fold=True)
    reader.read(b"", b'{"choices":[{"index":0,"delta":{"content":"a","tool_calls":null},"finish_reason":"stop"}]}')
    assert json.loads(reader.answer(0).body)["choices"][0]["message"]["content"] == "a"


def test_bytes_that_are_no_text_do_not_cost_the_answer() -> None:
    reader = chat.StreamReader(fold=True)
    reader.read(b"", b'{"choices":[{"index":0,"delta":{"content":"caf\xe9"},"finish_reason":"stop"}]}')
    assert chat.content(reader.answer(0).body) == "caf\ufffd"
    frames = chat.unfold(b'{"choices":[{"message":{"content":"caf\xe9"},"finish_reason":"stop"}]}')
    assert "caf\ufffd" in b"".join(frame for frame, _ in frames).decode()


# The sandbox and the SDK


DIFFERENT = {"id", "created", "index"}


def plain(value: Any) -> Any:
    """Without what a stream may leave out: nulls and empty lists; and what differs: the ids and times of two calls,
    and the index that the SDK leaves in the tool calls that it added up."""
    if isinstance(value, dict):
        kept = {name: plain(each) for name, each in value.items() if name not in DIFFERENT}
        return {name: each for name, each in kept.items() if each not in (None, [])}
    return [plain(each) for each in value] if isinstance(value, list) else value


TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"max_tokens": 3},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": "required", "n": 2},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_a_folded_stream_is_the_answer_that_was_not_streamed(fields: dict[str, Any]) -> None:
    body = {"model": "gpt-4o-mini", "messages": [HI], "temperature": 0} | fields
    reader, _ = followed(chat_stream(body), n=fields.get("n", 1))
    folded, whole = reader.answer(0), chat.answer(chat_whole(body), 0)
    assert plain(json.loads(folded.body)) == plain(json.loads(whole.body))
    assert (folded.usage, folded.complete) == (whole.usage, whole.complete)
    ChatCompletion.model_validate_json(folded.body, strict=True)


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXTS},
    optional={
        "refusal": st.none() | TEXTS,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.text("abc", min_size=1, max_size=4),
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS}),
                }
            ),
            min_size=1,
            max_size=3,
        ),
        "annotations": st.just([]),
        "reasoning_content": TEXTS,
    },
)
LOGPROBS = st.lists(
    st.fixed_dictionaries(
        {"token": TEXTS, "logprob": st.floats(-9, 0), "bytes": st.none(), "top_logprobs": st.just([])}
    ),
    max_size=2,
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES, "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "content_filter"])},
    optional={
        "logprobs": st.none() | st.fixed_dictionaries({"content": LOGPROBS, "refusal": st.none()}),
        "content_filter_results": st.just({"hate": {"filtered": False}}),
    },
)
COUNTS = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
COMPLETIONS = st.fixed_dictionaries(
    {
        "id": st.just("chatcmpl-1"),
        "object": st.just("chat.completion"),
        "created": st.just(1_790_000_000),
        "model": st.just("m"),
        "choices": st.lists(CHOICES, min_size=1, max_size=3),
    },
    optional={
        "usage": st.just(COUNTS),
        "service_tier": st.just("default"),
        "system_fingerprint": st.none(),
        "x_new": st.just({"a": [1]}),
    },
)


def numbered(whole: dict[str, Any]) -> dict[str, Any]:
    return whole | {"choices": [{"index": at, **choice} for at, choice in enumerate(whole["choices"])]}


@given(COMPLETIONS)
def test_unfolding_and_folding_gives_the_answer_again(drawn: dict[str, Any]) -> None:
    whole = numbered(drawn)
    frames = chat.unfold(json.dumps(whole).encode())
    reader = chat.StreamReader(fold=True, n=len(whole["choices"]))
    marks = [reader.read(frame, sse.payload(frame) or b"") == ((frame, True),) for frame, _ in frames]
    assert json.loads(reader.answer(0).body) == whole
    assert marks == [only_usage for _, only_usage in frames]
    assert reader.whole


def seen(choice: Any) -> Any:
    """What the SDK adds up of a choice; fields that it does not know it drops where the choice is not the first."""
    return plain({name: getattr(choice, name) for name in ("finish_reason", "index")} | choice.message.model_dump()), (
        plain(choice.logprobs.model_dump()) if choice.logprobs else None
    )


@given(COMPLETIONS)
def test_the_sdk_reads_the_answer_out_of_an_unfolded_stream(drawn: dict[str, Any]) -> None:
    whole = numbered(drawn)
    frames = [frame for frame, _ in chat.unfold(json.dumps(whole).encode())]
    read_back = streamed_chat(b"".join(frames) + sse.DONE)
    sent = ChatCompletion.model_validate(whole)
    assert [seen(choice) for choice in read_back.choices] == [seen(choice) for choice in sent.choices]
    assert (read_back.id, read_back.model, read_back.usage) == (sent.id, sent.model, sent.usage)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "chat_variations"])
def test_the_sdk_reads_the_same_before_and_after(name: str) -> None:
    stream = (GOLDEN / f"{name}.sse").read_bytes()
    replayed = b"".join(frame for frame, _ in chat.unfold((GOLDEN / f"{name}.json").read_bytes())) + sse.DONE
    assert streamed_chat(stream).choices == streamed_chat(replayed).choices


@pytest.mark.parametrize("choice", [{}, {"message": None}, {"message": {"content": "x"}, "finish_reason": None}])
def test_an_answer_with_gaps_can_still_be_replayed(choice: dict[str, Any]) -> None:
    frames = chat.unfold(json.dumps({"choices": [choice]}).encode())
    assert [frame.startswith(b"data: ") for frame, _ in frames] == [True, True, True]


@pytest.mark.parametrize("tokens", [-1, 10**9 + 1, 10**14, 10**19])
@pytest.mark.parametrize("kind", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_cannot_be_is_as_if_none_was_told(kind: str, tokens: int) -> None:
    """No ledger could hold it, and with it the answer and all that came in the same batch."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1, kind: tokens}
    said = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [said], "usage": usage}
    answer = chat.answer(msgspec.json.encode(body), 0.0)
    assert (answer.usage, answer.complete) == (None, True)
