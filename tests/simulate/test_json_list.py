"""A JSON list cut into its items: whatever the pieces of its text, the same items with the same lines, or one error."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.core.errors import InputError
from batchway.simulate import json_list
from batchway.simulate.json_list import cut


def items(text: str, piece: int = 10**9) -> list[tuple[int, object]]:
    """Each item and its line, the text coming in pieces."""

    def pieces() -> Iterator[str]:
        for at in range(0, len(text), piece):
            yield text[at : at + piece]

    found = cut(pieces(), lambda line, what: InputError(f"{line}: {what}"))
    return [(line, json.loads(item)) for line, item in found]


LIST = '\n[\n  "a, ]",\n  {"b": ["\\"", 1,\n  2]},\n\n 12.5e3, null ,{} ,\n"日本"\n]\n '
ITEMS = [(3, "a, ]"), (4, {"b": ['"', 1, 2]}), (7, 12500.0), (7, None), (7, {}), (8, "日本")]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 10**9])
def test_items_and_their_lines_whatever_the_pieces(piece: int) -> None:
    assert items(LIST, piece) == ITEMS
    assert items(" [ ] ", piece) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=8), st.integers(1, 40), st.sampled_from([None, 1]))
def test_any_list_is_cut_as_it_is_read_whole(values: list[object], piece: int, indent: int | None) -> None:
    assert [item for _, item in items(json.dumps(values, indent=indent), piece)] == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: the list must begin with ["),
        ('{"a": 1}', "1: the list must begin with ["),
        ('["a"', "1: the list has no end"),
        ('["a",\n', "2: the list has no end"),
        ('["a"\n"b"]', "2: after an item stands '\"'"),
        ('["a",]', "1: not JSON: Expecting value"),
        ('["a",\n\n"b]', "3: not JSON: Unterminated string"),
        ('[\n{"a": 1,\n "b" 2}]', "3: not JSON: Expecting ':' delimiter"),
        ('["a"]\n\nx', "3: there is more after the list's ]"),
        ("[" * 100_000, "1: the item that begins here cannot be read: maximum recursion depth"),
        ("[" + "9" * 5_000 + "]", "1: the item that begins here cannot be read: Exceeds the limit"),
    ],
)
@pytest.mark.parametrize("piece", [1_000, 10**9])
def test_what_is_broken_is_said_with_its_line(text: str, said: str, piece: int) -> None:
    with pytest.raises(InputError) as caught:
        items(text, piece)
    assert str(caught.value).startswith(said)


def test_a_broken_item_is_said_without_reading_on() -> None:
    def endless() -> Iterator[str]:
        yield '["a",\n{"b":\n 1 "c": 2},'
        yield from iter(lambda: '"x",' * 10_000, None)

    with pytest.raises(InputError, match="3: not JSON: Expecting ',' delimiter"):
        list(cut(endless(), lambda line, what: InputError(f"{line}: {what}")))


def test_an_item_without_end_is_not_read_to_the_end_of_the_file() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        yield '["a",\n"'
        while True:
            read += 1 << 20
            yield "x" * (1 << 20)

    with pytest.raises(InputError, match="2: the item that begins here does not end within 16,777,216 characters"):
        list(cut(endless(), lambda line, what: InputError(f"{line}: {what}")))
    assert read <= 3 * json_list.LONGEST
