"""Tokens of a prompt: a bound that is never too low, the exact count where the tokenizer is known, what bills taught.

The bound is the real tokenizer's count and no rule of thumb, because rules were measured and failed. English takes 0.2
tokens a letter, the same letters shuffled 0.5: weights on pairs of classes of characters, fitted over 40 languages,
code and noise, still gave 0.7 to 2.5 times the truth at 400 characters. Looking up the vocabulary's words took 24 µs
per kB and went past 2 times the truth. tiktoken takes 18 µs per kB of English, 31 of Python, 54 of JSON (2-core
machine, tiktoken 0.14.0), and a text that returns, as system prompts do, costs 1.4 µs.

    counts = TokenCounts({"o200k_base": counter, "cl100k_base": counter})
    raw = counts.bound(prompt)                         # in the tokens of OpenAI's tokenizer
    safe = counts.safe(provider, prompt.model, raw)    # what this model may bill at most
    likely = counts.expected(provider, prompt.model, raw)
    counts.learn(provider, prompt.model, raw, usage.input)
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil

from msgspec import Struct

from batchway.core.types import Prompt

Counter = Callable[[str], int]
"""Counts the tokens of a text, exactly, in one encoding."""

ENCODINGS = {
    "gpt-": "o200k_base",
    "chatgpt-": "o200k_base",
    "o1-": "o200k_base",
    "o3-": "o200k_base",
    "o4-": "o200k_base",
    "gpt-4-": "cl100k_base",
    "gpt-3.5-": "cl100k_base",
    "gpt-35-": "cl100k_base",
    "text-embedding-": "cl100k_base",
}
"""Models whose encoding is known, by the beginning of their name; the longest that fits holds. From
tiktoken/model.py 0.14.0; that later `gpt-`, `o1-`, `o3-` and `o4-` models stay with o200k is assumed."""

DEFAULT_ENCODING = "o200k_base"
"""For every other model: a yardstick that its bills then correct, not its own tokenizer."""

PER_TEXT = 4
"""Tokens around each message: OpenAI's formats take 3, and 1 more for a name."""

PER_PROMPT = 3
"""Tokens that open the answer."""

FOREIGN = 1.5
"""What another maker's tokenizer may need above ours, until its bills say: Anthropic's published one took 1.08 to
1.43 times o200k on most kinds of text (and 3.9 times on Hindi, which only learning covers)."""

TELLING = 50
"""Bounds below this teach nothing: a prompt so short is billed for its wrapping more than for its text."""

MEMORY = 0.98
"""Share of the past that each bill leaves in the mean: the last fifty weigh most."""

FORGETTING = 0.999
"""Share of the highest excess that each bill leaves: one odd bill fades in about a thousand, a steady one stays."""

REMEMBERED_TEXTS = 128
SHORTEST_REMEMBERED, LONGEST_REMEMBERED = 256, 65_536
"""How many texts keep their count, and their lengths in characters: at most 8 million characters in all. A long system
prompt comes with every request of an application, and is counted once, as is a text that has to be fitted when it was
found too long; what is short is counted as fast as recalled."""


def bound(text: str) -> int:
    """A bound that needs no vocabulary: the UTF-8 bytes, for each token of a byte-level tokenizer spends at least one.

    1.8 times the truth for digits, 5 for English, 9 for Hindi: for the time before a vocabulary is loaded.
    A lone surrogate counts as the three bytes of the replacement character that stands in for it.
    """
    return len(text.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=1024)
def known_encoding(model: str) -> str | None:
    """The encoding that this model is known to use, or None. `openai/gpt-4o` and `ft:gpt-4o:…` are gpt-4o."""
    name = model.rpartition("/")[2].removeprefix("ft:").replace(":", "-").lower() + "-"
    fitting = [beginning for beginning in ENCODINGS if name.startswith(beginning)]
    return ENCODINGS[max(fitting, key=len)] if fitting else None


def allowance(model: str) -> float:
    """How many times our bound a model may bill while none of its bills is known."""
    return 1.0 if known_encoding(model) else FOREIGN


class Bills(Struct, frozen=True, kw_only=True):
    """What the bills of one model said about its bounds: decaying sums in tokens, and the highest ratio of late."""

    bounded: float = 0.0
    billed: float = 0.0
    highest: float

    def add(self, bounded: int, billed: int) -> "Bills":
        """The statistic after one more bill."""
        ratio = billed / bounded
        return Bills(
            bounded=self.bounded * MEMORY + bounded,
            billed=self.billed * MEMORY + billed,
            highest=max(ratio, ratio + (self.highest - ratio) * FORGETTING),
        )


class TokenCounts:
    """Counts prompts with the counters it is given, and learns from bills how other tokenizers differ.

    `counters` maps the name of an encoding to its counter; a missing one is replaced by `bound`, safe and coarse.
    `kept` bounds the models remembered; the one that was billed longest ago is forgotten first.
    """

    def __init__(self, counters: Mapping[str, Counter], *, kept: int = 1000) -> None:
        self._counters = {name: remembering(counter) for name, counter in counters.items()}
        self._kept = kept
        self._bills: OrderedDict[tuple[str, str], Bills] = OrderedDict()

    def bound(self, prompt: Prompt) -> int:
        """Tokens of the prompt's texts and their wrapping in the encoding of its model (`o200k_base` where unknown).

        Never fewer than OpenAI counts for the texts; tools, images and audio are no texts and not in it. For models
        of other makers see `safe`. It depends on the prompt alone, so that `learn` can be told it later.
        """
        counter = self._counters.get(known_encoding(prompt.model) or DEFAULT_ENCODING, bound)
        return sum(map(counter, prompt.texts)) + self.wrapping(prompt)

    @staticmethod
    def wrapping(prompt: Prompt) -> int:
        """Tokens around its texts."""
        return PER_TEXT * len(prompt.texts) + PER_PROMPT

    def text(self, model: str, text: str) -> int:
        """Tokens of one text in the encoding of a model, without any wrapping."""
        return self._counters.get(known_encoding(model) or DEFAULT_ENCODING, bound)(text)

    def safe(self, provider: str, model: str, bounded: int) -> int:
        """The bound, raised to what this model has billed above it (or may, where nothing is learnt): never lowered."""
        bills = self._bills.get((provider, model))
        return ceil(bounded * max(1.0, bills.highest if bills else allowance(model)))

    def expected(self, provider: str, model: str, bounded: int) -> int:
        """The likely bill for a prompt of this bound: the bound itself until something is learnt. No limit."""
        bills = self._bills.get((provider, model))
        return round(bounded * bills.billed / bills.bounded) if bills else bounded

    def count(self, provider: str, prompt: Prompt) -> int:
        """The best count there is: by the model's own tokenizer where known, else the bound corrected by its bills."""
        bounded = self.bound(prompt)
        if known_encoding(prompt.model) in self._counters:
            return bounded
        return self.expected(provider, prompt.model, bounded)

    def learn(self, provider: str, model: str, bounded: int, billed: int) -> None:
        """Take in one bill: `bounded` as `bound` gave it, `billed` the input tokens of the usage, cached ones included.

        Tell it only of prompts that are all text (no `features`): an image's tokens say nothing about a tokenizer.
        Bounds under `TELLING` and empty bills are passed over.
        """
        if bounded < TELLING or billed <= 0:
            return
        key = (provider, model)
        before = self._bills.pop(key, None) or Bills(highest=allowance(model))
        self._bills[key] = before.add(bounded, billed)
        if len(self._bills) > self._kept:
            self._bills.popitem(last=False)


def remembering(counter: Counter) -> Counter:
    """The counter with a memory of the texts that it counted of late."""
    recall = lru_cache(maxsize=REMEMBERED_TEXTS)(counter)

    def count(text: str) -> int:
        return recall(text) if SHORTEST_REMEMBERED <= len(text) <= LONGEST_REMEMBERED else counter(text)

    return count
