"""Lines: however a body of many requests comes in pieces, it has the same lines, and each says which request it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.core.errors import BadRequest, Conflict, Stopping, TooLarge
from batchway.core.types import Endpoint, Fault
from batchway.wire import lines
from batchway.wire.endpoints import FRONTS
from batchway.wire.lines import Cutter, Line

LONGEST = 8
BOM = b"\xef\xbb\xbf"
Numbered = list[tuple[int, bytes]]

BODIES: dict[str, tuple[bytes, Numbered]] = {
    "nothing": (b"", []),
    "one": (b"one\n", [(1, b"one")]),
    "no newline at the end": (b"one\ntwo", [(1, b"one"), (2, b"two")]),
    "blank ones are numbered and dropped": (b"\n\none\n \t\n\r\ntwo\n\n\n", [(3, b"one"), (6, b"two")]),
    "a mark before the first": (BOM + b"one\n", [(1, b"one")]),
    "a mark alone": (BOM, []),
    "a mark and blank lines": (BOM + b"\n\none", [(3, b"one")]),
    "a mark before the second is its own": (b"one\n" + BOM + b"two", [(1, b"one"), (2, BOM + b"two")]),
    "CRLF": (b"one\r\ntwo\r\n", [(1, b"one"), (2, b"two")]),
    "a lone CR ends no line": (b"o\rne\ntwo", [(1, b"o\rne"), (2, b"two")]),
    "no other separator ends one": ("\x0b\x0cx\x85\u2028".encode(), [(1, "\x0b\x0cx\x85\u2028".encode())]),
    "as long as it may be": (b"12345678\n12345678", [(1, b"12345678"), (2, b"12345678")]),
    "as long as it may be after a mark": (BOM + b"12345678\nx", [(1, b"12345678"), (2, b"x")]),
    "as long as it may be before CRLF": (b"12345678\r\nx\r\n", [(1, b"12345678"), (2, b"x")]),
    "not UTF-8": (b"\xff\xfe\n\xc3", [(1, b"\xff\xfe"), (2, b"\xc3")]),
}  # fmt: skip


def cut(body: bytes, sizes: list[int], longest: int = LONGEST) -> Numbered:
    """The lines of a body that comes in pieces of these sizes, and then all at once."""
    cutter, found, at = Cutter(longest), list[tuple[int, bytes]](), 0
    for size in sizes:
        found += cutter.feed(body[at : at + size])
        at += size
    found += cutter.feed(body[at:])
    return found + list(cutter.end())


@pytest.mark.parametrize("size", [10_000, 7, 3, 2, 1])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_cut_into_its_lines(name: str, size: int) -> None:
    body, expected = BODIES[name]
    assert cut(body, [size] * (len(body) // size + 1)) == expected


@given(
    st.lists(st.sampled_from([b"a", b"{}", b"123456789", b" ", b"\n", b"\n", b"\r\n", b"\r", BOM]), max_size=30),
    st.lists(st.integers(0, 6), max_size=40),
)
def test_where_the_pieces_end_makes_no_difference(pieces: list[bytes], sizes: list[int]) -> None:
    body = b"".join(pieces)
    found = cut(body, sizes)
    assert found == cut(body, [])
    # Each stands where it stood, and none but blank ones is missing.
    stood = dict(enumerate(body.removeprefix(BOM).split(b"\n"), 1))
    assert [number for number, _ in found] == [number for number, line in stood.items() if line.strip(b" \r")]
    for number, line in found:
        whole = stood[number].removesuffix(b"\r")
        assert line == whole if len(whole) <= LONGEST else len(line) > LONGEST and whole.startswith(line)


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_that_is_too_long_is_known_by_its_length_and_not_kept(mark: bytes, size: int) -> None:
    body = mark + b"x" * 500 + b"\nafter\n" + b"y" * 9
    (first, long), after, (third, last) = cut(body, [size] * 600)
    assert (first, after, third) == (1, (2, b"after"), 3)
    assert LONGEST < len(long) < LONGEST + 8
    assert len(last) > LONGEST


def test_a_line_is_whole_as_soon_as_its_newline_has_come() -> None:
    cutter = Cutter(LONGEST)
    assert list(cutter.feed(b"one\ntw")) == [(1, b"one")]
    assert list(cutter.feed(b"")) == []
    assert list(cutter.feed(b"o\n")) == [(2, b"two")]
    assert list(cutter.end()) == []


CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BY_URL: dict[str, tuple[Endpoint, dict[str, Any]]] = {
    "/v1/chat/completions": ("chat", CHAT),
    "/v1/embeddings": ("embeddings", {"model": "m", "input": "hi"}),
    "/v1/responses": ("responses", {"model": "m", "input": "hi"}),
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "chat",
    [
        CHAT,
        CHAT | {"request_id": "mine", "url": "x", "body": 5},
        # A custom_id that stands inside, and is no field.
        CHAT | {"messages": [{"role": "user", "content": 'say "custom_id"'}]},
        CHAT | {"metadata": {"custom_id": "a", "url": "/v1/nope", "method": "GET"}},
        CHAT | {"messages": [{"role": "user", "content": "x", "custom_id": "a"}]},
    ],
)
def test_a_line_is_the_body_of_a_chat(chat: dict[str, Any]) -> None:
    content = encoded(chat)
    assert lines.read(content) == Line(FRONTS["chat"], content, None)


@pytest.mark.parametrize("url", BY_URL)
def test_a_line_of_a_batch_says_its_endpoint(url: str) -> None:
    endpoint, body = BY_URL[url]
    spelt = b'{ "model" :"m","x": 1.50 , "messages":[], "input": "\\u00e9"}'
    given = encoded({"custom_id": "row-1", "method": "POST", "url": url, "body": "here"}).replace(b'"here"', spelt)
    assert lines.read(given) == Line(FRONTS[endpoint], spelt, "row-1"), "the body is what it was, byte for byte"
    line = lines.read(encoded({"body": body, "url": url, "custom_id": "row-1", "unknown": [1]}))
    assert (line.front.endpoint, json.loads(line.content), line.custom_id) == (endpoint, body, "row-1")
    assert line.front.read(line.content).prompt.model == "m"


def test_a_line_of_a_batch_is_a_chat_where_it_says_nothing() -> None:
    for custom_id in ("a", "", None):
        line = lines.read(encoded({"custom_id": custom_id, "body": CHAT}))
        assert (line.front.endpoint, json.loads(line.content), line.custom_id) == ("chat", CHAT, custom_id)


ROW = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}


@pytest.mark.parametrize(
    ("content", "param", "code", "words"),
    [
        (encoded(ROW | {"url": "/v1/audio"}), "url", "invalid_value",
         "url: '/v1/audio' is not one of /v1/chat/completions, /v1/embeddings, /v1/responses."),
        (encoded(ROW | {"url": "x" * 999}), "url", "invalid_value", f"url: '{'x' * 50}' is not"),
        (encoded(ROW | {"url": None}), "url", "invalid_type", "url: expected `str`, got `null`."),
        (encoded(ROW | {"method": "GET"}), "method", "invalid_type", "method: invalid enum value 'GET'."),
        (encoded({"custom_id": "a"}), "body", "invalid_value", "body: missing"),
        (encoded(ROW | {"custom_id": 5}), "custom_id", "invalid_type", "custom_id: expected `str | null`, got `int`."),
        (b'{"custom_id": "a", "body": {}', None, "invalid_json", "not valid JSON"),
        (b'{"custom_id": "a", "body": {}} {}', None, "invalid_json", "not valid JSON"),
        (b'{"custom_id": "\xff", "body": {}}', None, "invalid_utf8", "not valid UTF-8"),
        (b'{"custom_id": "a", "url": "\xff", "body": {}}', None, "invalid_utf8", "not valid UTF-8"),
        (b'{"custom_id": "\\ud800", "body": {}}', None, "invalid_json", "\\ud800 (byte 15) is half of"),
        (b'["custom_id"]', None, "invalid_type", "body: expected `object`, got `array`."),
        (b'{"custom_id": "a", "body": ' + b"[" * 100_000, None, "json_too_deep", "nested too deep"),
    ],
)  # fmt: skip
def test_what_is_no_line_of_a_batch_is_refused_in_words(
    content: bytes, param: str | None, code: str, words: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        lines.read(content)
    fault = refused.value.fault
    assert (fault.status, fault.param, fault.code) == (400, param, code)
    assert words in fault.message
    assert len(fault.message) < 300


def test_what_is_said_of_a_line() -> None:
    assert json.loads(lines.taken(7, "mine")) == {"line": 7, "request_id": "mine", "status": "pending"}
    assert json.loads(lines.taken(7, "mine", "completed"))["status"] == "completed"
    conflict = Conflict("No.", param="request_id").fault
    error = {"message": "No.", "type": "conflict_error", "param": "request_id", "code": "request_id_conflict"}
    said = lines.refused(8, None, conflict)
    assert said.endswith(b"\n") and said.count(b"\n") == 1
    assert json.loads(said) == {"line": 8, "request_id": None, "status": "refused", "error": error}
    failed = {"line": 9, "request_id": "mine", "status": "failed", "error": error}
    assert json.loads(lines.failed(9, "mine", conflict)) == failed


@pytest.mark.parametrize(
    ("fault", "later"),
    [
        (Stopping("Later.", retry_after=1.5).fault, {"retry_after": 1.5}),
        (Stopping("Later.").fault, {"retry_after": None}),
        (TooLarge("Never.").fault, {}),
    ],
)
def test_what_may_be_taken_later_says_so(fault: Fault, later: dict[str, Any]) -> None:
    said = json.loads(lines.refused(1, "mine", fault))
    assert {name: value for name, value in said.items() if name == "retry_after"} == later
