"""Says once what a prompt says twice: later copies of paragraphs and long lines become a mark."""

from collections.abc import Sequence
from itertools import groupby

from batchway.core.sentences import Sentence

SHORTEST = 80
"""UTF-8 bytes of a paragraph or line from which saying it once is worth a mark."""

ABOVE, BELOW = "[as above]", "[as below]"


def blocks_of(text: str) -> list[str]:
    """The paragraphs and lines of a text whose copies may be left out."""
    found = [part.strip() for part in (*text.split("\n\n"), *text.splitlines())]
    return [part for part in found if _is_long(part)]


def without_repetitions(sentences: Sequence[Sentence], where: int, seen: dict[str, int]) -> list[Sentence]:
    """The sentences of text `where`, with one mark for each row of blocks that were seen. Code and JSON stay.

    `seen` says in which text a block stands, and learns the blocks of this one.
    """
    kept: list[Sentence] = []
    mark = ""
    for number, grouped in groupby(sentences, key=lambda sentence: sentence.block):
        block = list(grouped)
        text = "".join(sentence.text for sentence in block)
        key = text.strip()
        if key not in seen or any(sentence.lasting for sentence in block):
            kept += block
            mark = ""
            if _is_long(key):
                seen.setdefault(key, where)
        elif mark != (mark := ABOVE if seen[key] <= where else BELOW):
            kept.append(Sentence(text=mark + text[len(text.rstrip()) :], block=number, lasting=False))
    return kept


def _is_long(block: str) -> bool:
    return len(block.encode("utf-8", "surrogatepass")) >= SHORTEST
