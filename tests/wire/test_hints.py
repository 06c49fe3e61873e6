"""Hints: from bodies and from headers alike, wrong ones refused in words that help."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from batchway.core.errors import BadRequest
from batchway.core.types import Hints
from batchway.wire import hints
from batchway.wire.chat import read
from batchway.wire.reading import Reading

NOW = 1_790_000_000.0
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
EVERY: dict[str, Any] = {
    "provider": "openai",
    "priority": "low",
    "strategy": "batch",
    "deadline": 60.0,
    "request_id": "r-1",
    "caller_id": "c",
    "tags": {"project": "x", "n": 1},
    "reuse": "all",
    "packing": "auto",
    "optimize": "fit",
    "on_deadline": "fail",
}


def read_with(**fields: Any) -> Reading:
    return read(msgspec.json.encode(CHAT | fields))


def as_headers(given: dict[str, Any]) -> dict[str, str]:
    """The same hints as headers."""
    texts = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in given.items()
    }
    return {f"x-batchway-{name.replace('_', '-')}": text for name, text in texts.items()}


def refused(call: Any, *arguments: Any) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as error:
        call(*arguments)
    assert error.value.fault.status == 400
    return error.value.fault.message, error.value.fault.param


def test_every_hint_has_a_test_here() -> None:
    assert set(EVERY) == set(Hints.__struct_fields__) == set(hints.HintFields.__struct_fields__) == hints.NAMES


def test_body_and_headers_say_the_same() -> None:
    reading = read_with(**EVERY)
    assert reading.hints == hints.from_headers(as_headers(EVERY)) == Hints(**EVERY)
    assert set(reading.ours) == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_each_by_itself(name: str) -> None:
    given = {name: EVERY[name]}
    assert read_with(**given).hints == hints.from_headers(as_headers(given)) == Hints(**given)


@pytest.mark.parametrize("name", EVERY)
def test_null_means_unset_and_is_taken_out(name: str) -> None:
    reading = read_with(**{name: None})
    assert (reading.hints, reading.ours) == (Hints(), (name,))


def test_without_hints_nothing_is_ours() -> None:
    reading = read_with()
    assert (reading.hints, reading.ours) == (Hints(), ())
    assert hints.from_headers({"authorization": "Bearer x", "content-type": "application/json"}) == Hints()


def test_provider_as_an_object_is_the_providers_own_field() -> None:
    reading = read_with(provider={"order": ["a"]}, priority="low")
    assert (reading.hints, reading.ours) == (Hints(priority="low"), ("priority",))
    reading = read_with(provider={"order": ["a"]})
    assert (reading.hints, reading.ours) == (Hints(), ())


@pytest.mark.parametrize("name", hints.ALLOWED)
@pytest.mark.parametrize("value", ["urgent", "LOW", "", "x - at `$.y`", "it's"])
def test_a_wrong_word_lists_what_is_allowed(name: str, value: str) -> None:
    allowed = ", ".join(hints.ALLOWED[name])
    assert refused(lambda: read_with(**{name: value})) == (f"{name}: '{value}' is not one of {allowed}.", name)
    header = f"x-batchway-{name.replace('_', '-')}"
    assert refused(hints.from_headers, {header: value}) == (f"{header}: '{value}' is not one of {allowed}.", header)


@pytest.mark.parametrize("name", hints.ALLOWED)
@pytest.mark.parametrize("value", [5, {}, [], True])
def test_what_is_no_word_lists_what_is_allowed_too(name: str, value: object) -> None:
    message, param = refused(lambda: read_with(**{name: value}))
    assert message.startswith(f"{name}: expected `str | null`, got ")
    assert message.endswith(f"; allowed: {', '.join(hints.ALLOWED[name])}.")
    assert param == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provider", 5),
        ("deadline", []),
        ("deadline", True),
        ("request_id", 5),
        ("caller_id", {}),
        ("tags", "x"),
        ("tags", []),
    ],
)
def test_a_wrong_type_names_the_field(name: str, value: object) -> None:
    message, param = refused(lambda: read_with(**{name: value}))
    assert message.startswith(f"{name}: expected ")
    assert param == name


def test_a_long_wrong_word_is_not_repeated_in_full() -> None:
    for wrong in (
        lambda: read_with(priority="x" * 10_000),
        lambda: hints.from_headers({"x-batchway-priority": "x" * 10_000}),
        lambda: hints.from_headers({"x-batchway-" + "x" * 10_000: "1"}),
        lambda: hints.resolve_deadline("x" * 10_000, NOW),
    ):
        assert len(refused(wrong)[0]) < 600


@pytest.mark.parametrize("header", ["x-batchway-prio", "x-batchway-", "x-batchway-request-id-2", "x-batchway-cost-usd"])
def test_an_unknown_hint_header_names_the_known_ones(header: str) -> None:
    message, param = refused(hints.from_headers, {header: "1"})
    assert message.startswith(f"Unknown hint header '{header}'")
    assert all("x-batchway-" + name.replace("_", "-") in message for name in EVERY)
    assert param == header


@pytest.mark.parametrize("text", ["x", "[]", "5", "null", '{"a":', '{"a":NaN}', "", "[" * 100_000, '{"a":' * 100_000])
def test_tags_in_a_header_are_an_object(text: str) -> None:
    message, param = refused(hints.from_headers, {"x-batchway-tags": text})
    assert message == 'x-batchway-tags: give a JSON object, such as {"project": "x"}.'
    assert param == "tags"


def test_tags_are_bounded() -> None:
    most = {f"t{number}": 1 for number in range(hints.MAX_TAGS)}
    assert read_with(tags=most).hints.tags == most
    assert refused(lambda: read_with(tags=most | {"more": 1})) == ("tags: at most 64, not 65.", "tags")


@pytest.mark.parametrize("name", ["a", "A-1_2.3:4/5", "~" * hints.MAX_ID])
def test_ids_that_may_be_given(name: str) -> None:
    assert read_with(request_id=name).hints.request_id == name
    assert hints.from_headers({"idempotency-key": name}).request_id == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "\x00", "é", "x" * (hints.MAX_ID + 1), "a\x7f"])
def test_ids_that_may_not(name: str) -> None:
    words = ": give 1 to 200 printable ASCII characters without spaces."
    assert refused(lambda: read_with(request_id=name)) == ("request_id" + words, "request_id")
    assert refused(hints.from_headers, {"x-batchway-request-id": name}) == ("request_id" + words, "request_id")
    assert refused(hints.from_headers, {"idempotency-key": name}) == ("idempotency-key" + words, "idempotency-key")


def test_our_own_header_goes_before_the_idempotency_key() -> None:
    headers = {"idempotency-key": "a", "x-batchway-request-id": "b"}
    assert hints.from_headers(headers) == hints.from_headers(dict(reversed(headers.items()))) == Hints(request_id="b")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("deadline", "instant"),
    [
        (None, None),
        (60, NOW + 60),
        (0.5, NOW + 0.5),
        ("2026-11-20T18:00:00Z", seconds("2026-11-20T18:00:00")),
        ("2026-11-20T18:00:00z", seconds("2026-11-20T18:00:00")),
        ("2026-11-20T18:00:00.250+00:00", seconds("2026-11-20T18:00:00.250")),
        ("2026-11-20T18:00:00+02:00", seconds("2026-11-20T16:00:00")),
        ("2026-11-20 18:00:00-05:30", seconds("2026-11-20T23:30:00")),
        ("1999-01-01T00:00:00Z", seconds("1999-01-01T00:00:00")),
        ("0001-01-01T00:00:00+23:59", seconds("0001-01-01T00:00:00") - 86340),
        ("9999-12-31T23:59:59-23:59", seconds("9999-12-31T23:59:59") + 86340),
    ],
)
def test_deadlines(deadline: float | str | None, instant: float | None) -> None:
    assert hints.resolve_deadline(deadline, NOW) == instant


@pytest.mark.parametrize("deadline", [0, -1, 0.0, float("nan"), float("inf"), float("-inf")])
def test_seconds_that_are_no_deadline(deadline: float) -> None:
    message, param = refused(hints.resolve_deadline, deadline, NOW)
    assert message == f"deadline: {deadline} seconds; give a number above 0."
    assert param == "deadline"


@pytest.mark.parametrize(
    "deadline",
    ["soon", "", "2026-11-20T18:00:00", "2026-11-20", "2026-13-01T00:00:00Z", "18:00", "2026-11-20T18:00:00+99:00"],
)
def test_texts_that_are_no_deadline(deadline: str) -> None:
    message, param = refused(hints.resolve_deadline, deadline, NOW)
    assert message.startswith(
        f"deadline: '{deadline}' is neither a number of seconds nor an RFC 3339 instant with an offset"
    )
    assert param == "deadline"


@pytest.mark.parametrize(
    ("text", "deadline"),
    [("60", 60.0), ("1.5", 1.5), ("-3", -3.0), ("inf", float("inf")), ("2026-11-20T18:00:00Z", None)],
)
def test_a_header_gives_seconds_or_an_instant(text: str, deadline: float | None) -> None:
    assert hints.from_headers({"x-batchway-deadline": text}).deadline == (text if deadline is None else deadline)


def test_the_first_layer_that_says_something_wins() -> None:
    body, headers = Hints(priority="low"), Hints(priority="high", strategy="flex")
    key, house = Hints(strategy="batch", reuse="all"), Hints(reuse="off", packing="auto")
    assert hints.overlay(body, headers, key, house) == Hints(
        priority="low", strategy="flex", reuse="all", packing="auto"
    )
    assert hints.overlay(hints.NO_HINTS, hints.NO_HINTS) == Hints()
    assert hints.overlay(hints.NO_HINTS, key) == key
    assert hints.overlay(Hints(), key) == key
