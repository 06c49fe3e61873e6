"""Entries of an array, cut out of an object however it comes, and everything that is none told as one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.providers.json_entries import EntryCutter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ENTRY = st.dictionaries(st.text(), JSON) | st.lists(JSON)


def cut(data: bytes, sizes: list[int]) -> tuple[list[bytes], str | None]:
    """All entries of it when it comes in pieces of these sizes, then the rest; and what the next page is asked by."""
    cutter = EntryCutter("results", next_page="token")
    found: list[bytes] = []
    for size in sizes:
        found += cutter.feed(data[:size])
        data = data[size:]
    found += [*cutter.feed(data), *cutter.end()]
    return found, cutter.after


@given(st.lists(ENTRY), st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), JSON), st.booleans(), st.data())
def test_entries_come_out_as_they_were(
    entries: list[Any], before: dict[str, Any], after: dict[str, Any], spaced: bool, data: st.DataObject
) -> None:
    around = {name: value for name, value in (before | after).items() if name not in ("results", "token")}
    whole: dict[str, Any] = {name: around[name] for name in before if name in around}
    whole |= {"results": entries} | around | {"token": "next"}
    separators = (", ", ": ") if spaced else (",", ":")
    sent = json.dumps(whole, separators=separators, ensure_ascii=spaced).encode(errors="replace")
    sizes = data.draw(st.lists(st.integers(1, 7), max_size=40))
    expected = [
        json.dumps(entry, separators=separators, ensure_ascii=spaced).encode(errors="replace") for entry in entries
    ]
    assert cut(sent, sizes) == (expected, "next" if entries else None)


@given(st.binary(max_size=60), st.lists(st.integers(1, 7), max_size=20))
def test_whatever_comes_is_read_to_its_end_the_same_in_any_pieces(data: bytes, sizes: list[int]) -> None:
    assert cut(data, sizes) == cut(data, [])


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'{"results":[{"a":1},', [b'{"a":1}', b"["]),
        (b'{"results":[{"a":1},{"b"', [b'{"a":1}', b'{"b"']),
        (b'{"results":[{"a":1}]', [b'{"a":1}', b"]"]),
        (b'{"results":[{"a":1}}', [b'{"a":1}', b"}"]),
        (b'{"results":[{"a":1}, 5, {"b":2}, null]}', [b'{"a":1}', b"5", b'{"b":2}', b"null"]),
        (b'{"error":{"message":"x"}}', [b'{"error":{"message":"x"}}']),
        (b'[{"results":[{}]}]', [b'[{"results":[{}]}]']),
        (b"<html>", [b"<html>"]),
        (b"", [b"["]),
    ],
)
def test_what_cannot_be_read_is_told(sent: bytes, told: list[bytes]) -> None:
    assert cut(sent, []) == (told, None)


@pytest.mark.parametrize("sent", [b"{}", b'{"results":null}', b'{"results":[]}', b'{"results": [ ] , "token":"x"}'])
def test_nothing_is_no_entry_and_has_no_next_page(sent: bytes) -> None:
    assert cut(sent, [1] * len(sent)) == ([], None)


def test_an_array_of_the_same_name_further_in_is_none_of_it() -> None:
    sent = b'{"a":{"results":[1]},"b":"\\"results\\":[","results":[{"results":[2]}]}'
    assert cut(sent, []) == ([b'{"results":[2]}'], None)


def test_a_text_of_escapes_as_long_as_they_come_is_read_in_time_that_grows_with_it() -> None:
    sent = json.dumps({"results": [{"text": "\n" * 1_000_000}]}).encode()
    (entry,), _ = cut(sent, [4096] * 600)
    assert len(entry) > 2_000_000
