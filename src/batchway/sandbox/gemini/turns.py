"""What a question to Gemini consists of, and what the model reads in it (shapes: google-genai 3.4 types.py)."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Refused

PICTURE = 258
"""Input tokens of an image or file, whatever its size: Google's price of a small image."""

SIGNING = ("gemini-3", "gemini-4")
"""How models begin that want the signatures of the current turn's calls back."""

_FROM_URL = str.maketrans("-_", "+/")
_canonical = msgspec.json.Encoder(order="deterministic").encode


class FunctionCall(Struct):
    """A call that the model made."""

    name: str
    args: dict[str, Any] = {}
    id: str | None = None


class FunctionResponse(Struct):
    """What it gave."""

    name: str
    response: dict[str, Any]
    id: str | None = None


class Piece(Struct, rename="camel"):
    """A part of a turn."""

    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    inline_data: dict[str, Any] | None = None
    file_data: dict[str, Any] | None = None


class Content(Struct):
    """A turn."""

    parts: Annotated[list[Piece], Meta(min_length=1)]
    role: Literal["user", "model"] = "user"


def last_words(contents: Sequence[Content]) -> str:
    """The texts of the last turn that is a user's own."""
    at = _asking(contents)
    return " ".join(piece.text for piece in contents[at].parts if piece.text) if contents else ""


def _asking(contents: Sequence[Content]) -> int:
    """The place of that turn: what comes after it are calls and their results."""
    asking = [at for at, turn in enumerate(contents) if turn.role == "user" and any(p.text for p in turn.parts)]
    return asking[-1] if asking else 0


def sign(call: FunctionCall) -> str:
    """The thought signature of a call, which must come back with it."""
    return base64.b64encode(hashlib.blake2b(_canonical((call.name, call.args)), digest_size=12).digest()).decode()


def check_calls(model: str, contents: Sequence[Content]) -> None:
    """Raises Refused where calls and results do not belong together, or a signature is missing or another's."""
    for at, turn in enumerate(contents):
        calls = [piece for piece in turn.parts if piece.function_call is not None]
        following = contents[at + 1].parts if at + 1 < len(contents) else ()
        given = sum(piece.function_response is not None for piece in following)
        if calls and given != len(calls):
            raise Refused(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
            )
        for piece in calls:
            _check_signature(piece)
        if calls and at > _asking(contents) and model.startswith(SIGNING) and calls[0].thought_signature is None:
            raise Refused(400, "Function call is missing a thought_signature in functionCall parts.")


def _check_signature(piece: Piece) -> None:
    call, signature = piece.function_call, piece.thought_signature
    # Bytes in JSON may come in either alphabet of base64; Google's SDK sends them in the one for URLs.
    if call is not None and signature is not None and signature.translate(_FROM_URL) != sign(call):
        raise Refused(400, "Corrupted thought signature.")


def count_contents(contents: Sequence[Content], count: Callable[[str], int]) -> int:
    """Their tokens: of every text, of calls and results as JSON, and of pictures."""
    return sum(_count(piece, count) for turn in contents for piece in turn.parts)


def _count(piece: Piece, count: Callable[[str], int]) -> int:
    used = piece.function_call or piece.function_response
    tokens = count(piece.text or "") + (count(_canonical(used).decode()) if used else 0)
    return tokens + (PICTURE if piece.inline_data or piece.file_data else 0)
