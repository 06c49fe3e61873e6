"""Rows of Gemini's batches: a request as a line of the input file, a result line as an answer or a fault.

Shapes: providers.md §5.1. A line of the results is matched by its key alone (failures.md #42), though Google says that
they come in the order of the input.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from batchway.core.errors import BadRequest, UpstreamMalformed
from batchway.core.job import Job, RowResult
from batchway.core.types import Answer, Fault, Request
from batchway.ports import Incoming
from batchway.providers.batch_reading import repaired
from batchway.providers.gemini.chat import encode_chat
from batchway.providers.gemini.dialect import unspoken
from batchway.providers.gemini.embeddings import decode_embedding, encode_embedding
from batchway.providers.gemini.errors import CANCELLED, Faults, http_status
from batchway.providers.gemini.stream import StreamReader
from batchway.wire import body, chat, embeddings

BASE64: Final = "/base64"
"""Follows the custom_id in the key of a row whose vector is wanted in base64: a result line is read without its
request. No custom_id has a slash in it."""


class _Line(Struct):
    key: str
    response: Raw = Raw(b"null")
    error: Raw = Raw(b"null")
    status: Raw = Raw(b"null")
    """What an error is called is not confirmed; this is its type's name."""


_line = msgspec.json.Decoder(_Line)
_encode = msgspec.json.Encoder().encode


def encode_row(name: str, request: Request, custom_id: str) -> bytes:
    """The line of the input file. Raises BadRequest, naming the field, for what cannot be asked in a batch."""
    asked: Any
    if request.endpoint == "chat":
        asked, base64 = Raw(_encode_chat(request)), False
    elif request.endpoint == "embeddings":
        asked, base64 = encode_embedding(request.body)
    else:
        raise unspoken(name, request)
    row = _encode({"key": custom_id + BASE64 if base64 else custom_id, "request": asked})
    return row.replace(b"\r", b" ").replace(b"\n", b" ")  # JSON has them between its tokens only.


def _encode_chat(request: Request) -> bytes:
    asked = encode_chat(request.prompt.model, request.body)
    if "serviceTier" in body.fields(asked):
        raise BadRequest(
            "service_tier: Gemini's batches have no tiers; leave it out, or send the request directly.",
            param="service_tier",
            code="unsupported_parameter",
        )
    return asked


def read_row(name: str, faults: Faults, line: bytes, job: Job, now: float) -> RowResult:
    """What a result line says. Raises ValueError if it cannot be read."""
    read = _line.decode(repaired(line))
    custom_id = read.key.removesuffix(BASE64)
    response = body.given(read.response)
    if response is None:
        return RowResult(
            custom_id=custom_id, outcome=_failure(faults, body.given(read.error) or body.given(read.status))
        )
    try:
        outcome = _answer(faults, response, read.key, job, now)
    except ValueError as error:
        what = f"what is not a {job.endpoint} object in a result line"
        outcome = UpstreamMalformed(f"'{name}' sent {what} ({error}).").fault
    return RowResult(custom_id=custom_id, outcome=outcome)


def _answer(faults: Faults, response: bytes, key: str, job: Job, now: float) -> Answer | Fault:
    if job.endpoint == "embeddings":
        return embeddings.answer(decode_embedding(job.model, response, base64=key.endswith(BASE64)), now)
    reader = StreamReader(fold=False, identity=f"chatcmpl-{key}", model=job.model, created=int(now))
    completion = reader.read_whole(response)
    if reader.error is not None:
        return replace(faults.of_words(reader.error), healthy=True)
    return chat.answer(completion, now)


def _failure(faults: Faults, error: bytes | None) -> Fault | None:
    """A google.rpc.Status as the fault of its row, of which nothing follows for others; None where the row was not done
    at all."""
    if error is None:
        unexplained = b'{"message":"The provider gave neither an answer nor an error for this row."}'
        return replace(faults.of_words(unexplained), healthy=True)
    status = http_status(body.parse(error))
    if status == CANCELLED:
        return None
    refused = Incoming(status=status, headers={}, body=_encode({"error": Raw(error)}))
    return replace(faults.of_status(refused), healthy=True)
