"""embedContent and batchEmbedContents: the vectors that OpenAI's side of the sandbox makes, in Google's shape."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Bill, Part, Plan, Visit
from batchway.sandbox.gemini.models import require_model
from batchway.sandbox.gemini.reading import JSON, read
from batchway.sandbox.gemini.turns import Content, count_contents
from batchway.sandbox.openai.embeddings import vector
from batchway.sandbox.state import Sandbox

DIMENSIONS = 3072
"""Length of a vector, and the most that may be asked for (gemini-embedding-001)."""

MOST_REQUESTS = 100


class Asked(Struct, rename="camel"):
    """One text to embed."""

    content: Content
    model: str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: Annotated[int, Meta(ge=1, le=DIMENSIONS)] = DIMENSIONS


class _All(Struct):
    requests: Annotated[list[Asked], Meta(min_length=1, max_length=MOST_REQUESTS)]


_ONE = frozenset({"content", "model", "outputDimensionality", "taskType", "title"})


def embed(sandbox: Sandbox, model: str, visit: Visit) -> Plan:
    """Answer embedContent."""
    asked = read(visit.body, Asked, _ONE)
    (one,) = _vectors(sandbox, model, [asked])
    return _plan(sandbox, model, [asked], {"embedding": one})


def embed_all(sandbox: Sandbox, model: str, visit: Visit) -> Plan:
    """Answer batchEmbedContents: a vector for each request, in their order."""
    requests = read(visit.body, _All, frozenset({"requests"})).requests
    return _plan(sandbox, model, requests, {"embeddings": _vectors(sandbox, model, requests)})


def _vectors(sandbox: Sandbox, model: str, requests: Sequence[Asked]) -> list[dict[str, Any]]:
    require_model(sandbox, model)
    return [{"values": vector(model, _text(each), each.output_dimensionality).tolist()} for each in requests]


def _text(asked: Asked) -> str:
    return " ".join(piece.text or "" for piece in asked.content.parts)


def _plan(sandbox: Sandbox, model: str, requests: Sequence[Asked], answer: dict[str, Any]) -> Plan:
    tokens = count_contents([each.content for each in requests], sandbox.count)
    whole = msgspec.json.encode(answer | {"usageMetadata": {"promptTokenCount": tokens, "totalTokenCount": tokens}})
    return Plan(headers=JSON, parts=(Part(whole),), bill=Bill(model=model, input=tokens))
