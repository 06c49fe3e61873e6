"""The pretended model, whichever dialect asks: what it says is a function of the question (and of sampling)."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from batchway.sandbox.schema import fill

_WORDS = """
amber basin cedar delta ember fjord grove harbor inlet juniper kelp lagoon maple nectar orchid prairie quartz
ridge summit timber umber valley willow zephyr acorn birch canyon dune estuary fern glacier heath island jasmine
knoll larch meadow north oasis pebble quarry river sierra tundra upland vista water yarrow aspen brook cliff
dawn evening forest gravel hazel ivory jade kindle lichen moss nimbus opal pine
"""

VOCABULARY = tuple(_WORDS.split())
"""64 words, so that six bits of a hash choose one."""

ECHOED = 80
"""Characters of the last user turn that an answer repeats."""


class Tool(Struct, frozen=True, kw_only=True):
    """A function that the model is made to call."""

    name: str
    schema: dict[str, Any]


class Question(Struct, frozen=True, kw_only=True, gc=False):
    """What the model is asked, without the dialect's wrapping."""

    canonical: bytes
    """All that the answer depends on."""
    prompt: str
    """The last user turn."""
    sampled: bool
    """Two answers to this may differ."""
    seed: int | None = None
    schema: dict[str, Any] | None = None
    """The answer is to be JSON of this JSON Schema; `{}` is any object."""
    tool: Tool | None = None
    limit: int | None = None
    """Output tokens at most."""
    choices: int = 1


class Said(Struct, frozen=True, kw_only=True, gc=False):
    """One answer of the model: text, or the arguments of a tool call."""

    text: str
    tool: str | None = None
    cut: bool = False
    """It ran into the limit of tokens."""
    tokens: int = 0


def answer(question: Question, number: int, words: int, count: Callable[[str], int]) -> tuple[Said, ...]:
    """One `Said` per choice. `number` tells sampled answers to the same question apart; `words` is their length."""
    digest = hashlib.blake2b(question.canonical, digest_size=6).hexdigest()
    return tuple(
        limited(_say(question, digest, _variant(question, number, index), words), question, count)
        for index in range(question.choices)
    )


def identify(prefix: str, canonical: bytes, number: int) -> str:
    """An id like the providers': the same for the same question and number."""
    return f"{prefix}{hashlib.blake2b(canonical, digest_size=6).hexdigest()}{number:012x}"


def _variant(question: Question, number: int, index: int) -> str:
    """What is added to tell answers apart: the number of the call if it was sampled, and of the choice."""
    if question.sampled:
        return f" #{number}.{index}"
    return f" #{question.seed}.{index}" if question.seed is not None else ""


def _say(question: Question, digest: str, variant: str, words: int) -> str:
    if question.tool is not None:
        return json.dumps(fill(question.tool.schema, f"{digest}{variant}"))
    if question.schema is not None:
        return json.dumps(fill(question.schema, f"{digest}{variant}"))
    return f"Echo {digest}{variant}: {question.prompt[:ECHOED]} | {ramble(digest + variant, words)}"


def ramble(start: str, words: int) -> str:
    """So many words, chosen by a hash of `start`."""
    dice = hashlib.shake_256(start.encode()).digest(words)
    return " ".join([VOCABULARY[die & 63] for die in dice])


def limited(text: str, question: Question, count: Callable[[str], int]) -> Said:
    """These words as the answer to a question, cut at its limit of tokens."""
    tool = question.tool.name if question.tool else None
    tokens = count(text)
    if question.limit is None or tokens <= question.limit:
        return Said(text=text, tool=tool, tokens=tokens)
    short = shorten(text, question.limit, count)
    return Said(text=short, tool=tool, cut=True, tokens=count(short))


def shorten(text: str, limit: int, count: Callable[[str], int]) -> str:
    """The longest beginning of a text (of whole characters) that has at most `limit` tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= limit else (low, middle - 1)
    return text[:low]
