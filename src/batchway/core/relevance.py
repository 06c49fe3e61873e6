"""How much each sentence is worth keeping: what it shares with the question, how rare its words are, where it stands.

Made for any language without word lists: words are compared by their first letters, which see through most endings;
scripts that put no spaces between words are compared by pairs of characters; common words weigh little, because a text
itself shows which of its words are common.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from math import log, sqrt

STEM = 5
"""Letters of a word that count: cutting words at five is nearly as good as real stemming in European languages
(McNamee and Mayfield, "Character n-gram tokenization for European language text retrieval", 2004)."""

WORD = re.compile(r"[^\s\x00-/:-@\[-`{-\xbf×÷।॥‐-⁯、-〟！-／：-＠]+")
"""Numbers and words; letters are all that is not white space or punctuation, so that combining vowels stay in."""

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts without spaces between words, and Korean, whose endings are many."""

BESIDE, RARITY, PLACE, DEFINITE = 0.35, 0.12, 0.06, 0.12
"""Weights beside the 1 of what a sentence shares with the question: what its neighbours share, words found nowhere
else, its place, and something definite said. Each goes from 0 to 1: the question comes first, the rest decides ties."""


SPACES = {point: " " for point in range(128) if not chr(point).isalnum()}


def stems(text: str) -> set[str]:
    """What is compared of a text."""
    if text.isascii():  # the same words, four times as fast
        return {word[:STEM] for word in text.lower().translate(SPACES).split()}
    words = WORD.findall(text.lower())
    if not UNSPACED.search(text):
        return {word[:STEM] for word in words}
    return {stem for word in words for stem in _parts(word)}


def _stems_of_each(sentences: Sequence[str]) -> list[set[str]]:
    """`stems` of every sentence. In ASCII each character stays one in lower case, so that all can be read at once."""
    whole = "".join(sentences)
    if not whole.isascii():
        return [stems(sentence) for sentence in sentences]
    whole = whole.lower().translate(SPACES)
    borders = pairwise(accumulate(map(len, sentences), initial=0))
    return [{word[:STEM] for word in whole[start:end].split()} for start, end in borders]


def _parts(word: str) -> Iterable[str]:
    """Pairs of characters of an unspaced script, otherwise the stem."""
    if not UNSPACED.match(word):
        return (word[:STEM],)
    return [word[at : at + 2] for at in range(max(1, len(word) - 1))]


def score(sentences: Sequence[str], question: str, places: Sequence[float]) -> list[float]:
    """The worth of each sentence. `places`: between 0 and 1, where 1 is the better place."""
    if not sentences:
        return []
    known = _stems_of_each(sentences)
    times = Counter(chain.from_iterable(known))
    asked = {stem: _weight(times[stem], len(known)) for stem in stems(question) if stem in times}
    only_here = {stem for stem, number in times.items() if number == 1}
    few = frozenset(asked)
    overlap = _in_proportion(
        [
            0.0 if few.isdisjoint(words) else sum([asked[stem] for stem in few & words]) / sqrt(len(words) + 8)
            for words in known
        ]
    )
    rarity = _in_proportion([len(words & only_here) / (len(words) + 4) for words in known])
    beside = map(max, [0.0, *overlap[:-1]], [*overlap[1:], 0.0])
    return [
        shared + BESIDE * near + RARITY * rare + PLACE * place + (DEFINITE if SIGN.search(sentence) else 0.0)
        for sentence, shared, near, rare, place in zip(sentences, overlap, beside, rarity, places, strict=True)
    ]


def _weight(times: int, sentences: int) -> float:
    """How much a word says that stands in so many of the sentences: nearly nothing if in all (BM25's weight)."""
    return log(1 + (sentences - times + 0.5) / (times + 0.5))


def _in_proportion(values: list[float]) -> list[float]:
    """The values divided by the greatest."""
    greatest = max(values, default=0.0)
    return [value / greatest for value in values] if greatest else values


DEFINITES, LATIN, CYRILLIC = '0-9"“”„«»「『`', "A-Z", "А-ЯЁ"
SIGN = re.compile(
    f"[{DEFINITES}{LATIN}{CYRILLIC}](?:(?<=[{DEFINITES}])|(?<=[a-z,] [{LATIN}])|(?<=[а-яё,] [{CYRILLIC}]))"
)
"""A number, a quotation, or a name (where only names have capitals)."""
