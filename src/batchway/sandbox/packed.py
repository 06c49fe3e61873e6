"""The pretended model and packed prompts: it answers each item as if asked singly, and misbehaves when told to.

How packed prompts look is read here by rules of its own, not by batchway's: what the gateway composes has to be
understood by a reader that does not know the gateway.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec import Struct

Shape = Literal["xml", "json"]
How = Literal[
    "missing",
    "doubled",
    "merged",
    "reordered",
    "shifted",
    "swapped",
    "cut",
    "empty",
    "filtered",
    "wrong_id",
    "wrapped",
    "echoed",
]

_ITEM = re.compile(r'<item id="(\w{8,})">(.*?)</item>', re.DOTALL)
_ELEMENTS = re.compile(r'\[\{"id":')


class Item(Struct, frozen=True):
    """One item of a packed prompt, or its answer."""

    id: str
    text: str


class _Turn(Struct):
    content: Any = None
    parts: Any = None


class _Chat(Struct):
    messages: list[_Turn] = []
    contents: list[_Turn] = []
    """Gemini's turns."""


_chat = msgspec.json.Decoder(_Chat)


class Packed(Struct, frozen=True):
    """A packed prompt as the model understands it."""

    shape: Shape
    items: tuple[Item, ...]


def understand(prompt: str) -> Packed | None:
    """The items of a packed prompt; None if it is an ordinary one."""
    if "<answer id=" in prompt and (tags := _ITEM.findall(prompt)):
        return Packed("xml", tuple(Item(identity, text) for identity, text in tags))
    start = _ELEMENTS.search(prompt)
    if start and '"answer"' in prompt[: start.start()]:
        try:
            elements, _ = json.JSONDecoder().raw_decode(prompt, start.start())
            return Packed("json", tuple(Item(element["id"], element["text"]) for element in elements))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    return None


def is_packed(body: bytes) -> bool:
    """Whether the last message of a chat body is a packed prompt."""
    try:
        chat = _chat.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    turns = chat.messages or chat.contents
    return bool(turns) and understand(_words(turns[-1].content or turns[-1].parts)) is not None


def _words(content: Any) -> str:
    """The text of a turn, in one piece or in parts."""
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))


def say(shape: Shape, answers: Sequence[Item]) -> str:
    """The model's words: every answer under its id."""
    return _frame(shape, [_write(shape, answer) for answer in answers])


def misbehave(how: How, shape: Shape, answers: Sequence[Item], seed: str) -> tuple[str, bool]:
    """The model's words when it goes wrong this way, and whether it was cut. `seed` chooses what is hit.

    What needs a neighbour leaves a lone answer as it is. A `filtered` call has no words: its fault refuses it.
    """
    return _WAYS[how](shape, answers, seed)


def struck(seed: int, body: bytes, share: float) -> bool:
    """Whether this body is among the share of packed calls that a rule hits: always the same for the same body."""
    return _draw(f"{seed}".encode() + body) < share * 2**64


def pick(seed: str, count: int) -> int:
    """A number below `count`, the same for the same seed."""
    return _draw(seed.encode()) % count


def _draw(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _write(shape: Shape, answer: Item) -> str:
    if shape == "xml":
        return f'<answer id="{answer.id}">{answer.text}</answer>'
    return json.dumps({"id": answer.id, "answer": answer.text}, ensure_ascii=False)


def _frame(shape: Shape, written: Sequence[str]) -> str:
    return "\n".join(written) if shape == "xml" else f"[{', '.join(written)}]"


# The ways of going wrong. Most change the answers before they are said.


def _missing(answers: list[Item], at: int) -> list[Item]:
    """One item is passed over."""
    return answers[:at] + answers[at + 1 :]


def _doubled(answers: list[Item], at: int) -> list[Item]:
    """One item is answered twice, differently."""
    return [*answers, Item(answers[at].id, f"On second thought: {answers[at].text}")]


def _merged(answers: list[Item], at: int) -> list[Item]:
    """Two neighbours are answered as one, under the id of either."""
    other = at + 1 if at + 1 < len(answers) else at - 1
    first, last = sorted((at, other))
    both = Item(answers[at].id, f"{answers[first].text}\n{answers[last].text}")
    return [*answers[:first], both, *answers[last + 1 :]] if len(answers) > 1 else answers


def _reordered(answers: list[Item], at: int) -> list[Item]:
    """All are answered, in another order: nothing is wrong with that."""
    return [*answers[at + 1 :], *answers[: at + 1]][::-1]


def _shifted(answers: list[Item], _at: int) -> list[Item]:
    """Every answer stands under the id of the next item."""
    return [Item(each.id, answers[place - 1].text) for place, each in enumerate(answers)]


def _swapped(answers: list[Item], at: int) -> list[Item]:
    """Two items have each other's answer."""
    other = (at + 1) % len(answers)
    texts = {at: answers[other].text, other: answers[at].text}
    return [Item(each.id, texts.get(place, each.text)) for place, each in enumerate(answers)]


def _empty(answers: list[Item], at: int) -> list[Item]:
    """One answer has no words."""
    return [*answers[:at], Item(answers[at].id, ""), *answers[at + 1 :]]


def _wrong_id(answers: list[Item], at: int) -> list[Item]:
    """One answer stands under an id that no item has."""
    invented = f"{_draw(answers[at].id.encode()):020d}"
    return [*answers[:at], Item(invented, answers[at].text), *answers[at + 1 :]]


def _echoed(answers: list[Item], at: int) -> list[Item]:
    """One answer quotes another item's answer, tags and all."""
    other = answers[(at + 1) % len(answers)]
    quoting = f'{answers[at].text} (as in <answer id="{other.id}">{other.text}</answer>)'
    return [*answers[:at], Item(answers[at].id, quoting), *answers[at + 1 :]]


def _cut(shape: Shape, answers: Sequence[Item], seed: str) -> tuple[str, bool]:
    """The words end anywhere, as at a limit of tokens."""
    text = say(shape, answers)
    return text[: pick(seed, len(text))], True


def _wrapped(shape: Shape, answers: Sequence[Item], _seed: str) -> tuple[str, bool]:
    """Prose before, and a code fence around it all."""
    return f"Sure! Here are the {len(answers)} answers:\n\n```{shape}\n{say(shape, answers)}\n```", False


def _filtered(_shape: Shape, _answers: Sequence[Item], _seed: str) -> tuple[str, bool]:
    """The whole call is refused for the content of one item."""
    return "", False


Change = Callable[[list[Item], int], list[Item]]
Way = Callable[[Shape, Sequence[Item], str], tuple[str, bool]]


def _changing(change: Change) -> Way:
    return lambda shape, answers, seed: (say(shape, change(list(answers), pick(seed, len(answers)))), False)


_WAYS: Mapping[How, Way] = MappingProxyType(
    {
        "missing": _changing(_missing),
        "doubled": _changing(_doubled),
        "merged": _changing(_merged),
        "reordered": _changing(_reordered),
        "shifted": _changing(_shifted),
        "swapped": _changing(_swapped),
        "cut": _cut,
        "empty": _changing(_empty),
        "filtered": _filtered,
        "wrong_id": _changing(_wrong_id),
        "wrapped": _wrapped,
        "echoed": _changing(_echoed),
    }
)

WAYS: tuple[How, ...] = tuple(_WAYS)
UNSEEN: frozenset[How] = frozenset({"shifted", "swapped"})
"""What leaves no trace in the words themselves: contents exchanged under valid ids."""
