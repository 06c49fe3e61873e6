"""What a prompt asks for, by its words and its shape: the task, how hard it is, how long its answer, how it may wait.

No model of any kind is asked. It looks at the beginning and the last line of what was asked last, and at the beginning
of the system's words: there instructions stand. It weighs the words that name a task; where none is known (other
languages, bare texts) the shape decides: question marks, code fences, JSON, length. Nothing is promised: it is a guess
that prices and windows may be based on.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, get_args

from msgspec import Struct, structs

from batchway.core.errors import BadRequest
from batchway.core.policy import LatencyTolerance
from batchway.core.task_words import FRAGMENTS, SAYS, TASKS, Task
from batchway.core.types import Prompt

Complexity = Literal["low", "medium", "high"]

LEVELS: tuple[Complexity, ...] = get_args(Complexity)

JUDGED = frozenset({"task", "complexity", "output_tokens", "latency_tolerance"})
"""What is judged of a prompt, each with its reason."""


class Reasons(Struct, frozen=True, kw_only=True):
    """Why each of the four was found so, in words."""

    task: str = "as given"
    complexity: str = "as given"
    output_tokens: str = "as given"
    latency_tolerance: str = "as given"


class Analysis(Struct, frozen=True, kw_only=True):
    """What a request asks for."""

    task: Task = "chat"
    complexity: Complexity = "medium"
    input_tokens: int = 0
    """Roughly; `core.tokens` counts where it matters."""
    output_tokens: int = 200
    """Expected length of one answer; a guess that prices and pack sizes may be based on, not a bound."""
    latency_tolerance: LatencyTolerance = "medium"
    reasons: Reasons = Reasons()


NOTHING_FOUND = Analysis()
"""What is taken where nobody has looked."""


# Looking

GLANCE = 400
"""Characters looked at from each end of a text."""
NEAR = 6
"""Words from the beginning of a text among which a task is most likely named."""
REMEMBERED = 256
"""Beginnings of system messages whose words are remembered."""
LONG = 4_000
"""Characters from which a text is long: about a thousand tokens, more than somebody types."""


class _Look(Struct, frozen=True, kw_only=True):
    """What was seen of a prompt."""

    weights: dict[str, int]
    """The words that count, by how near to a beginning they stand: 3, 2 or 1."""
    words: frozenset[str]
    """Of the head, in small letters."""
    head: str
    tail: str
    size: int
    """Characters of all texts."""
    tokens: int
    turns: int
    stream: bool
    features: tuple[str, ...]
    max_output: int | None


_WORD = re.compile(r"[^\W\d_]+")
_ASCII_WORDS = {point: " " for point in range(128) if not chr(point).isalpha()}
_SCHEMAS = ("audio", "response_format", "tools")
"""Features whose JSON stands behind the turns in `Prompt.texts`."""


def analyse(prompt: Prompt) -> Analysis:
    """What this prompt asks for. Never raises; the same prompt gives the same analysis."""
    if prompt.outline is not None:
        return Analysis(output_tokens=prompt.outline.answer, latency_tolerance=prompt.outline.tolerance)
    look = _look(prompt)
    task, task_why = _task(look)
    complexity, complexity_why = _complexity(look, task)
    output, output_why = _output(look, task, complexity)
    tolerance, tolerance_why = _tolerance(look, task)
    return Analysis(
        task=task,
        complexity=complexity,
        input_tokens=look.tokens,
        output_tokens=output,
        latency_tolerance=tolerance,
        reasons=Reasons(
            task=task_why, complexity=complexity_why, output_tokens=output_why, latency_tolerance=tolerance_why
        ),
    )


def analyse_text(text: str) -> Analysis:
    """What a bare text asks for."""
    return analyse(Prompt(model="", texts=(text,)))


def _look(prompt: Prompt) -> _Look:
    turns = _turns(prompt)
    asked = turns[-1] if turns else ""
    head, tail = asked[:GLANCE], asked[-GLANCE:] if len(asked) > GLANCE else asked
    first, last = head.lower(), tail.rstrip().rpartition("\n")[2].lower()
    said = _weigh(first)
    found = (said, _weigh_system(prompt.system[:GLANCE]), said if last == first else _weigh(last))
    weights: dict[str, int] = {}
    for known in found:
        for word, weight in known.weights:
            weights[word] = max(weight, weights.get(word, 0))
    size = sum(map(len, prompt.texts))
    # Other scripts need more bytes and more tokens for a character; what was glanced at stands for the rest.
    width = len((head + tail).encode(errors="replace")) / max(1, len(head + tail))
    return _Look(
        weights=weights,
        words=said.words,
        head=head.strip(),
        tail=tail.strip(),
        size=size,
        tokens=int(size * width) // 4,
        turns=len(turns) - (1 if prompt.system and len(turns) > 1 else 0),
        stream=prompt.stream,
        features=prompt.features,
        max_output=prompt.max_output,
    )


def _turns(prompt: Prompt) -> tuple[str, ...]:
    """The texts without the schemas behind them."""
    end = len(prompt.texts)
    for feature in _SCHEMAS:
        if feature in prompt.features and end > 1 and prompt.texts[end - 1][:1] in ("{", "["):
            end -= 1
    return prompt.texts[:end]


class _Words(Struct, frozen=True):
    """The words of a text in small letters, and those of them that count, in their order and each by its best place."""

    words: frozenset[str]
    weights: tuple[tuple[str, int], ...]


def _weigh(lowered: str) -> _Words:
    ascii_only = lowered.isascii()
    # The same words, several times as fast.
    found = lowered.translate(_ASCII_WORDS).split() if ascii_only else _WORD.findall(lowered)
    words = frozenset(found)
    # Most words count for nothing: only those that do are looked for one by one.
    places = sorted([(found.index(word), word) for word in words & SAYS.keys()])
    weights = [(word, 3 if at < NEAR else 2 if at < 3 * NEAR else 1) for at, word in places]
    if not ascii_only:
        weights += [(fragment, 3) for fragment in FRAGMENTS if fragment in lowered]
    return _Words(words, tuple(weights))


@lru_cache(maxsize=REMEMBERED)
def _weigh_system(beginning: str) -> _Words:
    """Of what an application says with every request."""
    return _weigh(beginning.lower())


# Judging

_FENCE = "```"
_QUESTION_MARKS = ("?", "？", "؟", "¿")


def _task(look: _Look) -> tuple[Task, str]:
    """The task that most speaks for; of equals the later in `TASKS`, which are the more special ones."""
    scores: dict[Task, int] = {}
    signs: dict[Task, list[str]] = {}
    for word, weight in look.weights.items():
        task, strength = SAYS.get(word) or FRAGMENTS[word]
        # The loudest word speaks for its task, each further one a little louder: five weak ones are no strong one.
        said, loudest = weight * strength, scores.get(task, 0)
        scores[task] = max(said, loudest) + (1 if loudest else 0)
        signs.setdefault(task, []).append(f"it says {word}")
    if (shape := _shape(look)) is not None:
        task, weight, sign = shape
        scores[task] = scores.get(task, 0) + weight
        signs.setdefault(task, []).append(sign)
    if not scores:
        return "chat", "nothing in its words or its shape names another task"
    best = max(scores, key=lambda each: (scores[each], TASKS.index(each)))
    return best, ", ".join(signs[best][-4:])


def _shape(look: _Look) -> tuple[Task, int, str] | None:
    """What the shape alone speaks for, and how loudly beside the words: one word in front weighs 3 to 9."""
    if _FENCE in look.head or _FENCE in look.tail:
        return "code", 8, "it holds a code fence"
    if look.head[:1] in ("{", "[") and look.tail[-1:] in ("}", "]"):
        return "data", 5, "it is JSON"
    if look.tail.endswith(_QUESTION_MARKS) or look.head.startswith("¿"):
        return "question", 3, "it ends as a question"
    return None


_EFFORT: Mapping[Task, int] = {"reason": 2, "code": 1, "write": 1}
_DEEP_WORDS = """
    prove proof theorem derive optimise optimize architecture design tradeoffs analyse analyze thorough detailed
    comprehensive rigorous strategy refactor concurrency
"""
_DEEP = frozenset(_DEEP_WORDS.split())


def _complexity(look: _Look, task: Task) -> tuple[Complexity, str]:
    signs = [f"to {task} takes some thought"] if task in _EFFORT else []
    points = _EFFORT.get(task, 0)
    deep = sorted(_DEEP & look.words)
    lines = sum(line.lstrip()[:2] in _BULLETS for line in look.head.splitlines())
    for sign, weight in (
        (f"it says {', '.join(deep)}" if deep else "", 1),
        (f"{lines} points to heed" if lines >= 4 else "", 1),
        ("several questions" if look.head.count("?") >= 3 else "", 1),
        (f"about {look.tokens} tokens to read" if look.size >= LONG else "", 1),
        ("very much to read" if look.size >= 10 * LONG else "", 1),
        ("tools to choose from" if "tools" in look.features else "", 1),
        ("images or sound" if not {"audio", "images"}.isdisjoint(look.features) else "", 1),
    ):
        if sign:
            points += weight
            signs.append(sign)
    level: Complexity = "low" if points == 0 else "medium" if points < 3 else "high"
    return level, ", ".join(signs) or "short and simple"


_BULLETS = frozenset({"- ", "* ", "• ", *(f"{digit}{sign}" for digit in "123456789" for sign in ".)")})

_USUAL: Mapping[Task, tuple[int, int, int]] = {
    # Tokens of an answer at low, medium and high complexity.
    "chat": (80, 200, 400),
    "question": (150, 300, 600),
    "classify": (8, 15, 40),
    "code": (300, 500, 1_200),
    "reason": (400, 700, 1_500),
    "write": (300, 500, 1_200),
    "data": (200, 400, 1_000),
}
_SHARES: Mapping[Task, tuple[float, int, int]] = {
    # Of the input: how much of it an answer is as long as, and at least and at most how many tokens.
    "summarise": (0.15, 60, 600),
    "extract": (0.1, 40, 1_000),
    "translate": (1.1, 20, 8_000),
    "rewrite": (1.0, 30, 8_000),
}
_UNITS = ("word", "wörter", "mots", "palabras", "parole")
_ASKED_WORDS = re.compile(rf"([0-9]{{1,5}})[ -](?:words?|{'|'.join(_UNITS[1:])})\b")
_ASKED_SIZES: Mapping[str, int] = {
    "one word": 5,
    "single word": 5,
    "yes or no": 5,
    "one sentence": 40,
    "single sentence": 40,
    "one paragraph": 120,
    "briefly": 80,
}


def _output(look: _Look, task: Task, complexity: Complexity) -> tuple[int, str]:
    tokens, why = _asked_size(look) or _usual_size(look, task, complexity)
    if look.max_output is not None and look.max_output < tokens:
        return max(1, look.max_output), "the request allows no more"
    return tokens, why


def _asked_size(look: _Look) -> tuple[int, str] | None:
    """The length that was asked for in words."""
    for text in (look.head.lower(), look.tail.lower()):
        if any(unit in text for unit in _UNITS) and (found := _ASKED_WORDS.search(text)):
            return max(5, int(found[1]) * 4 // 3), f"it asks for {found[0]}"
        for phrase, tokens in _ASKED_SIZES.items():
            if phrase in text:
                return tokens, f"it asks for {phrase}"
    return None


def _usual_size(look: _Look, task: Task, complexity: Complexity) -> tuple[int, str]:
    if task in _SHARES:
        share, least, most = _SHARES[task]
        return min(most, max(least, int(look.tokens * share))), f"to {task} about {look.tokens} tokens"
    return _USUAL[task][LEVELS.index(complexity)], f"usual for {task} of {complexity} complexity"


_BULK = frozenset({"summarise", "extract", "classify", "translate"})


def _tolerance(look: _Look, task: Task) -> tuple[LatencyTolerance, str]:
    if look.stream:
        return "low", "it is streamed: somebody reads along"
    if task in _BULK and look.size >= LONG:
        return "high", f"to {task} a long text is bulk work"
    if task == "chat" or look.turns > 2:
        return "low", "it is a conversation"
    return "medium", "nobody is seen waiting, and it is no bulk work"


# In and out as JSON

_ALLOWED: Mapping[str, tuple[str, ...]] = {"task": TASKS, "complexity": LEVELS, "latency_tolerance": LEVELS}
_COUNTS = ("input_tokens", "output_tokens")


def analysis_json(analysis: Analysis) -> dict[str, object]:
    """The keys: `task`, `complexity`, `input_tokens`, `output_tokens`, `latency_tolerance`, and `reasons`, which has a
    text for each of the four that are judged."""
    return structs.asdict(analysis) | {"reasons": structs.asdict(analysis.reasons)}


def read_analysis(given: Mapping[str, object], over: Analysis = NOTHING_FOUND) -> Analysis:
    """An analysis that somebody else made, in the keys of `analysis_json`; those that are missing are as in `over`.

    Raises BadRequest that names the key and what is allowed.
    """
    _refuse_unknown(given, Analysis.__struct_fields__, "")
    for key, allowed in _ALLOWED.items():
        if key in given and given[key] not in allowed:
            raise _wrong(key, given[key], f"one of {', '.join(allowed)}")
    for key in _COUNTS:
        if key in given and not _is_count(given[key]):
            raise _wrong(key, given[key], "a whole number of at least 0")
    reasons = {key: getattr(over.reasons, key) for key in JUDGED - given.keys()}
    if "reasons" in given:
        reasons |= _read_reasons(given["reasons"])
    return structs.replace(over, **{**given, "reasons": Reasons(**reasons)})


def _read_reasons(given: object) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        raise _wrong("reasons", given, "an object")
    _refuse_unknown(given, Reasons.__struct_fields__, "reasons.")
    for key, reason in given.items():
        if not isinstance(reason, str):
            raise _wrong(f"reasons.{key}", reason, "a text")
    return given


def _refuse_unknown(given: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            param = f"{where}{key}"
            raise BadRequest(f"{param}: no key of an analysis; known are {', '.join(known)}.", param=param)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong(key: str, value: object, allowed: str) -> BadRequest:
    return BadRequest(f"{key}: {str(value)[:60]!r} is not {allowed}.", param=key)
