"""The requests of a trace as its file gives them: a list of prompts, a list of objects, JSON Lines or CSV, checked.

An object's fields are those of seeds/001: `request_id`, `created_at_ms`, `prompt` or `shortened_query`,
`analysis_json` (its keys are `core.analysis.Analysis`), `token_count`, `selected_model`; and `cache_hit`, true for a
request that a cache answered. A field may be missing or null where it can be made or found. A row of CSV has the same
fields as columns; the keys of an analysis may be columns of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial

import msgspec
from msgspec import Struct

from batchway.core.analysis import Analysis
from batchway.core.errors import InputError
from batchway.simulate.files import Value, values, wrong_at
from batchway.simulate.notes import Notes


class Entry(Struct, frozen=True, kw_only=True, gc=False):
    """One request of a trace, as it was given. None: not given."""

    line: int
    """On which it begins in its file, from 1."""
    request_id: str | None = None
    created_at_ms: int | None = None
    prompt: str | None = None
    shortened_query: str | None = None
    analysis_json: dict[str, object] | None = None
    """Its keys are those of an analysis; their values are as given."""
    token_count: int | None = None
    selected_model: str | None = None
    cache_hit: bool = False

    @property
    def text(self) -> str | None:
        """What the model would read."""
        return self.prompt if self.shortened_query is None else self.shortened_query


LATEST = 10**14
"""Milliseconds: the year 5138. Later ones are microseconds or nanoseconds since 1970, taken for milliseconds."""

MOST_TOKENS = 10**8
"""More than any model reads."""

LONGEST_ID = 512
"""Characters."""


def entries(name: str, notes: Notes) -> Iterator[Entry]:
    """The requests of a file, in its order. Raises InputError that names the line and the field.

    Fields that are not known are passed over, and noted; one that is nearly a known one is a slip, and an error.
    """
    reader, empty = _Reader(partial(wrong_at, name), notes), True
    for line, value in values(name):
        empty = False
        yield reader.entry(line, value)
    if empty:
        raise InputError(f"{name}: is empty; there is no request in it.")


class _Given(Struct, forbid_unknown_fields=True, gc=False):
    """The types of an object's fields. Whole numbers may be written as 12.0, and ids as numbers."""

    request_id: str | int | None = None
    created_at_ms: int | float | None = None
    prompt: str | None = None
    shortened_query: str | None = None
    analysis_json: dict[str, object] | None = None
    token_count: int | float | None = None
    selected_model: str | None = None
    cache_hit: bool | None = None


FIELDS = _Given.__struct_fields__
ANALYSIS_FIELDS = Analysis.__struct_fields__
_OURS = frozenset({"batch_id", "model", "provider", "wait_ms", "why"})
"""What `--json` says about a request beside its fields; passed over without a word, so that it can be read again."""

_whole = msgspec.json.Decoder(_Given | str)
_any_object = msgspec.json.Decoder(dict[str, object])
_BROKEN = (msgspec.DecodeError, UnicodeError, RecursionError)


class _Reader:
    """Makes entries of the values of one file."""

    def __init__(self, wrong: Callable[[int, str], InputError], notes: Notes) -> None:
        self._wrong = wrong
        self._notes = notes

    def entry(self, line: int, value: Value) -> Entry:
        """The request that stands there."""
        given = self._row(line, value) if isinstance(value, dict) else self._json(line, value)
        if isinstance(given, str):
            return Entry(line=line, prompt=given)
        if given.prompt is None and given.shortened_query is None:
            self._check_enough(line, given)
        return Entry(
            line=line,
            request_id=None if given.request_id is None else self._id(line, given.request_id),
            created_at_ms=self._whole(line, "created_at_ms", given.created_at_ms, LATEST, _NO_TIME),
            prompt=given.prompt,
            shortened_query=given.shortened_query,
            analysis_json=self._analysis(line, given.analysis_json) if given.analysis_json else None,
            token_count=self._tokens(line, given),
            selected_model=given.selected_model or None,
            cache_hit=bool(given.cache_hit),
        )

    # JSON

    def _json(self, line: int, text: str) -> _Given | str:
        try:
            found: _Given | str = _whole.decode(text)
            return found
        except msgspec.ValidationError as error:
            if "unknown field" in str(error):
                return self._known(line, text)
            raise self._mistyped(line, text, error) from error
        except _BROKEN as error:
            raise self._broken(line, error) from error

    def _broken(self, line: int, error: Exception) -> InputError:
        what = "each line must be a whole object or a whole string, or the file one list"
        return self._wrong(line, f"not JSON ({error}); {what}.")

    def _known(self, line: int, text: str) -> _Given:
        """The object without the fields that are not ours."""
        try:
            found = _any_object.decode(text)
            return msgspec.convert({key: found[key] for key in self._keep(line, found, FIELDS, "")}, _Given)
        except msgspec.ValidationError as error:
            raise self._mistyped(line, text, error) from error
        except _BROKEN as error:
            raise self._broken(line, error) from error

    def _mistyped(self, line: int, text: str, error: msgspec.ValidationError) -> InputError:
        """The error of a value of a wrong type, at the line of its field."""
        what, _, path = str(error).replace("`", "").partition(" - at $.")
        if not path:
            return self._wrong(line, f"it must be an object or a string ({what[:1].lower()}{what[1:]}).")
        at = text.find(f'"{path}"')
        return self._wrong(line + text.count("\n", 0, max(0, at)), f"{path}: {what[:1].lower()}{what[1:]}.")

    def _keep(self, line: int, found: Mapping[str, object], known: tuple[str, ...], where: str) -> list[str]:
        """The keys that are known. One that is nearly so is an error, all others are noted."""
        for key in found:
            if key in known or key in _OURS:
                continue
            if close := get_close_matches(key.lower(), known, n=1, cutoff=0.8):
                raise self._wrong(line, f"{where}{key}: there is no such field; {where}{close[0]} is meant?")
            self._notes.add(f"{where}{_shown(key)}: not a field of a request, passed over", line)
        return [key for key in found if key in known]

    # CSV

    def _row(self, line: int, cells: Mapping[str, str]) -> _Given:
        kept: dict[str, object] = {key: cells[key] for key in self._keep(line, cells, FIELDS + ANALYSIS_FIELDS, "")}
        for field in ("created_at_ms", "token_count", "input_tokens", "output_tokens"):
            if field in kept:
                kept[field] = self._number(line, field, cells[field])
        if "cache_hit" in kept:
            kept["cache_hit"] = self._truth(line, cells["cache_hit"])
        analysis = {key: kept.pop(key) for key in ANALYSIS_FIELDS if key in kept}
        if "analysis_json" in kept:
            analysis = self._cell(line, cells["analysis_json"]) | analysis
        return _Given(**kept | {"analysis_json": analysis})  # type: ignore[arg-type]

    def _number(self, line: int, field: str, cell: str) -> int | float:
        try:
            return int(cell) if cell.strip().lstrip("+-").isdigit() else float(cell)
        except ValueError as error:
            raise self._wrong(line, f"{field}: {cell[:40]!r} is not a number.") from error

    def _truth(self, line: int, cell: str) -> bool:
        if cell.lower() not in _TRUTHS:
            raise self._wrong(line, f"cache_hit: {cell[:40]!r} is not one of {', '.join(_TRUTHS)}.")
        return _TRUTHS[cell.lower()]

    def _cell(self, line: int, cell: str) -> dict[str, object]:
        try:
            return _any_object.decode(cell)
        except _BROKEN as error:
            raise self._wrong(line, f"analysis_json: not a JSON object ({error}).") from error

    # What both mean

    def _check_enough(self, line: int, given: _Given) -> None:
        """Without a text, what would be found in it must be given."""
        for field in ("token_count", "selected_model"):
            if getattr(given, field) is None:
                raise self._wrong(line, f"prompt: missing; without it (and shortened_query) {field} must be given.")

    def _id(self, line: int, given: str | int) -> str:
        found = str(given)
        if not 0 < len(found) <= LONGEST_ID:
            raise self._wrong(line, f"request_id: has {len(found)} characters; allowed are 1 to {LONGEST_ID}.")
        return found

    def _whole(self, line: int, field: str, given: int | float | None, most: int, otherwise: str) -> int | None:
        if given is None:
            return None
        if not 0 <= given <= most or given != int(given):
            raise self._wrong(line, f"{field}: {_shown(str(given))} is {otherwise}.")
        return int(given)

    def _tokens(self, line: int, given: _Given) -> int | None:
        count = self._whole(line, "token_count", given.token_count, MOST_TOKENS, _NO_COUNT)
        if count == 0 and (given.shortened_query or given.prompt):
            raise self._wrong(line, "token_count: 0, though there is a text; leave it out to have it counted.")
        return count

    def _analysis(self, line: int, given: dict[str, object]) -> dict[str, object]:
        if given.keys() <= _ANALYSIS:
            return given
        return {key: given[key] for key in self._keep(line, given, ANALYSIS_FIELDS, "analysis_json.")}


def _shown(text: str) -> str:
    """What somebody wrote, fit for a line of a message."""
    return text[:40] if text.isprintable() else repr(text[:40])


_ANALYSIS = frozenset(ANALYSIS_FIELDS)
_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_NO_TIME = f"no time; it must be a whole number of milliseconds, 0 to {LATEST:,}"
_NO_COUNT = f"no count of tokens; it must be a whole number, 0 to {MOST_TOKENS:,}"
