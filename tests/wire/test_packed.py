"""The bodies around a packed prompt: one body asks for all, each request gets a completion of its own."""

import json
from typing import Any

import msgspec
import pytest

from batchway.core.types import Usage
from batchway.wire import chat
from batchway.wire.packed import kin, pack, parts, unpack

SYSTEM = {"role": "system", "content": "Be brief.", "x_unknown": [1]}


def asking(text: str, **fields: Any) -> bytes:
    messages = [SYSTEM, {"role": "user", "content": text}]
    return json.dumps({"model": "m", "messages": messages, "temperature": 0} | fields).encode()


def test_only_the_last_message_and_the_bound_change() -> None:
    first = asking("one", max_tokens=10, logit_bias={"5": 1.5}, seed=2**60)
    together = json.loads(pack([first, asking("two", max_tokens=10)], "both", 75))
    expected = json.loads(first) | {"max_tokens": 75}
    expected["messages"][-1]["content"] = "both"
    assert together == expected


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({}, True),
        ({"user": "ann", "metadata": {"a": "b"}, "stream": False}, True),
        ({"stop": None, "logit_bias": None}, True),
        ({"temperature": 0.5}, False),
        ({"max_tokens": 5}, False),
        ({"x_unknown": 1}, False),
        ({"messages": [{"role": "user", "content": "two"}]}, False),
        ({"messages": [SYSTEM, {"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}, False),
    ],
)
def test_who_differs_in_the_last_message_alone_is_kin(other: dict[str, Any], alike: bool) -> None:
    assert (kin(asking("one")).key == kin(asking("two", **other)).key) == alike


@pytest.mark.parametrize(
    ("fields", "apart"),
    [
        ({}, None),
        ({"seed": 5, "max_tokens": 5, "user": "u", "service_tier": "flex", "store": False}, None),
        ({"stop": ["a"]}, "stop"),
        ({"stop": None}, None),
        ({"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}, None),
        ({"presence_penalty": 0.1}, "presence_penalty"),
        ({"guided_regex": "[ab]"}, "guided_regex"),
        ({"prediction": {"type": "content"}}, "prediction"),
    ],
)
def test_a_field_that_may_mean_something_else_in_company_is_named(fields: dict[str, Any], apart: str | None) -> None:
    assert kin(asking("one", **fields)).apart == apart


def test_a_text_in_parts_becomes_a_text() -> None:
    said = [{"type": "text", "text": "one"}]
    together = json.loads(
        pack([asking("x", messages=[SYSTEM, {"role": "user", "content": said}]), asking("y")], "z", None)
    )
    assert together["messages"] == [SYSTEM, {"role": "user", "content": "z"}]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_without_a_bound_for_all_there_is_none(name: str) -> None:
    assert name not in json.loads(pack([asking("one", **{name: 5}), asking("two")], "both", None))
    assert "max_tokens" not in json.loads(pack([asking("one"), asking("two")], "both", 9))


def test_nobody_answers_for_anothers_question() -> None:
    one = asking("one", user="ann", safety_identifier="s", metadata={"a": "1"}, temperature=0)
    two = asking("two", user="bob", safety_identifier="s", temperature=0.0)
    together = json.loads(pack([one, two], "both", None))
    assert (together.get("user"), together.get("metadata"), together["safety_identifier"]) == (None, None, "s")
    assert together["temperature"] == 0
    named = [asking("x", messages=[{"role": "user", "content": "x", "name": name}]) for name in ("ann", "bob", "ann")]
    assert "name" not in json.loads(pack(named[:2], "both", None))["messages"][0]
    assert json.loads(pack(named[::2], "both", None))["messages"][0]["name"] == "ann"


def test_numbers_and_strange_texts_stay_as_they_came() -> None:
    body = b'{"model":"m","top_p":0.10000000000000001,"messages":[{"role":"user","content":"a"}]}'
    together = pack([body, body], 'line\u2028\x00"\\', None)
    assert b"0.10000000000000001" in together
    assert json.loads(together)["messages"][0]["content"] == 'line\u2028\x00"\\'


def completion(content: str | None, reason: str | None = "stop", **fields: Any) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}
    return json.dumps({"id": "c-1", "object": "chat.completion", "choices": [choice], "usage": usage} | fields).encode()


def test_an_answer_is_read() -> None:
    read = unpack(completion("words", service_tier="flex"))
    assert (read.text, read.cut, read.usage) == ("words", False, Usage(input=9, output=5, cached=3, tier="flex"))


@pytest.mark.parametrize("reason", ["length", "content_filter", None, "error"])
def test_what_did_not_end_by_itself_is_cut(reason: str | None) -> None:
    assert unpack(completion("words", reason)).cut


def test_what_says_nothing_has_no_text() -> None:
    assert unpack(completion(None)).text == ""
    nothing = unpack(b'{"choices":[]}')
    assert (nothing.text, nothing.cut, nothing.usage) == ("", True, None)
    with pytest.raises(msgspec.DecodeError):
        unpack(b'{"error":{}}')


def test_a_part_is_a_completion_of_its_own() -> None:
    whole = completion("all", "length", x_unknown={"kept": 1.50})
    share = Usage(input=4, output=2, cached=1, cache_written=2, cache_written_hour=1, reasoning=1)
    part = parts(whole)
    one, two = part("mine", share, 0), part("yours", None, 1)
    read = json.loads(one)
    assert (read["id"], json.loads(two)["id"], read["x_unknown"]) == ("c-1-0", "c-1-1", {"kept": 1.5})
    assert read["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "mine", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert read["usage"]["total_tokens"] == 6
    assert (chat.content(two), "usage" in json.loads(two)) == ("yours", False)
    answer = chat.answer(one, 7.0)
    assert (answer.usage, answer.complete) == (share, True)


def test_a_part_of_an_answer_without_an_id() -> None:
    assert json.loads(parts(completion("all", id=None))("mine", None, 3))["id"] == "chatcmpl-3"
