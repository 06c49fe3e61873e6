"""Embeddings: OpenAI's request as batchEmbedContents, and the vectors back, as floats or base64."""

import sys
from array import array
from base64 import b64encode
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.providers.gemini.fields import keep_asked
from batchway.wire import body
from batchway.wire.hints import refusal

OWN: Final = {"task_type": "taskType", "taskType": "taskType", "title": "title"}
"""Gemini's own fields of an embedding, in either spelling."""

_KNOWN: Final = frozenset({"input", "encoding_format", "dimensions", *OWN})


class _Asked(Struct):
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] | None = None


class _Vector(Struct):
    values: Raw


class _Usage(Struct, frozen=True, rename="camel"):
    prompt_token_count: int | None = None


class _Vectors(Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: _Usage = _Usage()


class _One(Struct, rename="camel"):
    embedding: _Vector
    token_count: int | None = None
    usage_metadata: _Usage = _Usage()


_asked = msgspec.json.Decoder(_Asked)
_vectors = msgspec.json.Decoder(_Vectors)
_one = msgspec.json.Decoder(_One, strict=False)  # Google writes 64-bit numbers as texts.
_floats = msgspec.json.Decoder(list[float])
_encode = msgspec.json.Encoder().encode


def encode_embeddings(resource: str, content: bytes) -> bytes:
    """The body of batchEmbedContents, one request per text: Google's SDK asks so for a single text too.

    `resource` is the model as every request repeats it (`models/…`). Raises BadRequest that names the field.
    """
    requests = [{"model": resource, **asked} for asked in _requests(content)]
    return _encode({"requests": requests})


def encode_embedding(content: bytes) -> tuple[dict[str, Any], bool]:
    """The request of a row of asyncBatchEmbedContent, and whether base64 is wanted. Raises BadRequest.

    A row has one text, and its result one vector.
    """
    requests = _requests(content)
    if len(requests) != 1:
        message = f"input: Gemini's batches take one text in a request, not {len(requests)}; send each by itself."
        raise BadRequest(message, param="input", code="unsupported_parameter")
    return requests[0], _read(content).encoding_format == "base64"


def _requests(content: bytes) -> list[dict[str, Any]]:
    """What is asked of each text, without the model."""
    given = keep_asked(body.fields(content), _KNOWN, {})
    options: dict[str, Any] = {own: given[name] for name, own in OWN.items() if name in given}
    if "dimensions" in given:
        options["outputDimensionality"] = given["dimensions"]
    texts = _texts(_read(content))
    return [{"content": {"parts": [{"text": text}]}, **options} for text in texts]


def decode_embeddings(asked: bytes, model: str, content: bytes) -> bytes:
    """OpenAI's list of the vectors that answer the request body `asked`. Raises ValueError where it is none of it.

    Usage is said where Gemini says it; nothing is made up.
    """
    request = _read(asked)
    answered = _vectors.decode(content)
    count = len(_texts(request))
    if len(answered.embeddings) != count:
        raise ValueError(f"{len(answered.embeddings)} vectors for {count} texts")
    tokens = answered.usage_metadata.prompt_token_count
    return _listed(model, answered.embeddings, tokens, base64=request.encoding_format == "base64")


def decode_embedding(model: str, content: bytes, *, base64: bool) -> bytes:
    """OpenAI's list of the one vector in a result of asyncBatchEmbedContent. Raises ValueError where it is none."""
    answered = _one.decode(content)
    tokens = answered.usage_metadata.prompt_token_count
    return _listed(model, [answered.embedding], answered.token_count if tokens is None else tokens, base64=base64)


def _listed(model: str, found: list[_Vector], tokens: int | None, *, base64: bool) -> bytes:
    vectors = [
        {"object": "embedding", "index": place, "embedding": _spell(vector.values, base64=base64)}
        for place, vector in enumerate(found)
    ]
    listed: dict[str, Any] = {"object": "list", "data": vectors, "model": model}
    if tokens is not None:
        listed["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _encode(listed)


def _read(content: bytes) -> _Asked:
    try:
        return _asked.decode(content)
    except msgspec.DecodeError as error:
        raise refusal(error) from error


def _texts(asked: _Asked) -> list[str]:
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) != len(given):
        raise BadRequest("input: Gemini takes texts, not token ids.", param="input")
    return texts


def _spell(values: Raw, *, base64: bool) -> Raw | str:
    """The numbers as they came, or as the base64 of 32-bit floats, lowest byte first, which OpenAI's SDK asks for."""
    numbers = array("f", _floats.decode(values))
    if not base64:
        return values
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
