"""Fitting: makes a prompt that is too long fit its budget, and says what it took out; only ever when asked to.

Steps, in order, until it fits: what nobody reads is taken out (`core.cleaning`); what stands there twice is kept once;
older turns are condensed to their sentences worth most (`core.relevance`, `core.extraction`); sentences too long for
that lose their middle.

1. Protected texts (system and developer messages, the last user turn, tool calls and definitions, results that are
   data) come out as they went in.
2. Code blocks and JSON come out whole and unchanged, wherever they are.
3. Quoted text, inline code, numbers and URLs are never changed and never cut. They may leave with the sentence that
   holds them; such sentences are worth more (`core.relevance`).
4. Where 1 and 2 leave too little room nothing is changed at all, and the reason is given.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from batchway.core.cleaning import clean
from batchway.core.extraction import Condensed, Extraction, Passage
from batchway.core.repetition import blocks_of, without_repetitions
from batchway.core.sentences import Sentence, split
from batchway.core.spans import find_spans

Step = Literal["clean-up", "repetition", "extraction", "truncation"]


class Text(Struct, frozen=True, kw_only=True, gc=False):
    """One text of a prompt."""

    role: str
    text: str
    protected: bool
    """Never altered: `wire.fitting` says which are."""
    turn: int
    """Counted up at each user message; a text of the last turn may still be condensed unless it is protected."""


class Removal(Struct, frozen=True, kw_only=True, gc=False):
    """What one step took out of one text."""

    where: int
    """Index of the text among those given."""
    step: Step
    tokens: int
    reason: str


class Fitted(Struct, frozen=True, kw_only=True):
    """The outcome of fitting."""

    texts: tuple[str, ...]
    """As many as were given, in their order; those given, where it does not fit."""
    tokens_before: int
    tokens_after: int
    fits: bool
    removed: tuple[Removal, ...] = ()
    reason: str = ""
    """Why it does not fit; empty where it does."""


def fit(messages: Sequence[Text], budget: int, count: Callable[[str], int]) -> Fitted:
    """Make the texts fit `budget` tokens as counted by `count`: pure, and the same for the same texts.

    The budget is for the texts alone: whoever calls takes off what wraps messages and what the answer needs.
    Costs about as much as counting all texts six times (`python -m quality` measures it).
    """
    draft = _Draft(messages, budget, count)
    for step in (_clean, _keep_once, _condense):
        if draft.over <= 0 or draft.fixed >= budget:
            break
        step(draft)
    return draft.outcome()


class _Draft:
    """The texts as they are after each step, their tokens, and what was removed."""

    def __init__(self, messages: Sequence[Text], budget: int, count: Callable[[str], int]) -> None:
        self.messages = messages
        self.budget = budget
        self.count = count
        self.texts = [message.text for message in messages]
        self.tokens = [count(text) for text in self.texts]
        self.before = sum(self.tokens)
        self.removed: list[Removal] = []
        self.free = [at for at, message in enumerate(messages) if not message.protected and message.text.strip()]
        self.sentences: dict[int, list[Sentence]] = {}

    @property
    def over(self) -> int:
        """Tokens that are too many."""
        return sum(self.tokens) - self.budget

    @property
    def fixed(self) -> int:
        """Tokens of what no step may touch."""
        return sum(self.tokens) - sum(self.tokens[at] for at in self.free)

    def put(self, where: int, text: str, step: Step, reason: str) -> bool:
        """Replace a text, if that saves tokens."""
        if text == self.texts[where]:
            return False
        return self.put_counted(where, text, self.count(text), step, reason)

    def put_counted(self, where: int, text: str, tokens: int, step: Step, reason: str) -> bool:
        """The same, where the tokens of the new text are known."""
        saved = self.tokens[where] - tokens
        if saved <= 0:
            return False
        self.texts[where], self.tokens[where] = text, tokens
        self.removed.append(Removal(where=where, step=step, tokens=saved, reason=reason))
        return True

    def outcome(self) -> Fitted:
        if self.over <= 0:
            return Fitted(
                texts=tuple(self.texts),
                tokens_before=self.before,
                tokens_after=sum(self.tokens),
                fits=True,
                removed=tuple(self.removed),
            )
        given = tuple(message.text for message in self.messages)
        reason = (
            f"What is never altered takes {self.fixed} of {self.before} tokens, and the budget is {self.budget}:"
            " shorten the system message, the last user turn or the tools, or raise the budget."
            if self.fixed >= self.budget
            else f"{self.before} tokens do not come down to {self.budget}: {self.fixed} are never altered, and among"
            " the others is too much code and JSON, which stays; shorten it, or raise the budget."
        )
        return Fitted(texts=given, tokens_before=self.before, tokens_after=self.before, fits=False, reason=reason)


def _clean(draft: _Draft) -> None:
    for where in draft.free:
        reason = "spaces, blank lines and zero-width characters that nobody reads"
        draft.put(where, clean(draft.texts[where]), "clean-up", reason)


def _keep_once(draft: _Draft) -> None:
    """The first copy stays, so that the beginning of the prompt, which providers cache, changes least; a protected one
    stays wherever it is."""
    seen: dict[str, int] = {}
    for where, message in enumerate(draft.messages):
        if message.protected:
            for block in blocks_of(message.text):
                seen.setdefault(block, where)
    for where in draft.free:
        text = draft.texts[where]
        sentences = split(text, find_spans(text))
        once = without_repetitions(sentences, where, seen)
        text = "".join(sentence.text for sentence in once)
        taken = draft.put(where, text, "repetition", "paragraphs or lines that the prompt says elsewhere")
        draft.sentences[where] = once if taken else sentences


def _condense(draft: _Draft) -> None:
    """Keep what is worth most of the unprotected texts."""
    room = draft.budget - draft.fixed
    last = max(message.turn for message in draft.messages) or 1
    passages = [
        Passage(
            sentences=draft.sentences[where],
            tokens=draft.tokens[where],
            recency=draft.messages[where].turn / last,
        )
        for where in draft.free
    ]
    extraction = Extraction(passages, _question(draft.messages), draft.count)
    condensed, tokens = _largest(extraction, room, draft.count)
    for where, outcome, counted in zip(draft.free, condensed, tokens, strict=True):
        sentences = len(draft.sentences[where])
        reason = f"{outcome.kept} of {sentences} sentences kept: closest to the question, rarest in words, or definite"
        if draft.put_counted(where, outcome.text, counted, "extraction", reason) and outcome.cut:
            _tell_apart(draft.removed, outcome.cut)


def _tell_apart(removed: list[Removal], cut: int) -> None:
    """Book `cut` tokens of the last removal as cut out of the middle."""
    whole = removed.pop()
    cut = min(cut, whole.tokens)
    reason = "the middle of what has no sentences to choose from"
    if cut < whole.tokens:
        removed.append(replace(whole, tokens=whole.tokens - cut))
    removed.append(replace(whole, tokens=cut, step="truncation", reason=reason))


TRIES = 4
"""Times that the room is corrected by what was counted, before it is halved."""

SPARE = 1 / 16
"""Share of the room that may stay unused: estimates are off by a few per cent, and another try costs a count."""


def _largest(extraction: Extraction, room: int, count: Callable[[str], int]) -> tuple[list[Condensed], list[int]]:
    """The texts condensed so far that they are counted to fit in `room`, not much less, or as far as they can be; and
    the tokens of each."""
    best: tuple[list[Condensed], list[int]] | None = None
    asked, tries = int(room * (1 - SPARE / 4)), 0
    while True:
        condensed = extraction.condense(asked)
        tokens = [count(each.text) for each in condensed]
        spare = room - sum(tokens)
        tries += 1
        if spare >= 0:
            best = condensed, tokens
        if asked <= 0 or (best is not None and (tries >= TRIES or 0 <= spare <= room * SPARE)):
            return best or (condensed, tokens)
        asked = asked + spare - (spare < 0) if tries < TRIES else asked // 2


def _question(messages: Sequence[Text]) -> str:
    """What is asked: the protected texts of the user in its last turn."""
    asked = [message for message in messages if message.protected and message.role == "user"]
    last = max((message.turn for message in asked), default=0)
    return "\n".join(message.text for message in asked if message.turn == last)
