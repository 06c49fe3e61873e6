"""Documents to shorten, made from a seed: any of their statements may be the fact that is asked about.

A fact is not planted among other stuff, where rare words would give it away: the document is made of statements of the
same kind, each instance about other people, places and things, and one of them is picked to be asked about.
"""

import json
import random
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from batchway.core.compress import Text

Style = Literal["near", "word", "far"]
STYLES: tuple[Style, ...] = ("near", "word", "far")
"""`near`: the question names who it is about and shares a word or two with the answer; `word`: it shares a single word,
picked by lot; `far`: it shares no content word."""

LANGUAGES = ("en", "de", "es", "ru", "zh", "hi")
KINDS = (*LANGUAGES, "dialogue", "code", "json")
"""Plain prose by language; English in turns of a chat, with code blocks, and with records of JSON."""


class Language(Struct, frozen=True):
    """What the statements of one language are made of."""

    who: list[str]
    where: list[str]
    what: list[str]
    items: list[tuple[str, str, str]]


class Statement(Struct, frozen=True, kw_only=True):
    """A sentence of a document, with the questions that it answers."""

    text: str
    near: str
    far: str

    @property
    def numeric(self) -> bool:
        return any(character.isdigit() for character in self.text)


class Trial(Struct, frozen=True, kw_only=True):
    """One prompt: older turns, a question at last, and the fact that the answer needs."""

    kind: str
    style: Style
    texts: tuple[Text, ...]
    """The last one is the question; only the others may be shortened."""
    fact: Statement


MATERIAL = msgspec.convert(
    tomllib.loads(files("quality").joinpath("material.toml").read_text("utf-8")), dict[str, Language]
)


def trials(kind: str, style: Style, number: int, sentences: int, seed: int) -> Iterator[Trial]:
    """As many trials of a kind, each with a document of its own of so many statements."""
    for at in range(number):
        dice = random.Random(f"{seed} {kind} {style} {at}")
        language = MATERIAL[kind if kind in LANGUAGES else "en"]
        statements = [_statement(language, dice) for _ in range(sentences)]
        fact = dice.choice(statements)
        asked = {"near": fact.near, "far": fact.far, "word": f"{fact.far} {_word(fact.text, dice)}"}
        older = _LAYOUTS.get(kind, _document)(statements, "" if kind == "zh" else " ", dice)
        question = Text(role="user", text=asked[style], protected=True, turn=older[-1].turn + 1)
        yield Trial(kind=kind, style=style, texts=(*older, question), fact=fact)


def _statement(language: Language, dice: random.Random) -> Statement:
    text, near, far = dice.choice(language.items)
    slots = {
        "who": dice.choice(language.who),
        "where": dice.choice(language.where),
        "what": dice.choice(language.what),
        "n": dice.randint(12, 980),
        "year": dice.randint(1951, 2023),
    }
    filled = text.format(**slots)
    return Statement(text=filled[0].upper() + filled[1:], near=near.format(**slots), far=far)


def _word(text: str, dice: random.Random) -> str:
    """A word of the text, or two characters where it has no spaces."""
    if " " in text:
        return dice.choice([word.strip(",.।") for word in text.split() if len(word) > 4 and not word[0].isdigit()])
    at = dice.randrange(len(text) - 2)
    return text[at : at + 2]


def _document(statements: Sequence[Statement], space: str, dice: random.Random) -> list[Text]:
    return [Text(role="user", text="\n\n".join(_paragraphs(statements, space, dice)), protected=False, turn=1)]


def _paragraphs(statements: Sequence[Statement], space: str, dice: random.Random) -> Iterator[str]:
    rest = list(statements)
    while rest:
        length = dice.randint(3, 7)
        yield space.join(statement.text for statement in rest[:length])
        rest = rest[length:]


def _dialogue(statements: Sequence[Statement], space: str, dice: random.Random) -> list[Text]:
    return [
        Text(role="assistant" if at % 2 else "user", text=paragraph, protected=False, turn=at // 2 + 1)
        for at, paragraph in enumerate(_paragraphs(statements, space, dice))
    ]


def _with_code(statements: Sequence[Statement], space: str, dice: random.Random) -> list[Text]:
    return _interleaved(statements, space, dice, _code)


def _with_json(statements: Sequence[Statement], space: str, dice: random.Random) -> list[Text]:
    return _interleaved(statements, space, dice, _record)


def _interleaved(
    statements: Sequence[Statement], space: str, dice: random.Random, make: Callable[[random.Random], str]
) -> list[Text]:
    """A document with a block of another kind after every fifth paragraph or so."""
    parts: list[str] = []
    for paragraph in _paragraphs(statements, space, dice):
        parts.append(paragraph)
        if dice.random() < BLOCKS:
            parts.append(make(dice))
    return [Text(role="user", text="\n\n".join(parts), protected=False, turn=1)]


BLOCKS = 0.2
"""Blocks of code or JSON for each paragraph."""


def _code(dice: random.Random) -> str:
    name, bound = dice.choice(("drain", "merge", "retry", "weigh")), dice.randint(2, 90)
    return (
        f"```python\ndef {name}_{bound}(items: list[int]) -> int:\n    total = 0\n    for item in items:\n"
        f"        if item > {bound}:\n            total += item  # over the bound\n    return total\n```"
    )


def _record(dice: random.Random) -> str:
    record = {"id": dice.randint(1000, 9999), "state": dice.choice(("open", "paid")), "lines": [dice.randint(1, 9), 4]}
    return json.dumps(record, indent=2)


_LAYOUTS = {"dialogue": _dialogue, "code": _with_code, "json": _with_json}
