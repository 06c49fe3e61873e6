"""The requests: about 1 kB each, every one different unless its case is about repeating."""

from collections.abc import Iterator
from itertools import repeat

import orjson

MODEL = "gpt-4o-mini"
"""A real name, so that prices are looked up."""

TWINS = 8
"""Identical requests that are asked at once."""

TWIN_DELAY_MS = 50
"""How long the upstream thinks about each group of them: long enough for all to have arrived."""

CHUNK_DELAY_MS = 2
"""Between the chunks of a stream, so that they come one by one, as from a model."""

_SYSTEM = "You are the support desk of a bookshop. Answer in two sentences, kindly, and name the order if you can. "
_USER = "My parcel should have come last week, and the tracking page has said the same since then. Where is it now? "
_NUMBER = "@NUMBER"


def varied(numbers: Iterator[int], **fields: object) -> Iterator[bytes]:
    """Bodies that differ in one number inside the user's text."""
    turns = [
        {"role": "system", "content": _SYSTEM * 2},
        {"role": "user", "content": f"Order {_NUMBER}. " + _USER * 5},
    ]
    return _numbered(turns, numbers, fields)


def short(numbers: Iterator[int]) -> Iterator[bytes]:
    """Bodies of 4 kB: a long system message and a short question, what packing is for."""
    turns = [
        {"role": "system", "content": _SYSTEM * 40},
        {"role": "user", "content": f"Letter {_NUMBER}: my parcel is late. Is that a complaint? Answer yes or no."},
    ]
    return _numbered(turns, numbers, {})


def tiny(numbers: Iterator[int]) -> Iterator[bytes]:
    """The question alone: nothing is won by packing it."""
    question = f"Letter {_NUMBER}: my parcel is late. Is that a complaint? Answer yes or no."
    return _numbered([{"role": "user", "content": question}], numbers, {})


def _numbered(turns: list[dict[str, str]], numbers: Iterator[int], fields: dict[str, object]) -> Iterator[bytes]:
    before, after = orjson.dumps({"model": MODEL, "messages": turns, **fields}).split(_NUMBER.encode())
    return (before + b"%d" % number + after for number in numbers)


def repeated(numbers: Iterator[int]) -> Iterator[bytes]:
    """One repeatable body again and again: all but the first are answered from the cache."""
    return repeat(next(varied(numbers, temperature=0)))


def twins(numbers: Iterator[int]) -> Iterator[bytes]:
    """Groups of identical repeatable bodies, for an upstream that takes its time."""
    bodies = varied(numbers, temperature=0, metadata={"delay_ms": str(TWIN_DELAY_MS)})
    return (body for body in bodies for _ in range(TWINS))


def streams(numbers: Iterator[int]) -> Iterator[bytes]:
    """Bodies that ask for a stream."""
    return varied(numbers, stream=True, metadata={"delay_ms": str(CHUNK_DELAY_MS)})


def mixed(numbers: Iterator[int]) -> Iterator[bytes]:
    """All different; one in four may be cached, so that the cache fills up and turns over."""
    plain, repeatable = varied(numbers), varied(numbers, temperature=0)
    while True:
        yield next(repeatable)
        for _ in range(3):
            yield next(plain)
