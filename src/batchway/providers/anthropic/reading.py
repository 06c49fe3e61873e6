"""Reads a piece of a request, and names its place in the whole where it is wrong."""

from typing import TypeVar

import msgspec

from batchway.core.errors import BadRequest
from batchway.wire.hints import refusal

T = TypeVar("T")

SHOWN = 80
"""Characters of a wrong value that an error repeats."""


def read(content: bytes, decoder: msgspec.json.Decoder[T], where: str) -> T:
    """Decode what stands at `where`, such as `messages[0].content[1].image_url`. Raises BadRequest that names it."""
    try:
        return decoder.decode(content)
    except msgspec.DecodeError as error:
        what, _, path = str(error).partition(" - at `$")
        raise refusal(msgspec.ValidationError(f"{what} - at `$.{where}{path or '`'}")) from error


def missing(where: str) -> BadRequest:
    """What to raise for something that must be given."""
    return BadRequest(f"{where}: missing.", param=where, code="missing_required_parameter")


def unsupported(where: str, why: str) -> BadRequest:
    """What to raise for something that the provider's API has no words for; `where` names it."""
    return BadRequest(f"{where}: {why}", param=where, code="unsupported_parameter")
