"""Reads request bodies as OpenAI does: what is wrong becomes a 400 that names the parameter."""

import re
from typing import TypeVar

import msgspec
from msgspec import Raw

from batchway.sandbox.contract import Refused
from batchway.sandbox.state import Sandbox

T = TypeVar("T")

UNREADABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
)

_names = msgspec.json.Decoder(dict[str, Raw])


def read(body: bytes, decoder: msgspec.json.Decoder[T], known: frozenset[str], sandbox: Sandbox) -> T:
    """Decode a body. A strict sandbox also refuses parameters that are not `known`. Raises Refused."""
    try:
        if sandbox.strict:
            _check_names(body, known)
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, UNREADABLE) from error


def require_model(model: str, sandbox: Sandbox) -> None:
    """Raises the 404 of a model that is not there."""
    if not sandbox.knows(model):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(404, message, code="model_not_found")


def explain(problem: str) -> Refused:
    """msgspec's words for what is wrong, as OpenAI's error."""
    where = re.search(r"`\$\.?([^`]*)`", problem)
    path = where[1] if where else ""
    missing = re.search(r"missing required field `([^`]+)`", problem)
    if missing:
        param = f"{path}.{missing[1]}".lstrip(".")
        return Refused(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    what = problem.partition(" - at")[0]
    code = "invalid_type" if ", got " in what else "invalid_value"
    return Refused(400, f"Invalid value for '{path}': {what}.", param=path or None, code=code)


def error_object(refused: Refused) -> dict[str, str | None]:
    """What stands under `error`, in answers and in the lines of batches."""
    return {"message": refused.message, "type": refused.kind, "param": refused.param, "code": refused.code}


def _check_names(body: bytes, known: frozenset[str]) -> None:
    unknown = sorted(set(_names.decode(body)) - known)
    if unknown:
        raise Refused(400, f"Unknown parameter: '{unknown[0]}'.", param=unknown[0], code="unknown_parameter")
