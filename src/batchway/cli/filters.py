"""What the filters of commands may say: their words are checked, so that no table is empty by mistake."""

from collections.abc import Collection
from typing import get_args

from batchway.core.errors import SettingsError
from batchway.core.types import Lane
from batchway.providers.registry import ROWS, row_of
from batchway.settings import Settings
from batchway.store import results
from batchway.store.batches import Filter, read_statuses


def lane_of(said: str | None) -> str | None:
    """A lane. SettingsError names what is none."""
    return None if said is None else _one_of("--lane", said, get_args(Lane))


def statuses_of(said: str | None) -> tuple[str, ...] | None:
    """Statuses of requests, with commas between. SettingsError names one that is none."""
    if said is None:
        return None
    words = tuple([word.strip() for word in said.split(",")])
    return tuple([_one_of("--status", word, results.STATUSES) for word in words])


def batches_of(status: str | None, *, over: bool = False, **rest: object) -> Filter:
    """Batches of these statuses, or of one group of them (`over`: of batches that are over). SettingsError names a word
    that is neither."""
    if status is None:
        return Filter(**rest)  # type: ignore[arg-type]
    try:
        statuses, finished = read_statuses(status, over=over)
    except ValueError as error:
        raise SettingsError(f"--status: {error}.") from error
    return Filter(statuses=statuses, finished=finished, **rest)  # type: ignore[arg-type]


def provider_of(said: str | None) -> str | None:
    """A provider by its own name, where this is another one for it."""
    row = None if said is None else row_of(said)
    return said if row is None else row.name


def check_provider(said: str | None, settings: Settings) -> None:
    """For where nothing was found. SettingsError names a provider that there is not.

    Before that its name says nothing: the store may well hold what went to one that is not configured any more.
    """
    if said is not None and row_of(said) is None:
        _one_of("--provider", said, sorted({row.name for row in ROWS} | set(settings.providers)))


def _one_of(option: str, word: str, allowed: Collection[str]) -> str:
    if word not in allowed:
        raise SettingsError(f"{option}: '{word}' is not one of {', '.join(allowed)}.")
    return word
