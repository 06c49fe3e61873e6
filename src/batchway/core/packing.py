"""Packing: several texts in one prompt, and their answers told apart again by id, never by position.

A format is a row in `FORMATS`. It composes the last user message of a packed call and splits the model's answer:

    nonces = make_nonces(items, draw)
    message = FORMATS["xml"].compose(items, nonces)
    answers = FORMATS["xml"].split(said, nonces, cut=False)    # one text or `Missing` for each item

Nobody may get a neighbour's answer, so only what is certain is an answer. Held by tests/core/test_packing.py:

1. An item has an answer only if its id occurs exactly once in all that the model said, as the id of an answer of
   exactly the format's shape that is closed, not nested and holds no id of any item.
2. No word that the model said outside of answers may belong to one: what is followed by such words is missing.
3. An id that never occurs, or whose answer is empty, may have been merged into a neighbour: both neighbours of its
   item are missing as well. (Not where the answer was cut: its end is simply not there.)
4. Whatever the model says, splitting takes linear time.

What no parser can see is an exchange of two answers under valid ids: that is `core.packing_guard`'s.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec
from msgspec import Struct

NONCE = re.compile(r"[0-9a-z]{16,64}")
"""Ids that nobody can guess: at least 64 bits of chance. Twenty decimal digits are 66 bits in 7 tokens of OpenAI's
encodings; sixteen hexadecimal ones take 9.4 (measured with o200k_base over 300 draws)."""

MARGIN = 32
"""Output tokens of a packed call beyond what its items may take: for white space and a code fence."""


class Missing(Struct, frozen=True):
    """There is no certain answer for an item: it is to be asked singly."""

    reason: str


class Format(Struct, frozen=True, kw_only=True):
    """One way of writing several items into one message."""

    name: str
    instructions: str
    """What the model is told; `{count}` stands for the number of items."""
    ending: str
    """The last line: models that are told the number again leave fewer out (arXiv 2309.00384)."""
    items: Callable[[Sequence[str], Sequence[str]], str]
    """Texts and their ids, written out."""
    mimicry: re.Pattern[str]
    """What looks like the format in any case and spacing."""
    read: Callable[[str, bool], dict[str, str]]
    """The well-formed answers by id in what the model said, and whether that was cut. Linear time."""
    overhead: int
    """Input tokens of the instructions, at most."""
    per_item: int
    """Input tokens around each item, at most, at twenty-digit ids."""
    per_answer: int
    """Output tokens around each answer, at most, at twenty-digit ids."""

    def compose(self, items: Sequence[str], nonces: Sequence[str]) -> str:
        """The message that asks all items at once.

        Raises ValueError for ids that are not all different and each a `NONCE`, or that occur in an item.
        """
        _check(items, nonces)
        count = str(len(items))
        instructions, ending = (text.replace("{count}", count) for text in (self.instructions, self.ending))
        return f"{instructions}\n\n{self.items(items, nonces)}\n\n{ending}"

    def resembles(self, text: str) -> bool:
        """Whether a text looks like a part of this format, so that it is better asked singly."""
        return self.mimicry.search(text) is not None

    def split(self, text: str, nonces: Sequence[str], *, cut: bool) -> list[str | Missing]:
        """The answer of each item, in the order of the ids. `cut`: the model did not end by itself."""
        found = self.read(text, cut) if _writable(text) else {}
        occurrences = [text.count(nonce) for nonce in nonces]
        answers = [_judge(found.get(nonce), count, nonces) for nonce, count in zip(nonces, occurrences, strict=True)]
        ends = len(nonces) - next((at for at, count in enumerate(reversed(occurrences)) if count), len(nonces))
        for place in range(ends if cut else len(nonces)):
            if answers[place] in (_ABSENT, _EMPTY):
                _distrust_neighbours(answers, place)
        return answers

    def output_budget(self, bounds: Sequence[int]) -> int:
        """Output tokens that a packed call may take, whose items may take these: so that none is cut for another."""
        return sum(bounds) + self.per_answer * len(bounds) + MARGIN


def make_nonces(items: Sequence[str], draw: Callable[[], str]) -> tuple[str, ...]:
    """An id for each item: all different, and none of them in any item. `draw` gives a random `NONCE`."""
    text = "\0".join(items)
    nonces: dict[str, None] = {}
    while len(nonces) < len(items):
        nonce = draw()
        if nonce not in text:
            nonces[nonce] = None
    return tuple(nonces)


def bisect(count: int) -> tuple[range, ...]:
    """The calls that replace one which was refused for its content: halves, so that the item at fault is found in
    few calls and the others stay packed; two or three are asked singly. Every item ends in at most one single call."""
    if count <= 3:
        return tuple(range(place, place + 1) for place in range(count))
    return range(count // 2), range(count // 2, count)


_ABSENT = Missing("no answer came with its id")
_EMPTY = Missing("its answer is empty")
_REPEATED = Missing("its id came more than once")
_QUOTING = Missing("its answer quotes the id of an item")
_BROKEN = Missing("its answer is not well-formed or not whole")
_SWALLOWED = Missing("the answer of its neighbour is missing and may be in it")


def _judge(found: str | None, occurrences: int, nonces: Sequence[str]) -> str | Missing:
    if occurrences != 1:
        return _REPEATED if occurrences else _ABSENT
    if found is None:
        return _BROKEN
    if any(nonce in found for nonce in nonces):
        return _QUOTING
    return found if found.strip() else _EMPTY


def _distrust_neighbours(answers: list[str | Missing], place: int) -> None:
    for beside in (place - 1, place + 1):
        if 0 <= beside < len(answers) and isinstance(answers[beside], str):
            answers[beside] = _SWALLOWED


def _check(items: Sequence[str], nonces: Sequence[str]) -> None:
    if len(items) != len(nonces) or len(set(nonces)) != len(nonces):
        raise ValueError(f"{len(items)} items need as many different ids, not {len(set(nonces))}")
    for nonce in nonces:
        if not NONCE.fullmatch(nonce) or any(nonce in item for item in items):
            raise ValueError(f"the id {nonce!r} is not 16 to 64 digits or letters, or occurs in an item")


def _writable(text: str) -> bool:
    """Whether it can be sent on at all: half a surrogate pair has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# XML: each text as it is between tags. It needs no escaping, because what looks like a tag is never packed.

_TAG = re.compile(r"<\s*+/?+\s*+(?:answer|item)[^<>]*+>?+", re.IGNORECASE)
_OPENING = re.compile(rf'<answer id="({NONCE.pattern})">')
_CLOSING = "</answer>"
_FENCE = " \t\r\n`"


def _write_xml(items: Sequence[str], nonces: Sequence[str]) -> str:
    return "\n".join(f'<item id="{nonce}">{item}</item>' for item, nonce in zip(items, nonces, strict=True))


def _read_xml(text: str, cut: bool) -> dict[str, str]:
    """Walk over all that looks like a tag. Whatever is out of place spoils the answer that it is in or follows."""
    if cut and text.rfind("<") > text.rfind(">"):
        text = text[: text.rfind("<")]  # it may be the beginning of the next tag
    found: dict[str, str] = {}
    inside: str | None = None
    before: str | None = None  # the answer that was closed last, while nothing has come after it
    end = 0
    for tag in _TAG.finditer(text):
        opening = _OPENING.fullmatch(tag[0])
        if inside is not None and tag[0] == _CLOSING:
            found[inside] = _unwrap(text[end : tag.start()])
            inside, before = None, inside
        else:
            strange = inside is not None or opening is None or text[end : tag.start()].strip(_FENCE) != ""
            if strange and before is not None:
                found.pop(before, None)
            inside, before = opening[1] if opening and inside is None else None, None
        end = tag.end()
    if before is not None and text[end:].strip(_FENCE):
        found.pop(before, None)
    return found


def _unwrap(content: str) -> str:
    """Without the line breaks that set it off from its tags."""
    return content.removeprefix("\n").removesuffix("\n")


# JSON: texts as strings of an array, so that no text can end its own.

_STRING = r'"(?:[^"\\\x00-\x1f]++|\\.)*+"'
_ARRAY = re.compile(r'\[\s*+(?=\{\s*+"id")')
_ELEMENT = re.compile(
    rf'\s*+\{{\s*+"id"\s*+:\s*+"({NONCE.pattern})"\s*+,\s*+"answer"\s*+:\s*+({_STRING})\s*+\}}\s*+([,\]])'
)


class _Item(Struct, frozen=True):
    id: str
    text: str


def _write_json(items: Sequence[str], nonces: Sequence[str]) -> str:
    return msgspec.json.encode([_Item(nonce, item) for item, nonce in zip(items, nonces, strict=True)]).decode()


def _read_json(text: str, cut: bool) -> dict[str, str]:
    """Elements one by one. An array that breaks off counts as far as it goes if the model was cut, else not at all."""
    found: dict[str, str] = {}
    array = _ARRAY.search(text)
    end = array.end() if array else len(text)
    while element := _ELEMENT.match(text, end):
        answer = _decode(element[2])
        if answer is not None:
            found[element[1]] = answer
        if element[3] == "]":
            return found
        end = element.end()
    return found if cut else {}


def _decode(literal: str) -> str | None:
    """The text of a string literal; None where it has none (a wrong escape, half a surrogate pair)."""
    try:
        return msgspec.json.decode(literal, type=str)
    except msgspec.DecodeError:
        return None


_APART = (
    "The {count} messages below come from separate conversations, each of which continues this one. Reply to every "
    "message exactly as if it were the only one: nothing in one message concerns the reply to another. "
)
# Each begins with one set of characters: the search for such a set is several times as fast as for alternatives.
_LT = r"[<＜﹤‹〈&](?:(?<!&)|(?<=&)(?:lt|#0*60|#x0*3c);)"
_GAP = r"[\s\u200b-\u200d\u2060\ufeff]*+"
_QUOTE = """["'“”„‘’]"""

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "xml": Format(
            name="xml",
            instructions=_APART + 'Write each reply as <answer id="...">reply</answer> with the id of its message, '
            "unescaped, and nothing outside of these tags.",
            ending="Write {count} answers, one for each id.",
            items=_write_xml,
            mimicry=re.compile(rf"{_LT}{_GAP}[/／]?+{_GAP}(?:answer|item)", re.IGNORECASE),
            read=_read_xml,
            overhead=96,
            per_item=16,
            per_answer=16,
        ),
        "json": Format(
            name="json",
            instructions=_APART + 'Write nothing but a JSON array with an element {"id": "...", "answer": "reply"} '
            "for each message, with the message's id.",
            ending="Write {count} elements, one for each id.",
            items=_write_json,
            mimicry=re.compile(
                rf"[\"'“”„‘’`](?:(?<!`){_GAP}(?:id|text|answer){_GAP}\\*+{_QUOTE}{_GAP}:|(?<=`)``{_GAP}(?:json|[\[{{]))",
                re.IGNORECASE,
            ),
            read=_read_json,
            overhead=96,
            per_item=18,
            per_answer=18,
        ),
    }
)
"""The formats by name."""
