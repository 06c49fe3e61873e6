"""How much of what is asked about survives fitting, beside plain truncation; and what fitting costs.

Survives: the whole sentence is in what is left, byte for byte. All ways get the same budget of tokens, counted alike.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median

from msgspec import Struct

from batchway.core.compress import Text, fit
from batchway.core.sentences import split
from batchway.core.spans import find_spans
from batchway.core.tokens import remembering
from batchway.data.vocabulary import Vocabularies
from quality.documents import KINDS, STYLES, Trial, trials

Counter = Callable[[str], int]

RATIOS = (2, 3, 5)
GOAL_RATIO, GOAL = 3, 1.5
"""At three times shorter, fitting is to keep at least 1.5 times what the best truncation keeps."""

SEED = 20_261
WAYS = ("fit", "head", "tail", "ends", "random")
"""Fitting; the beginning; the end; beginning and end in equal parts; sentences by lot."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one trial at one ratio."""

    trial: Trial
    ratio: int
    survived: Mapping[str, bool]
    """By way."""
    fits: bool


def run(small: bool) -> str:
    """The report, as Markdown."""
    count = Vocabularies().counter("o200k_base")
    number, sentences = (2, 60) if small else (40, 150)
    outcomes = [
        outcome
        for kind in KINDS
        for style in STYLES
        for trial in trials(kind, style, number, sentences, SEED)
        for outcome in try_ways(trial, count)
    ]
    return "\n".join(
        [*_heading(number, sentences), *_table(outcomes), "", _verdict(outcomes), "", *_speed(count, small)]
    )


def try_ways(trial: Trial, count: Counter) -> list[Outcome]:
    """Shorten one trial every way, to each ratio."""
    older = sum(count(text.text) for text in trial.texts[:-1])
    question = count(trial.texts[-1].text)
    sentences = [sentence.text for text in trial.texts[:-1] for sentence in split(text.text, find_spans(text.text))]
    sizes = [count(sentence) for sentence in sentences]
    dice = random.Random(trial.fact.text)
    outcomes: list[Outcome] = []
    for ratio in RATIOS:
        room = older // ratio
        fitted = fit(trial.texts, room + question, count)
        survived = {"fit": fitted.fits and any(trial.fact.text in text for text in fitted.texts[:-1])}
        for way, order in _orders(len(sentences), dice).items():
            survived[way] = any(trial.fact.text in sentences[at] for at in _up_to(room, order, sizes))
        outcomes.append(Outcome(trial=trial, ratio=ratio, survived=survived, fits=fitted.fits))
    return outcomes


def _orders(number: int, dice: random.Random) -> dict[str, list[int]]:
    """In which order each way takes sentences until there is no more room."""
    forth, back = range(number), range(number - 1, -1, -1)
    return {
        "head": list(forth),
        "tail": list(back),
        "ends": [at for pair in zip(forth, back, strict=True) for at in pair][:number],
        "random": dice.sample(forth, number),
    }


def _up_to(room: int, order: Sequence[int], sizes: Sequence[int]) -> Iterator[int]:
    for at in order:
        room -= sizes[at]
        if room < 0:
            return
        yield at


def _heading(number: int, sentences: int) -> list[str]:
    return [
        "## Fitting: share of answers that survive",
        "",
        f"{number} documents of {sentences} sentences for each kind and style of question, seed {SEED}.",
        "An answer survives if its sentence is left whole. `near` questions name who they are about and share a word",
        "or two with the answer, `word` ones share a single word by lot, `far` ones share no content word. The",
        "documents are made from templates, so that few sentences compete for a word: real ones keep less.",
        "",
    ]


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    rows = [
        f"| {name} | {ratio}x | {_cells([each for each in group if each.ratio == ratio])} |"
        for name, group in _groups(outcomes).items()
        for ratio in RATIOS
    ]
    return [
        f"| documents, question | shorter | {' | '.join(WAYS)} | fit / best other | does not fit |",
        f"|---|---|{'---|' * (len(WAYS) + 2)}",
        *rows,
    ]


def _groups(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The rows of the table: by kind, by style, and by whether the answer has a number."""
    told = [each for each in outcomes if each.trial.style != "far"]
    groups = {f"{kind}, near or word": [each for each in told if each.trial.kind == kind] for kind in KINDS}
    groups["answers with a number, near or word"] = [each for each in told if each.trial.fact.numeric]
    groups["answers without, near or word"] = [each for each in told if not each.trial.fact.numeric]
    groups |= {f"all, {style}": [each for each in outcomes if each.trial.style == style] for style in STYLES}
    return groups | {"all": list(outcomes)}


def share(outcomes: Sequence[Outcome], way: str) -> float:
    """Part of the outcomes whose answer survived this way."""
    return sum(each.survived[way] for each in outcomes) / len(outcomes)


def gain(outcomes: Sequence[Outcome]) -> float:
    """How many times what the best other way keeps is kept by fitting."""
    best = max(share(outcomes, way) for way in WAYS if way != "fit")
    return share(outcomes, "fit") / best if best else float("inf")


def _cells(outcomes: Sequence[Outcome]) -> str:
    shares = " | ".join(f"{share(outcomes, way):.0%}" for way in WAYS)
    unfit = sum(not each.fits for each in outcomes)
    return f"{shares} | {gain(outcomes):.2f} | {unfit}"


def _verdict(outcomes: Sequence[Outcome]) -> str:
    at_goal = [each for each in outcomes if each.ratio == GOAL_RATIO]
    groups = {style: [each for each in at_goal if each.trial.style == style] for style in STYLES} | {"all": at_goal}
    told = []
    for name, group in groups.items():
        reached = "reached" if gain(group) >= GOAL else "NOT REACHED"
        told.append(f"{name} questions {gain(group):.2f} ({reached})")
    return (
        f"Goal: at {GOAL_RATIO}x, {GOAL} times what the best other way keeps: {', '.join(told)}. Without a word in"
        " common nothing but chance tells an answer from other sentences: a third of them is left."
    )


TOKENS = 10_000
"""Size of the prompt whose fitting is timed."""


def _speed(count: Counter, small: bool) -> list[str]:
    """CPU time of fitting one prompt as the gateway does it, whose counter remembers what it counted of late: the texts
    were counted when they were found to be too long."""
    trial = next(trials("en", "near", 1, 480, SEED))
    texts = [text.text for text in trial.texts]
    older = sum(map(count, texts[:-1]))
    rounds = 3 if small else 40
    counting = _milliseconds(lambda: lambda: sum(map(count, texts)), rounds)
    lines = [
        f"Fitting a document of {older} tokens, median CPU time of {rounds} (counting it before: {counting:.1f} ms):"
    ]
    for ratio in RATIOS:
        work = partial(_prepare, trial.texts, older // ratio, count)
        fitting, whole = (_milliseconds(partial(work, known), rounds) for known in (texts, ()))
        lines.append(f"- {ratio}x shorter: {fitting:.1f} ms ({whole:.1f} ms with that counting)")
    return lines


def _prepare(texts: Sequence[Text], room: int, count: Counter, known: Sequence[str]) -> Callable[[], object]:
    """Fitting, to be done with a counter that has counted the known texts."""
    remembered = remembering(count)
    for text in known:
        remembered(text)
    return lambda: fit(texts, room, remembered)


def _milliseconds(prepare: Callable[[], Callable[[], object]], rounds: int) -> float:
    """Of the work that `prepare` makes, which is not timed itself."""
    times: list[float] = []
    for _ in range(rounds):
        work = prepare()
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return median(times) * 1000
