"""OpenAI embeddings: reading a request and an answer."""

import msgspec
from msgspec import Struct

from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Prompt
from batchway.wire.chat import ChatUsage, usage_of
from batchway.wire.hints import HintFields, from_body, refusal
from batchway.wire.reading import Reading


class _EmbeddingsBody(HintFields):
    model: str | None = None
    input: str | list[str | int | list[int]] | None = None
    user: str | None = None


_body = msgspec.json.Decoder(_EmbeddingsBody)


def read(body: bytes) -> Reading:
    """Read a request. Raises BadRequest that names the field."""
    try:
        asked = _body.decode(body)
    except msgspec.DecodeError as error:
        raise refusal(error, body) from error
    if not asked.input:
        raise BadRequest(
            "input: give a text, a list of texts, or token ids.", param="input", code="missing_required_parameter"
        )
    hints, ours = from_body(asked)
    prompt = Prompt(model=asked.model or "", texts=_texts(asked.input))
    return Reading(prompt=prompt, hints=hints, ours=ours, user=asked.user)


def _texts(given: str | list[str | int | list[int]]) -> tuple[str, ...]:
    """The texts; token ids are stood in for by one character each, which never counts for less than one token."""
    if isinstance(given, str):
        return (given,)
    if isinstance(given[0], int):
        return ("\x00" * len(given),)
    return tuple(item if isinstance(item, str) else "\x00" * _length(item) for item in given)


def _length(tokens: int | list[int]) -> int:
    return 1 if isinstance(tokens, int) else len(tokens)


class _Vectors(Struct):
    data: list[msgspec.Raw]
    usage: ChatUsage | None = None


_vectors = msgspec.json.Decoder(_Vectors)


def answer(body: bytes, now: float) -> Answer:
    """Read a list of embeddings. Raises msgspec.DecodeError when it is not one."""
    vectors = _vectors.decode(body)
    return Answer(
        body=body,
        usage=usage_of(vectors.usage, None) if vectors.usage else None,
        complete=bool(vectors.data),
        finished_at=now,
    )
