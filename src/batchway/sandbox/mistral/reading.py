"""Reads request bodies as Mistral does: what is unknown, missing or wrong is a 422 that says where."""

import re
from typing import TypeVar

import msgspec

from batchway.sandbox.contract import Refused

T = TypeVar("T")

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]+)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a body. Raises Refused: Mistral is strict about parameters, whatever the sandbox is told."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(422, "JSON decode error", code="json_invalid") from error


def explain(problem: str) -> Refused:
    """msgspec's words for what is wrong, as Mistral's error. `param` is the path, as `messages[0].role`."""
    what, _, where = problem.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    for pattern, kind, words in (
        (_UNKNOWN, "extra_forbidden", "Extra inputs are not permitted"),
        (_MISSING, "missing", "Field required"),
    ):
        if found := pattern.match(what):
            return Refused(422, words, param=f"{path}.{found['name']}".lstrip("."), code=kind)
    return Refused(422, what, param=path or None)
