"""A value for a JSON Schema: small, valid for the keywords that structured outputs allow, and always the same."""

from collections.abc import Callable
from typing import Any

from batchway.sandbox.contract import Refused

DEPTH = 16
"""Nesting after which optional things are left out, so that a recursive schema ends."""


def fill(schema: dict[str, Any], text: str) -> object:
    """A value that the schema allows; strings are made of `text`. An empty schema gives an object.

    Raises Refused for what is no schema, or one that no finite value fits.
    """
    if not schema:
        return {"answer": text}
    try:
        return _value(schema, _Filling(schema, text), 0)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Refused(
            400, f"Invalid schema: no value could be made ({error!r}).", code="invalid_json_schema"
        ) from error


class _Filling:
    """What a whole filling shares: the root (for `$ref`) and the text."""

    def __init__(self, root: dict[str, Any], text: str) -> None:
        self.root = root
        self.text = text

    def resolve(self, reference: str) -> dict[str, Any]:
        found: Any = self.root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                found = found[step.replace("~1", "/").replace("~0", "~")]
        return dict(found)


def _value(schema: dict[str, Any], filling: _Filling, depth: int) -> object:
    if "$ref" in schema:
        return _value(filling.resolve(schema["$ref"]), filling, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return _value(_simplest(options) if depth > DEPTH else options[0], filling, depth + 1)
    maker = _MAKERS.get(_kind(schema, depth))
    return maker(schema, filling, depth) if maker else None


def _kind(schema: dict[str, Any], depth: int) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    if isinstance(kind, list):
        return "null" if depth > DEPTH and "null" in kind else str(kind[0])
    return str(kind)


def _simplest(options: list[dict[str, Any]]) -> dict[str, Any]:
    return min(options, key=lambda option: ("$ref" in option, option.get("type") != "null"))


def _object(schema: dict[str, Any], filling: _Filling, depth: int) -> object:
    wanted = schema.get("properties", {})
    if depth > DEPTH:
        wanted = {name: wanted[name] for name in schema.get("required", ()) if name in wanted}
    return {name: _value(inner, filling, depth + 1) for name, inner in wanted.items()}


def _array(schema: dict[str, Any], filling: _Filling, depth: int) -> object:
    size = schema.get("minItems", 0 if depth > DEPTH else 1)
    return [_value(schema.get("items", {"type": "string"}), filling, depth + 1) for _ in range(size)]


def _string(schema: dict[str, Any], filling: _Filling, _: int) -> object:
    return _FORMATS.get(schema.get("format", ""), filling.text)


def _number(schema: dict[str, Any], _filling: _Filling, _depth: int) -> object:
    step = schema.get("multipleOf", 1)
    if "minimum" in schema or "exclusiveMinimum" in schema:
        bound = schema.get("minimum", schema.get("exclusiveMinimum"))
        return (bound // step + 1) * step if bound % step or "minimum" not in schema else bound
    highest = schema.get("maximum", schema.get("exclusiveMaximum", step + 1))
    return step if highest > step else (highest // step - 1) * step


_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

_MAKERS: dict[str, Callable[[dict[str, Any], _Filling, int], object]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": lambda _schema, _filling, _depth: True,
}
