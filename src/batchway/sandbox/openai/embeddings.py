"""POST /v1/embeddings: unit vectors that are a hash of their input, as floats or base64."""

import base64
import hashlib
import math
import sys
from array import array
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Bill, Part, Plan, Refused, Visit
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.openai.reading import read, require_model
from batchway.sandbox.state import Sandbox

KNOWN = frozenset({"dimensions", "encoding_format", "input", "model", "user"})

DIMENSIONS = {"text-embedding-3-large": 3072}
"""Length of a model's vectors where it is not `USUAL`."""

USUAL = 1536
MOST_INPUTS = 2048

Text = Annotated[str, Meta(min_length=1)]


class Body(Struct):
    """What a vector depends on. Inputs are texts, or lists of token numbers."""

    model: Annotated[str, Meta(min_length=1)]
    input: Text | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=MOST_INPUTS)]
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


_decoder = msgspec.json.Decoder(Body)


def embed(sandbox: Sandbox, visit: Visit) -> Plan:
    """Answer an embeddings request."""
    body = read(visit.body, _decoder, KNOWN, sandbox)
    require_model(body.model, sandbox)
    size = _size(body)
    inputs = _inputs(body)
    tokens = sum(sandbox.count(each) if isinstance(each, str) else len(each) for each in inputs)
    answer = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(vector(body.model, each, size), body)}
            for index, each in enumerate(inputs)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(answer)),), bill=Bill(model=body.model, input=tokens))


def vector(model: str, text: str | list[int], size: int) -> "array[float]":
    """A unit vector of 32-bit floats: equal inputs, equal vectors."""
    seed = hashlib.shake_256(msgspec.json.encode((model, text))).digest(2 * size)
    dice = array("h", seed)
    if sys.byteorder == "big":
        dice.byteswap()
    length = math.sqrt(sum(die * die for die in dice)) or 1.0
    return array("f", [die / length for die in dice])


def _written(numbers: "array[float]", body: Body) -> list[float] | str:
    if body.encoding_format != "base64":
        return numbers.tolist()
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _size(body: Body) -> int:
    most = DIMENSIONS.get(body.model, USUAL)
    if body.dimensions is not None and body.dimensions > most:
        message = f"Invalid value for 'dimensions' = {body.dimensions}. Must be less than or equal to {most}."
        raise Refused(400, message, param="dimensions", code="invalid_value")
    return body.dimensions or most


def _inputs(body: Body) -> list[str | list[int]]:
    """One entry per vector: a list of plain numbers is a single input."""
    if isinstance(body.input, str):
        return [body.input]
    numbers = [each for each in body.input if isinstance(each, int)]
    if numbers:
        if len(numbers) != len(body.input):
            raise Refused(400, "'input' mixes token numbers with other kinds.", param="input", code="invalid_value")
        return [numbers]
    inputs = [each for each in body.input if not isinstance(each, int)]
    if not all(inputs):
        raise Refused(400, "'input' holds an empty text.", param="input", code="invalid_value")
    return inputs
