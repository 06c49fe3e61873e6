"""Reads request bodies as Google does: names in either spelling, and INVALID_ARGUMENT for what is wrong."""

import re
from typing import Any, TypeVar

import msgspec

from batchway.sandbox.contract import Headers, Refused

T = TypeVar("T")

JSON: Headers = ((b"content-type", b"application/json; charset=UTF-8"),)

FREE = frozenset(
    {
        "args",
        "labels",
        "metadata",
        "parameters",
        "parametersJsonSchema",
        "response",
        "responseJsonSchema",
        "responseSchema",
    }
)
"""Fields whose content is the caller's own, names and all."""

_anything = msgspec.json.Decoder()
_WHERE = re.compile(r" - at `\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]+)`")
_UNDERSCORE = re.compile(r"_([a-z])")


def read(body: bytes, kind: type[T], known: frozenset[str]) -> T:
    """Decode a body. A top-level name that is not `known` is refused, as Google's parser does. Raises Refused."""
    try:
        fields = _spell(_anything.decode(body))
        unknown = sorted(set(fields) - known) if isinstance(fields, dict) else []
        if unknown:
            raise Refused(400, f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"Invalid JSON payload received. {error}") from error


def _spell(value: Any) -> Any:
    """`include_thoughts` is `includeThoughts`: protobuf reads both, and Google's SDK sends both."""
    if isinstance(value, list):
        return [_spell(each) for each in value]
    if not isinstance(value, dict):
        return value
    spelled = {_UNDERSCORE.sub(lambda found: found[1].upper(), name): inner for name, inner in value.items()}
    return {name: inner if name in FREE else _spell(inner) for name, inner in spelled.items()}


def _explain(problem: str) -> Refused:
    where = _WHERE.search(problem)
    missing = _MISSING.search(problem)
    path = ".".join(filter(None, (where[1] if where else "", missing[1] if missing else "")))
    return Refused(400, f"Invalid value at '{path}': {problem.partition(' - at')[0]}.", param=path or None)
