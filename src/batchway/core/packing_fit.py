"""Which requests may share a call at all: what would change an answer, or endanger a neighbour's, goes singly."""

import re
from collections.abc import Sequence

from msgspec import Struct

from batchway.core.catalog import Model
from batchway.core.packing import Format
from batchway.core.types import Prompt, Request

LONGEST_ANSWER = 150
"""Output tokens up to which `auto` packs. What is known to be packed well is labels and short answers; longer texts
lose quality (arXiv 2503.02756: 45 % at four per call), and comparing two of them does not show it."""

NOT_TEXT = "its last message is not a user's text"

_FEATURES = {
    "audio": "it has audio",
    "images": "it has images",
    "logprobs": "it asks for logprobs",
    "response_format": "it asks for a response_format",
    "stateful": "it reads or leaves state at the provider",
    "tools": "it has tools",
}

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters and halves of surrogate pairs: models see them differently amid other texts, or not at all."""


_BLANK = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]*+")


class Circumstances(Struct, frozen=True, kw_only=True):
    """What must be known beside the request itself. `None`: not known."""

    format: Format
    model: Model | None = None
    expected_output: int | None = None
    """Output tokens of its answer, as `core.analysis` expects them."""
    reasons: bool = False
    """Its model was billed for reasoning."""
    retained: bool = True
    """False: its key keeps nothing (`retention=none`)."""
    twin: bool = False
    """A request with the same fingerprint waits for the same call already."""


def unfit(request: Request, around: Circumstances) -> str | None:
    """Why the request can not be packed, as a clause; None if it can."""
    return _wrong_kind(request, around) or _wrong_text(request.prompt, around.format) or _unwise(request, around)


def _wrong_kind(request: Request, around: Circumstances) -> str | None:
    prompt = request.prompt
    if request.endpoint != "chat":
        return f"the {request.endpoint} endpoint has no packed form"
    if prompt.features:
        return _FEATURES.get(prompt.features[0], f"it has {prompt.features[0]}")
    if request.apart is not None:
        return f"its {request.apart} may mean something else in a call of several"
    if prompt.stream:
        return "it is a stream"
    if prompt.n > 1:
        return "it asks for several choices"
    if not around.retained:
        return "its key keeps nothing"
    return "its twin is in the same call" if around.twin else None


def _wrong_text(prompt: Prompt, form: Format) -> str | None:
    if prompt.outline is not None:
        return None if prompt.outline.item is not None else NOT_TEXT
    text = prompt.last_user
    if text is None:
        return NOT_TEXT
    if _BLANK.fullmatch(text):
        return "its text is empty"
    if _UNPRINTABLE.search(text):
        return "its text has control characters"
    return f"its text looks like the {form.name} format of packed calls" if form.resembles(text) else None


def _unwise(request: Request, around: Circumstances) -> str | None:
    """What only `auto` minds: `always` is the owner's word."""
    if request.packing != "auto":
        return None
    abilities = around.model.abilities if around.model else None
    if around.reasons or (abilities and "reasoning" in abilities):
        return "its model reasons before it answers"
    expected = _least(around.expected_output, request.prompt.max_output)
    if expected is None:
        return "how long its answer will be is not known"
    return f"its answer may take {expected} tokens" if expected > LONGEST_ANSWER else None


def _least(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def divide(tokens: Sequence[int], most: int, room: int) -> tuple[int, ...]:
    """How many of these items, in their order, go into each call: as few calls as `most` items and `room` tokens per
    call allow, filled evenly. An item of more than `room` goes alone."""
    calls = -(-len(tokens) // max(1, most))
    even = -(-len(tokens) // calls) if calls else 0
    sizes: list[int] = []
    size = held = 0
    for each in tokens:
        if size and (size == even or held + each > room):
            sizes.append(size)
            size = held = 0
        size, held = size + 1, held + each
    return (*sizes, size) if size else tuple(sizes)
