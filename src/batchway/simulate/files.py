"""Reads the file of a trace as a stream of values with their lines: a JSON list, JSON Lines or CSV, of any length."""

import csv
import sys
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from io import BufferedReader
from pathlib import Path

from batchway.core.errors import InputError
from batchway.simulate.json_list import LONGEST, Wrong, cut

BUNDLED = ("prompts_batch.json", "prompts_batch_coding_100.json")
"""The traces that ship with batchway; the first is read where no file is named."""

CHUNK = 1 << 16
"""Bytes of a list read at a time."""

Value = str | dict[str, str]
"""What stands for a request: a JSON text, or the cells of a row by column."""


def wrong_at(name: str, line: int, what: str) -> InputError:
    """What is wrong with a line of a file. `what` begins with the field, where one is to blame."""
    return InputError(f"{name}: line {line}: {what}")


def values(name: str) -> Iterator[tuple[int, Value]]:
    """What a file holds, in its order, each with the line (from 1) on which it begins.

    `-` is standard input; the name of a bundled trace need not be a path. How a file is read follows from how it
    begins: `[` is a JSON list, `{` or `"` JSON Lines, all else CSV; a name that ends in .csv is always CSV, one in
    .json, .jsonl or .ndjson never. Raises InputError.
    """
    with _open(name) as file:
        read, wrong = _reader(name, file), partial(wrong_at, name)
        try:
            yield from read(file, wrong)
        except OSError as error:
            raise _unreadable(name, error) from error


@contextmanager
def _open(name: str) -> Iterator[BufferedReader]:
    if name == "-":
        yield sys.stdin.buffer  # type: ignore[misc]
        return
    try:
        file = _path(name).open("rb")
    except OSError as error:
        raise _unreadable(name, error) from error
    with file:
        yield file


def _path(name: str) -> Path:
    path = Path(name)
    return path if name not in BUNDLED or path.exists() else Path(str(files("batchway.data").joinpath(name)))


def _unreadable(name: str, error: OSError) -> InputError:
    return InputError(f"{name}: cannot be read ({error.strerror}); name a JSON, JSON Lines or CSV file.")


Read = Callable[[BufferedReader, Wrong], Iterator[tuple[int, Value]]]


def _reader(name: str, file: BufferedReader) -> Read:
    begins = file.peek(CHUNK).removeprefix(BOM_UTF8).lstrip()[:1]
    ending = Path(name).suffix.lower()
    if ending == ".csv":
        return _read_rows
    if begins == b"[":
        return _read_list
    return _read_lines if begins in (b"{", b'"', b"") or ending in (".json", ".jsonl", ".ndjson") else _read_rows


def _read_list(file: BufferedReader, wrong: Wrong) -> Iterator[tuple[int, Value]]:
    yield from cut(_texts(file, wrong), wrong)


def _texts(file: BufferedReader, wrong: Wrong) -> Iterator[str]:
    decoder, line = getincrementaldecoder("utf-8-sig")(), 1
    while chunk := file.read(CHUNK):
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise wrong(line + bytes(error.object[: error.start]).count(b"\n"), _NOT_UTF8) from error
        line += text.count("\n")
        yield text
    if decoder.getstate()[0]:
        raise wrong(line, _NOT_UTF8)


_NOT_UTF8 = "not UTF-8; convert the file first."


def _read_lines(file: BufferedReader, wrong: Wrong) -> Iterator[tuple[int, Value]]:
    for line, content in _lines(file, wrong):
        if content.strip():
            yield line, content


def _lines(file: BufferedReader, wrong: Wrong) -> Iterator[tuple[int, str]]:
    """The lines, none of them longer than its bound, so that a file without any is not read whole."""
    line = 0
    while content := file.readline(LONGEST + 1):
        line += 1
        if len(content) > LONGEST:
            raise wrong(line, f"longer than {LONGEST:,} bytes.")
        try:
            yield line, content.removeprefix(BOM_UTF8).decode() if line == 1 else content.decode()
        except UnicodeDecodeError as error:
            raise wrong(line, _NOT_UTF8) from error


def _read_rows(file: BufferedReader, wrong: Wrong) -> Iterator[tuple[int, Value]]:
    csv.field_size_limit(LONGEST)  # of the whole process; its default, 128 kB, is less than a long prompt
    lines = (content for _, content in _lines(file, wrong))
    first = next(lines, "")
    columns = _columns(first, wrong)
    rows = csv.reader(lines, delimiter=_delimiter(first), strict=True)
    line = 2
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise wrong(line, f"not CSV: {error}.") from error
        if row is None:
            return
        if row and len(row) != len(columns):
            raise wrong(line, f"it has {len(row)} cells; the first line names {len(columns)} columns.")
        if row:
            yield line, {column: cell for column, cell in zip(columns, row, strict=True) if cell}
        line = rows.line_num + 2


def _columns(first: str, wrong: Wrong) -> Sequence[str]:
    try:
        columns = [column.strip() for column in next(csv.reader([first], delimiter=_delimiter(first), strict=True), [])]
    except csv.Error as error:
        raise wrong(1, f"not CSV: {error}.") from error
    for column in columns:
        if columns.count(column) > 1:
            raise wrong(1, f"{column}: two columns are called so.")
    return columns


def _delimiter(first: str) -> str:
    """Spreadsheets of some countries write semicolons, and some programs tabs."""
    return max(",;\t", key=first.count)
