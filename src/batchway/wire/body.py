"""A request body as bytes: checked before it is read, changed field by field, every other byte left as it came."""

import re
from typing import Any

import msgspec
from msgspec import Raw, UnsetType

from batchway.core.errors import BadRequest

Fields = dict[str, Raw]
"""The top-level fields of a JSON object, each still the bytes that the caller sent."""

_fields = msgspec.json.Decoder(Fields)
_anything = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")


def check(body: bytes, max_depth: int) -> None:
    """Refuse what no parser should see: bytes that are not UTF-8, and nesting deeper than `max_depth`.

    Only opening brackets are counted at first; the exact depth is looked at when there are enough to reach it.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The body is not valid UTF-8 (byte {error.start}); send JSON encoded as UTF-8.", code="invalid_utf8"
        ) from error
    if _opens_more_than(max_depth, body) and depth(body) > max_depth:
        raise BadRequest(
            f"The JSON is nested deeper than {max_depth} levels; flatten it, or raise max_json_depth.",
            code="json_too_deep",
        )


def depth(body: bytes) -> int:
    """How deep the brackets of a JSON text nest, brackets inside strings not counted."""
    deepest = level = 0
    for piece in _outside_strings(body):
        for byte in piece:
            if byte in b"{[":
                level += 1
                deepest = max(deepest, level)
            elif byte in b"}]":
                level -= 1
    return deepest


def _opens_more_than(most: int, body: bytes) -> bool:
    """Whether there are more opening brackets than this, wherever they stand. From one to the next: most of a body is
    text, which costs next to nothing to pass over."""
    number = 0
    for bracket in (b"{", b"["):
        at = body.find(bracket)
        while at >= 0:
            number += 1
            if number > most:
                return True
            at = body.find(bracket, at + 1)
    return False


def _all_but(kept: bytes) -> bytes:
    return bytes(sorted(set(range(256)) - set(kept)))


_NOT_BRACKETS = _all_but(b"{}[]")


def _outside_strings(body: bytes) -> list[bytes]:
    """The brackets of each stretch between two string literals."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return [piece.translate(None, _NOT_BRACKETS) for piece in plain.split(b'"')[::2]]


def lone_surrogate(body: bytes) -> int | None:
    """Where a JSON text escapes half of a surrogate pair without the other, by its byte; None: nowhere."""
    return next((found.start() for found in _ESCAPE.finditer(body) if found[1]), None)


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # a half
    rb"|\\."  # whatever else, so that an escaped backslash begins nothing
)


def fields(body: bytes) -> Fields:
    """Split an object into its top-level fields. A field given twice counts once, the last, as in most parsers."""
    return _fields.decode(body)


def join(fields: Fields) -> bytes:
    """The object again; the bytes of the values are those that came in."""
    return _encoder.encode(fields)


def raw(value: object) -> Raw:
    """A value as a field."""
    return Raw(_encoder.encode(value))


def given(value: Raw | UnsetType) -> bytes | None:
    """The bytes of a field; None where it is absent or null, which mean the same in these APIs."""
    if isinstance(value, UnsetType):
        return None
    content = bytes(value)
    return None if content == b"null" else content


def parse(content: bytes) -> Any:
    """What a provider sent as JSON, decoded in full. Bytes that are not UTF-8 become U+FFFD: the answer is paid for."""
    return _anything.decode(content.decode(errors="replace"))


def canonical(body: bytes, without: frozenset[str]) -> bytes:
    """The object with sorted keys and no spaces; its top level without nulls and the named fields, and with whole
    numbers as integers: `temperature` 0 and 0.0 are one.

    Raises msgspec.ValidationError for a number past all floats (or an integer of thousands of digits): fields that
    nobody reads are skipped, so this is the first to look at all of them.
    """
    content = _anything.decode(body)
    kept = {
        name: int(value) if type(value) is float and value.is_integer() else value
        for name, value in content.items()
        if name not in without and value is not None
    }
    return _canonical.encode(kept)
