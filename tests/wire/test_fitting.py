"""Body surgery: which texts may be shortened, and that everything else stays the bytes it was."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchway.core.compress import Text, fit
from batchway.core.errors import BadRequest
from batchway.wire import chat, fitting

PROSE = "The museum was founded by two sisters. It holds maps and clocks. Entry has always been free of charge."
CALL = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":  "sea"}'}}]


def body(*messages: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields, "messages": list(messages)}).encode()


def free(*messages: dict[str, Any], **fields: Any) -> list[str]:
    """The texts that may be shortened."""
    return [text.text for text in fitting.texts(body(*messages, **fields)) if not text.protected]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("messages", "texts"),
    [
        ([user("only")], []),
        ([user("older"), {"role": "assistant", "content": "answer"}, user("last")], ["older", "answer"]),
        ([{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, user("last")], []),
        ([user("older"), user("last"), {"role": "system", "content": "s"}], ["older"]),
        ([user("last"), {"role": "assistant", "content": "begun"}], ["begun"]),
        ([user([part("a"), part("b")]), user([part("c"), part("d")])], ["a", "b"]),
        ([user([{"type": "image_url", "image_url": {"url": "u"}}, part("seen")]), user("last")], ["seen"]),
        ([user([{"type": "unheard", "text": "of"}]), user("last")], []),
        ([{"role": "assistant", "content": None, "tool_calls": CALL}, user("last")], []),
        ([{"role": "assistant", "content": "I look.", "tool_calls": CALL}, user("last")], ["I look."]),
        ([{"role": "tool", "tool_call_id": "1", "content": '{"a": 1}'}, user("last")], []),
        ([user("last"), {"role": "tool", "tool_call_id": "1", "content": PROSE}], [PROSE]),
        ([user("last"), {"role": "tool", "tool_call_id": "1", "content": [part("41"), part(PROSE)]}], [PROSE]),
        ([{"role": "function", "name": "f", "content": "41"}, user("last")], []),
        ([{"role": "assistant", "content": "no user"}], ["no user"]),
        ([], []),
    ],
)
def test_only_older_prose_may_be_shortened(messages: list[dict[str, Any]], texts: list[str]) -> None:
    assert free(*messages) == texts


def test_turns_count_up_at_each_user_message() -> None:
    texts = fitting.texts(
        body(
            {"role": "system", "content": "s"},
            user("a"),
            {"role": "assistant", "content": "b"},
            user("c"),
            {"role": "tool", "tool_call_id": "1", "content": "d"},
            tools=[],
        )
    )
    assert [(text.role, text.turn) for text in texts] == [
        ("system", 0), ("user", 1), ("assistant", 1), ("user", 2), ("tool", 2), ("tools", 2),
    ]  # fmt: skip


EVERYTHING = body(
    {"role": "system", "content": "s"},
    user([part("a"), {"type": "image_url", "image_url": {"url": "u"}}, part("b")]),
    {"role": "assistant", "content": "c", "tool_calls": CALL, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "tool", "tool_call_id": "call_1", "content": "d"},
    user("e"),
    tools=[{"type": "function", "function": {"name": "look"}}],
    functions=[{"name": "f"}],
    response_format={"type": "json_object"},
)


def test_the_texts_are_those_that_the_prompt_is_counted_by() -> None:
    assert tuple(text.text for text in fitting.texts(EVERYTHING)) == chat.read(EVERYTHING).prompt.texts
    assert all(text.protected for text in fitting.texts(EVERYTHING)[-3:])


def test_new_texts_are_put_in_and_all_other_values_stay_their_bytes() -> None:
    given_ = (
        b' {"seed": 1.50, "messages" : [ {"role":"system","content":"\\u0073"},\n'
        b'{"role":"user","content":"old \\u00e9","name" : "a\\/b"},'
        b'{"role":"user","content":[{"type":"text","text":"x","cache_control":{"t":1.0}},{"type":"file","file":{"id":"\\u0075"}}]},'
        b'{"content":"last \\u0041","role":"user"}], "top_p":1e0, "messages_":null}'
    )
    texts = [text.text for text in fitting.texts(given_)]
    assert texts == ["s", "old é", "x", "last A"]
    assert fitting.replace(given_, ["s", 'né"w\n', "y", "last A"]) == (
        b'{"seed":1.50,"messages":[{"role":"system","content":"\\u0073"},'
        + '{"role":"user","content":"né\\"w\\n","name":"a\\/b"},'.encode()
        + b'{"role":"user","content":[{"type":"text","text":"y","cache_control":{"t":1.0}},'
        b'{"type":"file","file":{"id":"\\u0075"}}]},'
        b'{"content":"last \\u0041","role":"user"}],"top_p":1e0,"messages_":null}'
    )


def test_a_body_without_changes_is_the_same_bytes() -> None:
    assert fitting.replace(EVERYTHING, [text.text for text in fitting.texts(EVERYTHING)]) is EVERYTHING


@pytest.mark.parametrize("at", [0, 4, 5, 6, 7, 8])
def test_a_protected_text_is_never_changed(at: int) -> None:
    texts = [text.text for text in fitting.texts(EVERYTHING)]
    texts[at] = "changed"
    with pytest.raises(ValueError, match=r"a protected text of \w+ was changed"):
        fitting.replace(EVERYTHING, texts)


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "three"]])
def test_as_many_texts_as_there_are(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"argument 2 is (shorter|longer)"):
        fitting.replace(body(user("one"), user("two")), texts)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b'{"messages":5}',
        b'{"messages":[5]}',
        b'{"messages":[{"content":""}]}',
        body(user(5)),
        body(user([5])),
    ],
)
def test_what_is_no_chat_is_a_bad_request(wrong: bytes) -> None:
    with pytest.raises(BadRequest):
        fitting.texts(wrong)


CONTENTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MESSAGES = st.lists(
    st.builds(
        lambda role, content, extra: {"role": role, "content": content, **extra},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        CONTENTS | st.lists(CONTENTS.map(part) | st.just({"type": "image_url", "image_url": {"url": "é"}}), max_size=3),
        st.sampled_from([{}, {"name": "ü"}, {"tool_calls": CALL}]),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(MESSAGES, st.booleans(), st.data())
def test_after_replacing_the_body_says_the_new_texts_and_nothing_else_new(
    messages: list[dict[str, Any]], plain: bool, data: st.DataObject
) -> None:
    given_ = json.dumps({"messages": messages, "model": "m"}, ensure_ascii=plain, indent=1).encode()
    before = fitting.texts(given_)
    new = [text.text if text.protected else data.draw(CONTENTS) for text in before]
    after = fitting.replace(given_, new)
    assert [text.text for text in fitting.texts(after)] == new
    assert _blanked(json.loads(after)) == _blanked(json.loads(given_))


def _blanked(content: Any) -> Any:
    """The body without what may have changed."""
    for message in content["messages"]:
        if isinstance(message["content"], str):
            message["content"] = ""
        else:
            message["content"] = [{**each, "text": ""} if "text" in each else each for each in message["content"]]
    return content


def test_fitting_a_body_end_to_end() -> None:
    story = "".join(f"Visitor {number} looked at the map of the harbour and left. " for number in range(80))
    given_ = body({"role": "system", "content": "Be brief."}, user(story), user("Who looked at the globe?"), n=1)

    def words(text: str) -> int:
        return len(text.split())

    fitted = fit(fitting.texts(given_), 200, words)
    after = fitting.replace(given_, fitted.texts)
    assert fitted.fits and sum(words(text) for text in chat.read(after).prompt.texts) <= 200
    assert [message["content"] for message in json.loads(after)["messages"]][::2] == [
        "Be brief.",
        "Who looked at the globe?",
    ]
    assert isinstance(fitting.texts(after)[1], Text)
