"""Packing, measured: what a misbehaving model can do to the answers; and, with `packing_cost`, what packing costs."""

import random
from collections.abc import Sequence

from msgspec import Struct

from batchway.core.packing import FORMATS, Missing, bisect, make_nonces
from batchway.core.packing_guard import MOST
from batchway.sandbox import packed
from quality.packing_cost import exchange, render_exchange, render_money, spend

Dice = random.Random


def run(small: bool) -> str:
    """All tables as text. Large: 120,000 packs (100,000 of kinds that leave a trace) and 1,000 workloads, in less
    than a minute; small: a twentieth of it."""
    size = 1 if small else 20
    parts = (
        render_attribution(attribute(6_000 * size)),
        render_money(list(spend(50 * size).values())),
        render_exchange(exchange(50, seeds=10 * size)),
    )
    return "\n\n".join(parts)


# Whose answer is whose


TAILS = ("", " And <b>this</b>?", "\n{}", ' "quoted" \\ [1]', "\u2028", " 你好")
"""What texts may end in, for parsers to stumble over."""


class Tally(Struct):
    """What became of the packs of one misbehaviour."""

    packs: int = 0
    items: int = 0
    wrong: int = 0
    """Answers that hold any other item's words."""
    singles: int = 0
    """Single calls, for items whose answer was not certain."""
    most_singles: int = 0
    """Of one item."""


def attribute(packs: int) -> dict[packed.How, Tally]:
    """Compose, let the model answer wrongly, split; every item's answer holds a secret that only it may have."""
    dice = Dice(20)
    tallies = {how: Tally() for how in packed.WAYS}
    for number in range(packs):
        how = packed.WAYS[number % len(packed.WAYS)]
        _attribute_one(how, tuple(FORMATS)[number // len(packed.WAYS) % len(FORMATS)], dice, tallies[how])
    return tallies


def _attribute_one(how: packed.How, form: str, dice: Dice, tally: Tally) -> None:
    secrets = [f"{dice.getrandbits(40):010x}" for _ in range(dice.randint(2, MOST))]
    items = [f"Say {secret}.{dice.choice(TAILS)}" for secret in secrets]
    if how == "filtered":
        answers, singles = _bisected(items, dice.randrange(len(items)), form, dice)
    else:
        answers, singles = _asked(how, items, form, dice), [0] * len(items)
    final: list[str] = []
    for place, answer in enumerate(answers):
        if isinstance(answer, Missing):
            singles[place] += 1
        final.append(f"You say: {items[place]}" if isinstance(answer, Missing) else answer)
    tally.packs += 1
    tally.items += len(items)
    tally.singles += sum(singles)
    tally.most_singles = max(tally.most_singles, *singles)
    for secret, words in zip(secrets, final, strict=True):
        tally.wrong += secret not in words or any(other in words for other in secrets if other != secret)


def _asked(how: packed.How | None, items: Sequence[str], form: str, dice: Dice) -> list[str | Missing]:
    """One packed call to a model that repeats every item, going wrong this way."""
    nonces = make_nonces(items, lambda: f"{dice.getrandbits(66):020d}")
    understood = packed.understand(FORMATS[form].compose(items, nonces))
    assert understood is not None
    assert [item.text for item in understood.items] == list(items)
    said = [packed.Item(item.id, f"You say: {item.text}") for item in understood.items]
    text, cut = packed.say(understood.shape, said), False
    if how is not None:
        text, cut = packed.misbehave(how, understood.shape, said, str(dice.random()))
    return FORMATS[form].split(text, nonces, cut=cut)


def _bisected(items: Sequence[str], bad: int, form: str, dice: Dice) -> tuple[list[str | Missing], list[int]]:
    """A content filter refuses every call that holds the bad item, packed or not; the others are answered."""
    answers: list[str | Missing] = [Missing("not asked yet")] * len(items)
    singles = [0] * len(items)
    calls = [range(len(items))]
    while calls:
        places = calls.pop()
        if len(places) == 1:
            singles[places[0]] += 1
            answers[places[0]] = f"You say: {items[places[0]]}"  # or the refusal, which is this item's own
        elif bad in places:
            calls += [places[half.start : half.stop] for half in bisect(len(places))]
        else:
            for place, answer in zip(places, _asked(None, [items[at] for at in places], form, dice), strict=True):
                answers[place] = answer
    return answers, singles


def render_attribution(tallies: dict[packed.How, Tally]) -> str:
    """A row for each misbehaviour."""
    seen = [tally for how, tally in tallies.items() if how not in packed.UNSEEN]
    packs, items, wrong = (sum(getattr(tally, name) for tally in seen) for name in ("packs", "items", "wrong"))
    lines = [
        "## Packing: answers of models that misbehave",
        "",
        f"Packed calls of 2 to {MOST} items, every format; every item has a word that only its own answer may hold.",
        "",
        "| misbehaviour | packs | items | wrong answers | asked again singly | most of one item |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for how, tally in tallies.items():
        name = f"{how} (leaves no trace in the words)" if how in packed.UNSEEN else how
        figures = (tally.packs, tally.items, tally.wrong, tally.singles, tally.most_singles)
        lines.append(f"| {name} | {' | '.join(f'{figure:,}' for figure in figures)} |")
    lines += ["", f"Wrong in the {packs:,} packs ({items:,} items) of the kinds that leave a trace: {wrong}."]
    return "\n".join(lines)
