"""A batching run for programs: one JSON object of all requests and batches, or CSV with a row for each batch."""

import csv
import shutil
from collections.abc import Iterator
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import IO

import msgspec
from msgspec import Struct, structs

from batchway.core.analysis import Analysis
from batchway.simulate.filling import Ready
from batchway.simulate.forms import ByArrival, Settled
from batchway.simulate.modelwise import Batch
from batchway.simulate.tally import Summary

IN_MEMORY = 1 << 24
"""Bytes kept in memory before they go to a temporary file."""


class _RequestRow(Struct, omit_defaults=True, kw_only=True):
    """A request in JSON. Its fields can be read again as a trace."""

    request_id: str
    created_at_ms: int
    prompt: str | None = None
    shortened_query: str | None = None
    analysis_json: Analysis
    token_count: int
    selected_model: str
    cache_hit: bool = False
    provider: str | None
    why: str
    batch_id: str | None
    wait_ms: float | None


class _BatchRow(Struct, kw_only=True):
    """A batch in JSON and in CSV."""

    batch_id: str
    model: str
    size: int
    tokens: int
    close_reason: str
    request_ids: tuple[str, ...]
    opened_at_ms: float
    closed_at_ms: float
    max_wait_ms: float
    mean_wait_ms: float
    longest_wait_ms: float


def _batch_row(batch: Batch) -> _BatchRow:
    return _BatchRow(
        batch_id=batch.batch_id,
        model=batch.model,
        size=batch.size,
        tokens=batch.tokens,
        close_reason=batch.close_reason,
        request_ids=batch.request_ids,
        opened_at_ms=batch.opened_at_ms,
        closed_at_ms=batch.closed_at_ms,
        max_wait_ms=batch.max_wait_ms,
        mean_wait_ms=batch.mean_wait_ms,
        longest_wait_ms=max(batch.waits_ms),
    )


_encode = msgspec.json.Encoder().encode


class JsonForm:
    """One object: `requests` in the order of arrival, `batches` in that of closing, `summary`; one of them a line."""

    def __init__(self) -> None:
        self._order = ByArrival()
        self._requests = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed when it was written out
        self._batches = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed when it was written out

    def request(self, request: Ready) -> None:
        """A request has come."""
        self._put(self._order.request(request))

    def batch(self, batch: Batch) -> None:
        """A batch has closed."""
        self._put(self._order.batch(batch))
        self._batches.write(b",\n" + _encode(_batch_row(batch)))

    def _put(self, settled: Iterator[Settled]) -> None:
        for each in settled:
            self._requests.write(b",\n" + _encode(_request_row(each)))

    def write(self, out: IO[str], summary: Summary, /) -> None:
        """All is known: show it."""
        for name, rows in (("requests", self._requests), ("batches", self._batches)):
            out.write(f'{"{" if name == "requests" else ""}"{name}":[')
            _copy(rows, out, skip=1)
            out.write("\n],\n")
        out.write(f'"summary":{_encode(summary).decode()}}}\n')


def _request_row(settled: Settled) -> _RequestRow:
    request = settled.request
    return _RequestRow(
        request_id=request.request_id,
        created_at_ms=request.at_ms,
        prompt=request.entry.prompt,
        shortened_query=request.entry.shortened_query,
        analysis_json=request.analysis,
        token_count=request.tokens,
        selected_model=request.model,
        cache_hit=request.entry.cache_hit,
        provider=request.provider,
        why=request.why,
        batch_id=settled.batch_id,
        wait_ms=settled.wait_ms,
    )


def _copy(rows: "SpooledTemporaryFile[bytes]", out: IO[str], *, skip: int = 0) -> None:
    rows.seek(skip)
    with TextIOWrapper(rows, "utf-8", newline="") as text:
        shutil.copyfileobj(text, out)


class CsvForm:
    """The fields of a batch as columns; `request_ids` is one cell, its ids parted by spaces."""

    def __init__(self) -> None:
        self._rows = SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._rows, lineterminator="\n")
        self._writer.writerow(_BatchRow.__struct_fields__)

    def request(self, request: Ready) -> None:
        """A request has come."""

    def batch(self, batch: Batch) -> None:
        """A batch has closed."""
        row = structs.asdict(_batch_row(batch)) | {"request_ids": " ".join(batch.request_ids)}
        self._writer.writerow(row.values())

    def write(self, out: IO[str], _summary: Summary, /) -> None:
        """All is known: show it."""
        with self._rows as rows:
            rows.seek(0)
            shutil.copyfileobj(rows, out)
