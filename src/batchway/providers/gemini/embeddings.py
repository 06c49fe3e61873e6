"""Embeddings: OpenAI's request as batchEmbedContents, and the vectors back, as floats or base64."""

import base64
import sys
from array import array
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


_asked = msgspec.json.Decoder(_Asked)
_vectors = msgspec.json.Decoder(_Vectors)
_floats = msgspec.json.Decoder(list[float])
_encode = msgspec.json.Encoder().encode


def encode_embeddings(resource: str, content: bytes) -> bytes:
    """The body of batchEmbedContents, one request per text: Google's SDK asks so for a single text too.

    `resource` is the model as every request repeats it (`models/…`). Raises BadRequest that names the field.
    """
    given = keep_asked(body.fields(content), _KNOWN, {})
    options: dict[str, Any] = {own: given[name] for name, own in OWN.items() if name in given}
    if "dimensions" in given:
        options["outputDimensionality"] = given["dimensions"]
    texts = _texts(_read(content))
    requests = [{"model": resource, "content": {"parts": [{"text": text}]}, **options} for text in texts]
    return _encode({"requests": requests})


def decode_embeddings(asked: bytes, model: str, content: bytes) -> bytes:
    """OpenAI's list of the vectors that answer the request body `asked`. Raises ValueError where it is none of it.

    Usage is said where Gemini says it; nothing is made up.
    """
    request = _read(asked)
    answered = _vectors.decode(content)
    count = len(_texts(request))
    if len(answered.embeddings) != count:
        raise ValueError(f"{len(answered.embeddings)} vectors for {count} texts")
    vectors = [
        {"object": "embedding", "index": place, "embedding": _spell(vector.values, request)}
        for place, vector in enumerate(answered.embeddings)
    ]
    listed: dict[str, Any] = {"object": "list", "data": vectors, "model": model}
    tokens = answered.usage_metadata.prompt_token_count
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


def _spell(values: Raw, asked: _Asked) -> Raw | str:
    """The numbers as they came, or as the base64 of 32-bit floats, lowest byte first, which OpenAI's SDK asks for."""
    numbers = array("f", _floats.decode(values))
    if asked.encoding_format != "base64":
        return values
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
