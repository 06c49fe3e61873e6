"""Condenses texts to a number of tokens: keeps the sentences worth most, in their order, and marks what is left out.

What has no sentences to choose from (a line of thousands of words) keeps its beginning and its end. What lasts (code,
JSON) stays whatever happens. Sizes are estimated from lengths: the caller counts the result and asks again with less.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from batchway.core.relevance import score
from batchway.core.sentences import Sentence
from batchway.core.spans import find_spans

GAP = "[…]"
"""Stands where sentences were left out; one token in OpenAI's encodings."""

LONG = 150
"""Tokens from which a sentence may be cut in its middle rather than be left out."""

SHORTEST_CUT = 24
"""Tokens of a cut sentence below which it says too little to be kept."""

NUMBERED = 40
"""Tokens of a text from which their number is worth saying where all of it is left out."""

MARK_TOKENS = 10
"""Tokens, at most, of the mark in its middle."""

TINY = 2
"""Tokens that are not worth a gap."""


class Passage(Struct, frozen=True, kw_only=True):
    """A text that may be condensed."""

    sentences: Sequence[Sentence]
    tokens: int
    recency: float
    """From 0 for the oldest turn to 1 for the latest."""


class Condensed(Struct, frozen=True, kw_only=True):
    """What became of a passage."""

    text: str
    kept: int
    """Sentences that stayed."""
    cut: int
    """Tokens taken out of the middle of long sentences."""


class _Piece(Struct, frozen=True, kw_only=True, gc=False):
    """A sentence in the competition."""

    sentence: Sentence
    size: float
    """Tokens, estimated."""


class Extraction:
    """The sentences of all passages, ranked once; `condense` keeps as many as there is room for."""

    def __init__(self, passages: Sequence[Passage], question: str, count: Callable[[str], int]) -> None:
        self._passages = passages
        self._count = count
        self._pieces = [piece for passage in passages for piece in _pieces(passage)]
        places = [place for passage in passages for place in _places(passage)]
        worth = score([piece.sentence.text for piece in self._pieces], question, places)
        self._ranking = sorted(range(len(worth)), key=lambda at: -worth[at])

    def condense(self, room: int) -> list[Condensed]:
        """The passages at roughly `room` tokens in all, or more where code and JSON take more."""
        kept = self._choose(room)
        condensed: list[Condensed] = []
        start = 0
        for passage in self._passages:
            end = start + len(passage.sentences)
            condensed.append(self._render(range(start, end), kept, passage.tokens))
            start = end
        return condensed

    def _choose(self, room: float) -> dict[int, float]:
        """The pieces that stay, each with the share of it that does: the best that there is room for."""
        kept = {at: 1.0 for at, piece in enumerate(self._pieces) if piece.sentence.lasting}
        room -= sum(self._pieces[at].size for at in kept)
        for at in self._ranking:
            size = self._pieces[at].size + 1  # a gap may follow
            if at in kept:
                continue
            if size <= room:
                kept[at] = 1.0
                room -= size
            elif size > LONG and room >= SHORTEST_CUT:
                kept[at] = (room - MARK_TOKENS) / size
                room = 0
        return kept

    def _render(self, numbers: range, kept: Mapping[int, float], tokens: int) -> Condensed:
        """The text of the pieces of one passage that stay, with a mark for each gap."""
        parts: list[str] = []
        stayed = cut = 0
        for stays, grouped in groupby(numbers, key=kept.__contains__):
            if not stays:
                parts.append(_close([self._pieces[at] for at in grouped]))
                continue
            for at in grouped:
                text, missing = self._shorten(self._pieces[at], kept[at])
                parts.append(text)
                stayed, cut = stayed + 1, cut + missing
        text = "".join(parts) if stayed or tokens < NUMBERED else f"[… {tokens} tokens left out …]"
        return Condensed(text=text, kept=stayed, cut=cut)

    def _shorten(self, piece: _Piece, share: float) -> tuple[str, int]:
        """Beginning and end of a long sentence, cut between words and outside its spans; and the tokens between."""
        text = piece.sentence.text
        if share == 1.0:
            return text, 0
        borders = _between_words(text)
        half = len(text) * share / 2
        head = max((at for at in borders if at <= half), default=0)
        tail = min((at for at in borders if at >= len(text) - half), default=len(text))
        missing = self._count(text[head:tail])
        return f"{text[:head]}[… {missing} tokens left out …] {text[tail:]}", missing


BETWEEN_WORDS = re.compile(r"(?<![\s0-9])\s+|(?<=[0-9])\s+(?![0-9\s])|[，、；](?![0-9])")
"""Where a long sentence may be cut: never within `10 000`."""


def _between_words(text: str) -> list[int]:
    """The places to cut that are in no span."""
    spans = find_spans(text)
    starts = [span.start for span in spans]
    found = (match.end() for match in BETWEEN_WORDS.finditer(text))
    return [at for at in found if not ((before := bisect_left(starts, at)) and spans[before - 1].end > at)]


def _pieces(passage: Passage) -> list[_Piece]:
    lengths = [_length(sentence.text) for sentence in passage.sentences]
    each = passage.tokens / max(1, sum(lengths))
    return [
        _Piece(sentence=sentence, size=length * each)
        for sentence, length in zip(passage.sentences, lengths, strict=True)
    ]


def _length(text: str) -> int:
    """What tokens are in proportion to, within one text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _places(passage: Passage) -> list[float]:
    """Later turns before earlier, beginnings and ends before middles."""
    last = max(1, len(passage.sentences) - 1)
    return [(passage.recency + abs(2 * at / last - 1)) / 2 for at in range(len(passage.sentences))]


def _close(gap: list[_Piece]) -> str:
    """What stands for left-out sentences: a mark and the white space that followed them."""
    if sum(piece.size for piece in gap) <= TINY:
        return "".join(piece.sentence.text for piece in gap)
    text = gap[-1].sentence.text
    return GAP + text[len(text.rstrip()) :]
