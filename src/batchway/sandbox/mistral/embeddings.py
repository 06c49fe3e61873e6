"""POST /v1/embeddings: vectors of texts (shapes: SDK mistralai 3.7, EmbeddingRequest and EmbeddingResponse)."""

import base64
import sys
from array import array
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Bill, Part, Plan, Refused, Visit
from batchway.sandbox.mistral.models import require_model
from batchway.sandbox.mistral.reading import read
from batchway.sandbox.model import identify
from batchway.sandbox.openai.embeddings import vector
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.state import Sandbox

USUAL = (1024, 1024)
DIMENSIONS = {"codestral-embed": (1536, 3072)}
"""Length of a model's vectors if nothing is asked, and at most, where it is not `USUAL`."""


class Body(Struct, forbid_unknown_fields=True):
    """Every parameter of the endpoint."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | Annotated[list[str], Meta(min_length=1)]
    metadata: dict[str, Any] | None = None
    output_dimension: Annotated[int, Meta(ge=1)] | None = None
    output_dtype: Literal["float"] = "float"
    """The sandbox has no other."""
    encoding_format: Literal["float", "base64"] = "float"


_decoder = msgspec.json.Decoder(Body)


def embed(sandbox: Sandbox, visit: Visit) -> Plan:
    """Answer an embeddings request."""
    body = read(visit.body, _decoder)
    require_model(body.model, sandbox)
    size = _size(body)
    inputs = [body.input] if isinstance(body.input, str) else body.input
    tokens = sum(map(sandbox.count, inputs))
    vectors = [_written(vector(body.model, text, size), body) for text in inputs]
    answer = {
        "id": identify("", visit.body, visit.number),
        "object": "list",
        "data": [{"object": "embedding", "embedding": each, "index": index} for index, each in enumerate(vectors)],
        "model": body.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(answer)),), bill=Bill(model=body.model, input=tokens))


def _size(body: Body) -> int:
    usual, most = DIMENSIONS.get(body.model, USUAL)
    if body.output_dimension is not None and body.output_dimension > most:
        raise Refused(400, f"output_dimension must be at most {most} for {body.model}", param="output_dimension")
    return body.output_dimension or usual


def _written(numbers: "array[float]", body: Body) -> list[float] | str:
    if body.encoding_format == "float":
        return numbers.tolist()
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
