"""The guard of packing: what is known of how a model packs, and how many items it may therefore be given at a time.

One state for each key, `(provider, model, format)`; it holds numbers only, so tenants may share it.

      young ──agreeing samples──▶ grown (size 4, 5, … most)
        ▲  size 3                    │ a sample differs: looked at closely
        │                            ▼
        └────── an hour or more ── closed (size 1): agreement below `LEAST_AGREEMENT`

1. All knowledge ages: an hour without news halves its weight. So a model that was closed comes back by itself, at size
   3 and under close watch; one that fails again stays away longer, because its evidence adds up.
2. A model that is not known is taken for one that fails at a quarter of its items (`PESSIMISM`).
3. The sizes grow by evidence of *agreement*, which only samples give: answers that arrive well-formed may still be
   exchanged, and nothing but asking an item singly as well can show that.

What agreement means. Two answers of a model to one question are equal only if it is asked to be repeatable, and not
even then if the answer is long: a packed prompt is another prompt. So:
- equal (normalised) texts agree, whatever their length: chance does not write the same words twice;
- where no two of a pack's answers are equal, one that equals a *neighbour's* and not its own was exchanged: that is no
  chance, whatever the request, and closes packing at once;
- short texts that are unequal differ; of a request that samples (temperature not 0, no seed) that counts half, for it
  may differ from itself;
- long texts that are unequal say nothing: packing goes on at its size, and fewer are sampled.
"""

import unicodedata
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Literal

from msgspec import Struct

from batchway.core.limits import Dice
from batchway.core.packing import Missing

MOST = 6
"""Items per call: Batch Prompting (arXiv 2301.08721) finds no loss up to six; the number of items hurts more than their
length (arXiv 2603.22608)."""

YOUNG = 3
"""Items per call of a model about which nothing is known."""

HALF_LIFE = 3600.0
"""Seconds in which knowledge loses half its weight."""

PESSIMISM = (1.0, 4.0)
"""A model that is not known: as if one of four packs had failed."""

PACK_MEMORY = 0.95
"""What each pack leaves of the weight of earlier ones: the last twenty decide."""

SAMPLE_MEMORY = 0.8
"""What each sample leaves of the weight of earlier ones: the last five decide, so that a change shows soon."""

LEAST_AGREEMENT = 0.8
TRUST = 2.0
"""Weight of agreement that every model starts with: one plain difference closes a young model, two of the last five a
grown one."""

EXCHANGED = 3.0
"""Weight of one exchanged answer: enough to close a grown model."""

GROWTH = 1.5
"""Items per call that each unit of agreement adds."""

LEAST_SAMPLED = 0.02
"""Share of packs that is sampled for good."""

CURIOSITY = 4.0
"""After n samples, 4/(4+n) of the packs are sampled: 17 of the first 50, 90 of the first thousand."""

SHORT = 80
"""Characters of an answer that a model says again in the same words if it means the same: labels, names, numbers."""


Finding = Literal["agrees", "differs", "exchanged"]
"""How a packed answer stands to the single answer to the same request."""


class Standing(Struct, frozen=True, kw_only=True):
    """How a model stands with the guard, for reasons and reports."""

    cap: int
    failing: float
    """Share of items that are expected to be asked again."""
    agreement: float
    packs: float
    """Weight of the packs that were seen; old ones count less."""
    why: str


class _State:
    __slots__ = ("agreed", "at", "differed", "failed", "packs", "samples")

    def __init__(self, now: float) -> None:
        self.at = now
        self.packs = self.failed = self.agreed = self.differed = self.samples = 0.0

    def age(self, now: float) -> "_State":
        fading = 0.5 ** (max(0.0, now - self.at) / HALF_LIFE)
        self.at = max(self.at, now)
        for name in ("packs", "failed", "agreed", "differed", "samples"):
            setattr(self, name, getattr(self, name) * fading)
        return self

    @property
    def failing(self) -> float:
        return (PESSIMISM[0] + self.failed) / (PESSIMISM[1] + self.packs)

    @property
    def agreement(self) -> float:
        return (TRUST + self.agreed) / (TRUST + self.agreed + self.differed)


class Guard:
    """The states of all keys. Times are given; the key longest without news is forgotten beyond `remembered`."""

    def __init__(self, *, most: int = MOST, remembered: int = 10_000) -> None:
        self._most = most
        self._remembered = remembered
        self._states: OrderedDict[Hashable, _State] = OrderedDict()

    def cap(self, key: Hashable, now: float) -> int:
        """Items that a call may have now; 1: no packing."""
        state = self._states.get(key)
        if state is None:
            return min(YOUNG, self._most)
        if state.age(now).agreement < LEAST_AGREEMENT:
            return 1
        return min(self._most, YOUNG + int(GROWTH * state.agreed))

    def failing(self, key: Hashable, now: float) -> float:
        """Share of a call's items that will probably be asked again."""
        state = self._states.get(key)
        return PESSIMISM[0] / PESSIMISM[1] if state is None else state.age(now).failing

    def sampling(self, key: Hashable, now: float) -> float:
        """Probability that a pack is sampled."""
        state = self._states.get(key)
        return 1.0 if state is None else max(LEAST_SAMPLED, CURIOSITY / (CURIOSITY + state.age(now).samples))

    def sample(self, key: Hashable, size: int, now: float, dice: Dice) -> int | None:
        """Which item of a pack of this size is to be asked singly as well, or None."""
        if dice.random() >= self.sampling(key, now):
            return None
        return int(dice.random() * size)

    def unpacked(self, key: Hashable, asked: int, missing: int, now: float) -> None:
        """A packed call was answered; of so many items so many have no certain answer."""
        state = self._renew(key, now)
        state.packs = state.packs * PACK_MEMORY + 1
        state.failed = state.failed * PACK_MEMORY + missing / asked

    def compared(self, key: Hashable, found: Finding, now: float, *, repeatable: bool) -> None:
        """A sample's answer and the packed one were compared (`compare`)."""
        state = self._renew(key, now)
        state.agreed = state.agreed * SAMPLE_MEMORY + (found == "agrees")
        state.differed = state.differed * SAMPLE_MEMORY + _weight(found, repeatable)
        # After a difference the next packs are looked at closely again.
        state.samples = state.samples + 1 if found == "agrees" else 0.0

    def untold(self, key: Hashable, now: float) -> None:
        """A sample's answer told nothing: it is no evidence, but more of the same would tell no more."""
        self._renew(key, now).samples += 1

    def standing(self, key: Hashable, now: float) -> Standing:
        """What is known of a key, and what follows."""
        state = self._states.get(key) or _State(now)
        cap = self.cap(key, now)
        closed = cap == 1 and state.agreement < LEAST_AGREEMENT
        agreeing = f"{state.agreement:.0%} of its packed answers agree with single ones"
        why = f"{agreeing}, {state.failing:.0%} have to be asked again"
        return Standing(
            cap=cap,
            failing=state.failing,
            agreement=state.agreement,
            packs=state.packs,
            why=f"packing is off for this model: {why}" if closed else f"up to {cap} per call: {why}",
        )

    def _renew(self, key: Hashable, now: float) -> _State:
        state = self._states.pop(key, None) or _State(now)
        self._states[key] = state.age(now)
        if len(self._states) > self._remembered:
            self._states.popitem(last=False)
        return state


def compare(answers: Sequence[str | Missing], place: int, single: str) -> Finding | None:
    """How the packed answer at `place` stands to the one to the same request alone; None: it cannot be told."""
    packed = answers[place]
    if isinstance(packed, Missing):
        return None
    own, alone = normalise(packed), normalise(single)
    if own == alone:
        return "agrees"
    known = [normalise(answer) for answer in answers if isinstance(answer, str)]
    if alone in known and len(set(known)) == len(known):
        return "exchanged"
    return "differs" if max(len(own), len(alone)) <= SHORT else None


def _weight(found: Finding, repeatable: bool) -> float:
    if found == "exchanged":
        return EXCHANGED
    return 0.0 if found == "agrees" else 1.0 if repeatable else 0.5


def normalise(text: str) -> str:
    """A text without what does not change its meaning: case, spacing, compatibility forms, marks around it."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(" .,:;!?'\"`*_()[]")
