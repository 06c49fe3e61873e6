"""What differs between those who speak OpenAI's batches: limits and abilities, one row for each.

Sources: providers.md §2, §3.1, §3.6, §7 to §9. What is unconfirmed there is set low, and learnt where it is lower.
"""

from collections.abc import Mapping

from msgspec import Struct

from batchway.core.job import BatchTerms


class BatchForm(Struct, frozen=True, kw_only=True):
    """What differs between those who speak this dialect."""

    terms: BatchTerms
    page_size: int | None = 100
    """Batches on a page of a listing; None: the call takes no parameters."""
    shows_early: bool = False
    """The output file can be read while the batch is running."""
    names_early: bool = False
    """Result files are named at creation, whether they will ever hold anything or not."""
    max_body: int | None = None
    """Bytes of one request."""


BATCH_FORMS: Mapping[str, BatchForm] = {
    # §3.1, §3.6
    "openai": BatchForm(terms=BatchTerms(endpoints=("chat", "embeddings", "responses"), max_inputs=50_000)),
    # §7; lines and bytes are unconfirmed, and learnt where they are less.
    "deepinfra": BatchForm(terms=BatchTerms(endpoints=("chat", "embeddings"), max_bytes=100_000_000)),
    # §8; pagination is unconfirmed, and so is whether a file may name several models.
    "groq": BatchForm(
        terms=BatchTerms(endpoints=("chat",), windows=("24h", "7d"), max_bytes=100_000_000), page_size=None
    ),
    # §9. `background` has no end and needs a role: only who asks for it by name gets it.
    "doubleword": BatchForm(
        terms=BatchTerms(
            endpoints=("chat", "embeddings", "responses"),
            windows=("background", "1h", "24h"),
            max_bytes=100_000_000,
            one_model=False,
        ),
        shows_early=True,
        names_early=True,
        max_body=10_000_000,
    ),
    # Whoever else: a window of one hour is asked for where somebody wants it (Doubleword sells it), metadata may be
    # forgotten, and an output file that shows early is read (§9).
    "generic": BatchForm(
        terms=BatchTerms(
            endpoints=("chat", "embeddings", "responses"),
            windows=("background", "1h", "24h"),
            max_bytes=100_000_000,
            tagging="perhaps",
        ),
        shows_early=True,
    ),
}
"""By provider; `generic` is for all that are not named."""
