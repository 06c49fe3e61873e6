"""What the demonstration asks, through the real OpenAI client, and how each request was answered."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from batchway.engine.stats import VIAS

QUESTIONS = (
    "Is 'the parcel came two days late' a complaint? Answer yes or no.",
    "Translate 'good morning' into French.",
    "What is the capital of Peru?",
    "Give a synonym for 'quick'.",
)
MODEL = "gpt-6-luna"
REPEATS = 8
SIMULTANEOUS = 12

SORTER = "gpt-4o-mini"
"""Who sorts the letters: a model that answers without reasoning first, as `packing=auto` wants it."""

TOPICS = (
    "parcels that came late", "parcels that never came", "wrong sizes", "broken goods", "missing parts", "the invoice",
    "a refund", "a voucher", "the newsletter", "the web shop", "opening hours", "a telephone call", "the catalogue",
    "gift wrapping", "an exchange", "spare parts", "the manual", "a repair", "the guarantee", "a visit to our shop",
)  # fmt: skip
GUIDE = "You sort the letters that a shop gets. " + " ".join(
    f"A letter about {topic} is a complaint if its writer is unhappy with us, and none if it only asks or thanks."
    for topic in TOPICS
)
LETTERS = (
    "My chair came with three legs.", "When do you open on Sunday?", "The blue coat fits perfectly, thank you!",
    "Third call about the same refund.", "Do you still sell the oak table?", "The lamp hums all night.",
    "Please send me the catalogue.", "Your driver threw the parcel over the fence.", "Greetings from Bergen.",
    "The manual is in the wrong language.", "How do I pay by invoice?", "The vase arrived in two hundred pieces.",
)  # fmt: skip
ROUNDS = 3


class Row(Struct, frozen=True):
    """A line of the table: what was asked, how often, and how it was answered."""

    asked: str
    requests: int
    answered: str


class Part(Struct, frozen=True, kw_only=True):
    """One request's part of a packed call."""

    call: str
    """The id that all parts of the call begin with."""
    letter: str
    said: str
    input: int
    output: int
    cost: str
    saved: str
    why: str


async def ask_everything(address: str) -> tuple[list[Row], list[Part]]:
    """The whole load; and the parts of the largest packed call in it."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="no-key-needed") as client:
        varied = [await _ask(client, question, temperature=1.0) for question in QUESTIONS]
        twins = await asyncio.gather(*(_ask(client, QUESTIONS[0], temperature=0) for _ in range(SIMULTANEOUS)))
        again = [await _ask(client, QUESTIONS[0], temperature=0) for _ in range(REPEATS)]
        streamed = [await _stream(client, question) for question in QUESTIONS[:2]]
        vectors = [await _embed(client, QUESTIONS[1]) for _ in range(3)]
        patient = await asyncio.gather(*(_ask_patiently(client, question) for question in QUESTIONS))
        letters = [letter for number in range(ROUNDS) for letter in await _sort_letters(client, number)]
    packs = _packs(letters)
    together = (
        f"{sum(map(len, packs))} direct, in {len(packs)} packed calls; {len(letters) - sum(map(len, packs))} alone"
    )
    rows = [
        Row("different questions, one after the other", len(varied), _ways(varied)),
        Row(f"one question {SIMULTANEOUS} times at once, temperature 0", len(twins), _ways(twins)),
        Row("the same question later, again and again", len(again), _ways(again)),
        Row("streamed answers", len(streamed), _ways(streamed)),
        Row("one embedding asked for three times", len(vectors), _ways(vectors)),
        Row("what can wait (priority low), by batch", len(patient), _ways(patient)),
        Row(f"{len(LETTERS)} letters at a time, sorted by a guide", len(letters), together),
    ]
    return rows, max(packs, key=len, default=[])


async def _ask(client: Any, question: str, *, temperature: float) -> str:
    answer = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": question}], temperature=temperature
    )
    return str(answer.headers["x-batchway-routed-via"])


async def _ask_patiently(client: Any, question: str) -> str:
    answer = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": question}], extra_body={"priority": "low"}
    )
    return str(answer.headers["x-batchway-routed-via"])


async def _stream(client: Any, question: str) -> str:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": question}], stream=True
    )
    async for _ in raw.parse():
        pass
    return str(raw.headers["x-batchway-routed-via"])


async def _embed(client: Any, text: str) -> str:
    answer = await client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=text)
    return str(answer.headers["x-batchway-routed-via"])


async def _sort_letters(client: Any, number: int) -> list[Part]:
    """All letters at once. The number of the round is in them, so that none is answered from the cache."""
    return await asyncio.gather(*(_sort(client, f"Letter {number}.{at}: {each}") for at, each in enumerate(LETTERS)))


async def _sort(client: Any, letter: str) -> Part:
    turns = [
        {"role": "system", "content": GUIDE},
        {"role": "user", "content": f"{letter} Complaint? Answer yes or no."},
    ]
    raw = await client.chat.completions.with_raw_response.create(model=SORTER, messages=turns, temperature=0)
    answer, headers = raw.parse(), raw.headers
    return Part(
        call=answer.id.rpartition("-")[0] if "x-batchway-packed" in headers else "",
        letter=letter,
        said=answer.choices[0].message.content or "",
        input=answer.usage.prompt_tokens,
        output=answer.usage.completion_tokens,
        cost=headers["x-batchway-cost-usd"],
        saved=headers["x-batchway-saved-usd"],
        why=headers["x-batchway-why"],
    )


def _packs(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts of each packed call."""
    packs: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.call:
            packs[part.call].append(part)
    return list(packs.values())


def _ways(vias: Sequence[str]) -> str:
    return ", ".join(_counted(vias))


def _counted(vias: Sequence[str]) -> Iterator[str]:
    for via in VIAS:
        if via in vias:
            yield f"{vias.count(via)} {via}"
