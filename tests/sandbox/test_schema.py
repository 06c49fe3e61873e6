"""Values for JSON Schemas: the keywords of structured outputs, references, schemas that contain themselves."""

from typing import Any

import pytest

from batchway.sandbox.schema import fill


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, {"answer": "x"}),
        ({"type": "string"}, "x"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"const": 5}, 5),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["integer", "null"]}, 1),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "integer", "minimum": 7}, 7),
        ({"type": "integer", "exclusiveMinimum": 7}, 8),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "integer", "maximum": -3}, -4),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"b": {"type": "string"}}}}}, {"b": "x"}),
    ],
)
def test_values(schema: dict[str, Any], value: object) -> None:
    assert fill(schema, "x") == value


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "kids": {"items": {"$ref": "#"}}}}
    deepest: Any = fill(node, "x")
    while deepest:
        deepest = deepest.get("next")
    assert deepest in (None, {})
