"""Bodies: refused before a parser could suffer, rewritten without a byte lost, and spelt in one way to be compared."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from batchway.core.errors import BadRequest
from batchway.core.types import Endpoint
from batchway.wire import body
from batchway.wire.endpoints import FRONTS

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
TRICKY_TEXTS = TEXTS | st.text(alphabet='{}[]"\\\\u2028é', max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    SCALARS | TRICKY_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY_TEXTS, inner, max_size=3),
    max_leaves=12,
)
SPELLINGS = ["1.0", "1.50", "1e5", "1E+2", "-0", "-0.0", "1e999", "0.1000", "123456789012345678901234567890"]
SPELLINGS += [
    '"\\u00e9"',
    '"é"',
    '"\\/"',
    '"\\ud83d\\ude00"',
    '"a\u2028b"',
    '{ "x" : [ 1 , 2.0 ] }',
    "[ ]",
    "null",
    "true",
]


def naive_depth(value: Any) -> int:
    """The depth of a parsed value."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((naive_depth(each) for each in (value.values() if isinstance(value, dict) else value)), default=0)


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_depth_is_that_of_a_parser(value: Any, plain: bool, indent: int | None) -> None:
    assert body.depth(json.dumps(value, ensure_ascii=plain, indent=indent).encode()) == naive_depth(value)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("1", 0),
        ("{}", 1),
        ("[[],[[]]]", 3),
        ('{"a":"[[[["}', 1),
        (r'{"a":"\"[[["}', 1),
        (r'{"a":"\\","b":[1]}', 2),
        (r'{"a":"\\\"[[","b":{}}', 2),
        (r'{"[[\\":[[]]}', 3),
        (r'["\\\\",[[]]]', 3),
    ],
)
def test_brackets_inside_strings_do_not_count(text: str, depth: int) -> None:
    assert body.depth(text.encode()) == depth


@pytest.mark.parametrize("open_, close", [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_bound_on_depth_is_exact(open_: bytes, close: bytes) -> None:
    body.check(open_ * 64 + b"1" + close * 64, 64)
    with pytest.raises(BadRequest, match=r"nested deeper than 64 levels.*max_json_depth") as refused:
        body.check(open_ * 65 + b"1" + close * 65, 64)
    assert (refused.value.fault.status, refused.value.fault.code) == (400, "json_too_deep")


def test_brackets_that_are_many_but_not_deep_are_taken() -> None:
    body.check(b"[" + b'{"a":[{}]},' * 100 + b'"{[{[{["]', 4)
    body.check(b'{"a":"' + b"{[" * 1000 + b'","b":[[[1]]]}', 4)
    with pytest.raises(BadRequest, match="nested deeper"):
        body.check(b'{"a":"' + b"{[" * 1000 + b'","b":[[[1]]]}', 3)


def test_what_never_closes_is_counted_as_well() -> None:
    with pytest.raises(BadRequest, match="nested deeper"):
        body.check(b"[" * 100_000, 64)


def test_many_brackets_that_are_not_deep_are_fine() -> None:
    body.check(b"[" + b"[]," * 1000 + b"[]]", 4)
    body.check(json.dumps({"code": "[" * 1000}).encode(), 4)


@pytest.mark.parametrize(
    ("content", "at"), [(b'{"a":"\xff"}', 6), (b'"\xc3', 1), (b'"\xed\xa0\x80"', 1), (b'{"a":"\xc0\x80"}', 6)]
)
def test_bad_utf8_says_where(content: bytes, at: int) -> None:
    with pytest.raises(BadRequest, match=rf"not valid UTF-8 \(byte {at}\)") as refused:
        body.check(content, 64)
    assert refused.value.fault.code == "invalid_utf8"


@pytest.mark.parametrize("endpoint", FRONTS)
@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "invalid_json", "not valid JSON"),
        (b"   ", "invalid_json", "not valid JSON"),
        (b"{", "invalid_json", "not valid JSON"),
        (b'{"model":"m",}', "invalid_json", "not valid JSON"),
        (b'{"model":"m"} {}', "invalid_json", "not valid JSON"),
        (b'\xef\xbb\xbf{"model":"m"}', "invalid_json", "not valid JSON"),
        (b'{"model":NaN}', "invalid_json", "not valid JSON"),
        (b'{"user":"\\ud800"}', "invalid_json", "not valid JSON: \\ud800 (byte 9) is half of a surrogate pair"),
        (b'{"u":"\\\\\\uDE00 and what follows"}', "invalid_json", "\\uDE00 (byte 8) is half of a surrogate pair"),
        (b'{"user":"\\ud83d\\ude00\\ud83d\\u0041"}', "invalid_json", "\\ud83d (byte 21) is half of a surrogate pair"),
        (b'{"user":"\\\\ud800', "invalid_json", "not valid JSON: Input data was truncated."),
        (b"[]", "invalid_type", "body: expected `object`, got `array`"),
        (b"null", "invalid_type", "body: expected `object`, got `null`"),
        (b"7", "invalid_type", "body: expected `object`, got `int`"),
        (b'"hi"', "invalid_type", "body: expected `object`, got `str`"),
        (b'{"model":5}', "invalid_type", "model: expected `str | null`, got `int`"),
    ],
)
def test_what_is_no_object_is_refused_in_words(endpoint: Endpoint, content: bytes, code: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        FRONTS[endpoint].read(content)
    fault = refused.value.fault
    assert (fault.status, fault.code) == (400, code)
    assert words in fault.message


@given(st.dictionaries(TEXTS, st.sampled_from(SPELLINGS), min_size=1), st.sampled_from(["", " ", "\n\t"]))
def test_joining_keeps_every_value_byte_for_byte(given_fields: dict[str, str], space: str) -> None:
    pairs = [f"{space}{json.dumps(name)}{space}:{space}{value}{space}" for name, value in given_fields.items()]
    content = ("{" + ",".join(pairs) + "}").encode()
    fields = body.fields(content)
    fields["ours"] = body.raw("x")
    again = body.fields(body.join(fields))
    assert {name: bytes(value).decode() for name, value in again.items() if name != "ours"} == {
        name: value for name, value in given_fields.items() if name != "ours"
    }
    assert list(again)[: len(given_fields)] == list(given_fields)


def test_a_field_given_twice_counts_once_the_last() -> None:
    assert body.join(body.fields(b'{"a":1,"b":2,"a":3.0}')) == b'{"a":3.0,"b":2}'


@pytest.mark.parametrize(
    ("value", "content"),
    [(UNSET, None), (Raw(b"null"), None), (Raw(b"0"), b"0"), (Raw(b'""'), b'""'), (Raw(b"[]"), b"[]")],
)
def test_null_and_absent_are_not_given(value: Any, content: bytes | None) -> None:
    assert body.given(value) == content


NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "other",
    [
        b'{"b":[1,{"d":2,"c":1}],"a":0}',
        b' { "a" : 0 , "b" : [ 1 , { "c" : 1 , "d" : 2 } ] } ',
        b'{"a":0.0,"b":[1,{"c":1,"d":2}]}',
        b'{"a":-0.0,"b":[1,{"c":1,"d":2}]}',
        b'{"\\u0061":0,"b":[1,{"c":1,"d":2}]}',
        b'{"a":0,"b":[1,{"c":1,"d":2}],"n":null}',
        b'{"a":9,"a":0,"b":[1,{"c":1,"d":2}]}',
        b'{"a":0,"b":[1,{"c":1,"d":2}],"user":"me"}',
    ],
)
def test_other_spellings_of_the_same_are_equal(other: bytes) -> None:
    one = b'{"a":0,"b":[1,{"c":1,"d":2}]}'
    assert body.canonical(other, frozenset({"user"})) == body.canonical(one, frozenset({"user"}))


@pytest.mark.parametrize(
    "other",
    [
        b'{"a":1,"b":[1,2]}',
        b'{"a":0,"b":[2,1]}',
        b'{"a":false,"b":[1,2]}',
        b'{"a":"0","b":[1,2]}',
        b'{"a":0,"b":[1,2,null]}',
        b'{"a":0,"b":[1,2],"c":""}',
        b'{"a":0,"b":{"1":2}}',
        b'{"a":0.1,"b":[1,2]}',
    ],
)
def test_other_content_is_different(other: bytes) -> None:
    assert body.canonical(other, NOTHING) != body.canonical(b'{"a":0,"b":[1,2]}', NOTHING)


@given(st.dictionaries(TEXTS, JSON, max_size=4), st.dictionaries(TEXTS, JSON, max_size=4))
def test_canonical_is_equal_for_equal_content_only(one: dict[str, Any], other: dict[str, Any]) -> None:
    def spelt(value: dict[str, Any], **how: Any) -> bytes:
        return body.canonical(json.dumps(value, **how).encode(), NOTHING)

    assert spelt(one) == spelt(dict(reversed(one.items())), ensure_ascii=False, indent=2)
    if spelt(one) == spelt(other):
        assert {name: value for name, value in one.items() if value is not None} == {
            name: value for name, value in other.items() if value is not None
        }


@settings(max_examples=30)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_whole_floats_of_any_size_have_a_spelling(number: float) -> None:
    content = body.canonical(json.dumps({"x": number}).encode(), NOTHING)
    assert json.loads(content)["x"] == number


@pytest.mark.parametrize("number", [b"1e400", b"-1e999", b"1" * 5000])
def test_a_number_past_all_floats_has_none(number: bytes) -> None:
    with pytest.raises(msgspec.ValidationError, match="out of range"):
        body.canonical(b'{"x":' + number + b"}", NOTHING)
