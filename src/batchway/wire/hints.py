"""How a request says the way it wants to go: body fields or `x-batchway-*` headers, read into `Hints`."""

from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple, replace

from batchway.core.errors import BadRequest
from batchway.core.types import Hints, OnDeadline, Optimize, Packing, Priority, Reuse, Strategy
from batchway.wire.body import lone_surrogate

HEADER_PREFIX = "x-batchway-"
MAX_ID = 200
"""Longest request_id in characters: it travels in a header and is a key of the store."""
MAX_TAGS = 64
SHOWN = 50
"""Characters of a wrong value that its error repeats: enough to know it again."""

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "priority": get_args(Priority),
    "strategy": get_args(Strategy),
    "reuse": get_args(Reuse),
    "packing": get_args(Packing),
    "optimize": get_args(Optimize),
    "on_deadline": get_args(OnDeadline),
}
"""The words that each choice of hint allows."""

_HINTS = Hints.__struct_fields__
NAMES = frozenset(_HINTS)
"""Body fields that are ours and never reach a provider."""


class HintFields(Struct):
    """The hints as fields of a body. UNSET: not there; null means unset too.

    `provider` as an object is not ours: some providers have a field of that name, and it passes through.
    """

    provider: str | dict[str, object] | UnsetType | None = UNSET
    priority: Priority | UnsetType | None = UNSET
    strategy: Strategy | UnsetType | None = UNSET
    deadline: float | str | UnsetType | None = UNSET
    request_id: str | UnsetType | None = UNSET
    caller_id: str | UnsetType | None = UNSET
    tags: dict[str, object] | UnsetType | None = UNSET
    reuse: Reuse | UnsetType | None = UNSET
    packing: Packing | UnsetType | None = UNSET
    optimize: Optimize | UnsetType | None = UNSET
    on_deadline: OnDeadline | UnsetType | None = UNSET


_NAMES_IN_ORDER = HintFields.__struct_fields__
_NOTHING = (UNSET,) * len(_NAMES_IN_ORDER)
_tags_text = msgspec.json.Decoder(dict[str, object])
NO_HINTS = Hints()


def from_body(body: HintFields) -> tuple[Hints, tuple[str, ...]]:
    """The hints that a body carries, and the names of the fields to take out before it is sent on."""
    values = astuple(body)[: len(_NAMES_IN_ORDER)]
    if values == _NOTHING:
        return NO_HINTS, ()
    given = {name: value for name, value in zip(_NAMES_IN_ORDER, values, strict=True) if value is not UNSET}
    if isinstance(given.get("provider"), dict):
        del given["provider"]
    hints = Hints(**given)
    _check(hints)
    return hints, tuple(given)


def from_headers(headers: Mapping[str, str]) -> Hints:
    """The hints among these headers (names in lower case). `idempotency-key` is the same as `request_id`."""
    if HEADER_PREFIX not in "\n".join(headers) and "idempotency-key" not in headers:
        return NO_HINTS
    given: dict[str, object] = {}
    for name, text in headers.items():
        if name.startswith(HEADER_PREFIX):
            given[_hint_of(name)] = text
    if "idempotency-key" in headers:
        check_id("idempotency-key", headers["idempotency-key"])
        given.setdefault("request_id", headers["idempotency-key"])
    for name, allowed in ALLOWED.items():
        if name in given and given[name] not in allowed:
            raise _not_allowed(HEADER_PREFIX + name.replace("_", "-"), given[name], allowed)
    if "tags" in given:
        given["tags"] = _tags(str(given["tags"]))
    if "deadline" in given:
        given["deadline"] = _number_or_text(str(given["deadline"]))
    hints = msgspec.convert(given, Hints)
    _check(hints)
    return hints


def prefers_async(headers: Mapping[str, str]) -> bool:
    """Whether the caller wants no answer now, but to know that its request was taken (RFC 7240: `respond-async`)."""
    preferred = headers.get("prefer", "").split(",")
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in preferred)


def _hint_of(header: str) -> str:
    name = header.removeprefix(HEADER_PREFIX).replace("-", "_")
    if name not in NAMES:
        known = ", ".join(HEADER_PREFIX + hint.replace("_", "-") for hint in sorted(NAMES))
        raise BadRequest(f"Unknown hint header '{header[:SHOWN]}'; the hints are {known}.", param=header[:SHOWN])
    return name


def overlay(*layers: Hints) -> Hints:
    """One set of hints from several, the first that says something winning field by field."""
    spoken = [layer for layer in layers if layer is not NO_HINTS]
    if len(spoken) < 2:
        return spoken[0] if spoken else NO_HINTS
    *above, whole = spoken
    for layer in reversed(above):
        said = {name: value for name, value in zip(_HINTS, astuple(layer), strict=True) if value is not None}
        whole = replace(whole, **said)
    return whole


def named(hints: Hints, prefix: str, name: str) -> str:
    """What a request is called: its own id, or else this name, after this prefix. Raises BadRequest."""
    whole = prefix + (hints.request_id or name)
    check_id("request_id", whole)
    return whole


def resolve_deadline(deadline: float | str | None, now: float) -> float | None:
    """The instant meant by a deadline of seconds from now, or by an RFC 3339 instant.

    An instant may be past: whoever asks again with the same request_id still gets the answer that was in time.
    """
    if deadline is None:
        return None
    if isinstance(deadline, str):
        try:
            # RFC 3339 lets `t` and `z` be small.
            instant = datetime.fromisoformat(deadline.upper())
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            raise BadRequest(
                f"deadline: '{deadline[:SHOWN]}' is neither a number of seconds nor an RFC 3339 instant with an "
                "offset, such as 2026-11-20T18:00:00Z.",
                param="deadline",
            )
        return instant.timestamp()
    if not isfinite(deadline) or deadline <= 0:
        raise BadRequest(f"deadline: {deadline} seconds; give a number above 0.", param="deadline")
    return now + deadline


def _check(hints: Hints) -> None:
    if hints.request_id is not None:
        check_id("request_id", hints.request_id)
    if hints.tags is not None and len(hints.tags) > MAX_TAGS:
        raise BadRequest(f"tags: at most {MAX_TAGS}, not {len(hints.tags)}.", param="tags")


def check_id(field: str, name: str) -> None:
    """Raises BadRequest, which names the field, for what is no id."""
    if not (0 < len(name) <= MAX_ID and name.isascii() and name.isprintable() and " " not in name):
        raise BadRequest(f"{field}: give 1 to {MAX_ID} printable ASCII characters without spaces.", param=field)


def _tags(text: str) -> dict[str, object]:
    try:
        return _tags_text.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        message = f'{HEADER_PREFIX}tags: give a JSON object, such as {{"project": "x"}}.'
        raise BadRequest(message, param="tags") from error


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _not_allowed(field: str, value: object, allowed: tuple[str, ...]) -> BadRequest:
    return BadRequest(f"{field}: '{str(value)[:SHOWN]}' is not one of {', '.join(allowed)}.", param=field)


def refusal(error: msgspec.DecodeError, content: bytes = b"") -> BadRequest:
    """What to tell the caller about a body (its `content`, where it is at hand) that could not be read: where, what is
    wrong, what is allowed."""
    if not isinstance(error, msgspec.ValidationError):
        half = lone_surrogate(content)
        # msgspec takes what follows one for its other half, and calls a text that ends there truncated.
        what = error if half is None else f"{content[half : half + 6].decode()} (byte {half}) {_HALF}"
        return BadRequest(f"The body is not valid JSON: {what}.", code="invalid_json")
    message, field = _what_and_where(str(error))
    if field in ALLOWED and message.startswith(_NOT_A_WORD):
        return _not_allowed(field, message.removeprefix(_NOT_A_WORD)[1:-1], ALLOWED[field])
    choice = f"; allowed: {', '.join(ALLOWED[field])}" if field in ALLOWED else ""
    message = f"{field or 'body'}: {message[:1].lower()}{message[1:]}{choice}."
    return BadRequest(message, param=field or None, code="invalid_type")


_HALF = "is half of a surrogate pair, and no character; send both halves, or U+FFFD in its place"

_NOT_A_WORD = "Invalid enum value "
"""Then comes the value as Python writes it, in quotes of either kind."""


def _what_and_where(text: str) -> tuple[str, str]:
    """The two halves of msgspec's ``Expected `str`, got `int` - at `$.messages[0].role` ``; no path: all of it."""
    message, at, path = text.rpartition(" - at `$")
    if not at:
        return text, ""
    return message, path.removesuffix("`").removeprefix(".")
