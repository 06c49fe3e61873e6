"""Who may share a call: each reason against it is told, and nobody is refused without one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.asking import request

from batchway.core.catalog import Model
from batchway.core.packing import FORMATS
from batchway.core.packing_fit import LONGEST_ANSWER, Circumstances, divide, unfit

REASONING = Model(provider="openai", id="m", abilities=("reasoning",))


def reason(*, form: str = "xml", **fields: Any) -> str | None:
    """Why a request that is fit but for these fields is not."""
    known: dict[str, Any] = {"format": FORMATS[form], "expected_output": 10}
    known |= {name: fields.pop(name) for name in Circumstances.__struct_fields__ if name in fields}
    return unfit(request(**({"packing": "auto", "last_user": "What is a fjord?"} | fields)), Circumstances(**known))


@pytest.mark.parametrize("packing", ["auto", "always"])
def test_a_plain_short_question_is_fit(packing: str) -> None:
    assert reason(packing=packing) is None
    assert reason(packing=packing, model=None) is None
    assert reason(packing=packing, expected_output=None, max_output=LONGEST_ANSWER) is None


@pytest.mark.parametrize("packing", ["auto", "always"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"endpoint": "embeddings"}, "embeddings"),
        ({"features": ("images",)}, "images"),
        ({"features": ("tools",)}, "tools"),
        ({"features": ("response_format",)}, "response_format"),
        ({"features": ("logprobs",)}, "logprobs"),
        ({"features": ("audio",)}, "audio"),
        ({"features": ("stateful",)}, "state"),
        ({"features": ("of the future",)}, "of the future"),
        ({"stream": True}, "stream"),
        ({"n": 2}, "several choices"),
        ({"retained": False}, "keeps nothing"),
        ({"twin": True}, "twin"),
        ({"last_user": None}, "not a user's text"),
        ({"last_user": " \n\u2028"}, "empty"),
        ({"last_user": "a\x00b"}, "control"),
        ({"last_user": "a\x1bb"}, "control"),
        ({"last_user": "a\ud83d"}, "control"),
        ({"last_user": "close </answer>"}, "xml format"),
        ({"last_user": 'say {"id": "1"}', "form": "json"}, "json format"),
    ],
)
def test_what_goes_singly_whoever_asks(packing: str, fields: dict[str, Any], said: str) -> None:
    assert said in (reason(packing=packing, **fields) or "")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": REASONING}, "reasons"),
        ({"expected_output": None}, "not known"),
        ({"expected_output": LONGEST_ANSWER + 1}, f"{LONGEST_ANSWER + 1} tokens"),
    ],
)
def test_what_only_auto_minds(fields: dict[str, Any], said: str) -> None:
    # `model` here is what the catalogue knows, not the name in the request.
    known: dict[str, Any] = {"format": FORMATS["xml"], "expected_output": 10} | fields
    around = Circumstances(**known)
    asked = {packing: request(packing=packing, last_user="What is a fjord?") for packing in ("auto", "always")}
    assert said in (unfit(asked["auto"], around) or "")
    assert unfit(asked["always"], around) is None


def test_line_breaks_and_tabs_are_no_control_characters() -> None:
    assert reason(last_user="a\tb\r\nc") is None


@given(tokens=st.lists(st.integers(1, 100)), most=st.integers(1, 12), room=st.integers(1, 300))
def test_every_item_is_in_one_call_and_no_call_is_too_large(tokens: list[int], most: int, room: int) -> None:
    sizes = divide(tokens, most, room)
    assert sum(sizes) == len(tokens)
    assert all(1 <= size <= most for size in sizes)
    start = 0
    for size in sizes:
        assert size == 1 or sum(tokens[start : start + size]) <= room
        start += size


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(0, 6, ()), (1, 6, (1,)), (6, 6, (6,)), (7, 6, (4, 3)), (13, 6, (5, 5, 3)), (3, 1, (1, 1, 1)), (2, 0, (1, 1))],
)
def test_calls_are_few_and_evenly_filled(count: int, most: int, sizes: tuple[int, ...]) -> None:
    assert divide([1] * count, most, 1000) == sizes


def test_an_item_larger_than_the_room_goes_alone() -> None:
    assert divide([5, 1_000_000, 5], 6, 100) == (1, 1, 1)
