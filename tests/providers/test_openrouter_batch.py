"""The OpenRouter dialect of batches: rows in the create call, results in the batch, errors by name."""

import json
from typing import Any

import pytest
from tests.core.asking import request
from tests.core.test_job import TAG, job
from tests.wire.simulated import chat_whole

from batchway.core.job import Counts, Problem, ProviderBatch
from batchway.core.types import Answer, Fault
from batchway.ports import BatchDialect, Incoming, OutgoingRows
from batchway.providers.openrouter_batch import STATUSES, OpenRouterBatchDialect

KEY = "sk-or-SECRET0123456789"
BASE = "https://openrouter.ai/api/v1"
OPENROUTER = OpenRouterBatchDialect("openrouter", BASE, KEY)
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def incoming(status: int, content: Any = b"") -> Incoming:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Incoming(status=status, headers={}, body=body)


def batch(**fields: Any) -> dict[str, Any]:
    """A batch object (SDK openrouter 1.3.84, BatchObject)."""
    return {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": "openai/gpt-4o-mini",
        "completion_window": "24h",
        "status": "in_progress",
        "created_at": 1_790_000_000,
        "finalized_at": None,
        "expires_at": 1_790_086_400,
        "provider": "OpenAI",
        "request_counts": {"total": 4, "completed": 1, "failed": 0},
        "usage": None,
        "results": None,
        "error": None,
    } | fields


def read_batch(said: Any) -> ProviderBatch:
    read = OPENROUTER.decode_batch(incoming(200, said))
    assert isinstance(read, ProviderBatch), read
    return read


def test_it_is_a_batch_dialect_without_uploads_and_tags() -> None:
    dialect: BatchDialect = OPENROUTER
    assert (dialect.terms.uploads, dialect.terms.tagging, dialect.terms.serial) == (False, "results", True)


def test_the_rows_come_last_in_the_create_call() -> None:
    lines = [OPENROUTER.line(request(body=b'{"model":"m",\n"x":1.50}'), f"{TAG}-{n}") for n in range(2)]
    create = OPENROUTER.encode_create(job(model="openai/gpt-4o-mini"))
    assert isinstance(create, OutgoingRows)
    assert (create.method, create.url) == ("POST", f"{BASE}/batches")
    assert ("authorization", f"Bearer {KEY}") in create.headers
    body = create.before + create.between.join(lines) + create.after
    assert list(json.loads(body)) == ["endpoint", "model", "completion_window", "requests"]
    assert json.loads(body) == {
        "endpoint": "/v1/chat/completions",
        "model": "openai/gpt-4o-mini",
        "completion_window": "24h",
        "requests": [{"custom_id": f"{TAG}-{n}", "body": {"model": "m", "x": 1.5}} for n in range(2)],
    }


@pytest.mark.parametrize(
    ("outgoing", "method", "path"),
    [
        (OPENROUTER.encode_get("batch_1"), "GET", "/batches/batch_1"),
        (OPENROUTER.encode_results("batch_1"), "GET", "/batches/batch_1"),
        (OPENROUTER.encode_delete("a/b"), "DELETE", "/batches/a%2Fb"),
        (OPENROUTER.encode_list(TAG, "batch_9"), "GET", "/batches?limit=100&after=batch_9"),
    ],
)
def test_calls(outgoing: Any, method: str, path: str) -> None:
    assert (outgoing.method, outgoing.url, outgoing.body) == (method, BASE + path, b"")


def test_a_batch_is_read_without_its_results() -> None:
    assert read_batch(batch()) == ProviderBatch(
        id="batch_1",
        status="running",
        said="in_progress",
        created_at=1_790_000_000.0,
        counts=Counts(total=4, completed=1),
        expires_at=1_790_086_400.0,
    )
    raw = json.dumps(batch(status="completed")).replace('"results": null', '"results": [{"x": 1e999}]')
    over = OPENROUTER.decode_batch(incoming(200, raw.encode()))
    assert isinstance(over, ProviderBatch)
    assert (over.status, over.sources) == ("completed", ("batch_1",))


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_however_it_ended_its_results_are_looked_for(status: str) -> None:
    assert read_batch(batch(status=status)).sources == ("batch_1",)


def test_a_reason_is_one_message() -> None:
    read = read_batch(batch(status="failed", error={"message": "No provider takes this model."}))
    assert read.problems == (Problem(code=None, message="No provider takes this model."),)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":""}', b"<html>", b'{"error":{"message":"x"}}'])
def test_what_is_no_batch_is_an_unknown_outcome(body: bytes) -> None:
    read = OPENROUTER.decode_batch(incoming(200, body))
    assert isinstance(read, Fault)
    assert (read.status, read.code, read.billed) == (502, "upstream_malformed", "unknown")


def test_results_that_are_withheld_until_they_are_paid_for_are_a_402() -> None:
    withheld = batch(status="completed") | {"error": {"code": 402, "message": "Add credits."}}
    read = OPENROUTER.decode_batch(incoming(402, withheld))
    assert isinstance(read, Fault)
    assert (read.status, read.message) == (402, "Add credits.")


# Results


def outcome(response: Any = None, error: Any = None) -> Any:
    line = {"id": "r", "custom_id": f"{TAG}-1", "response": response, "error": error}
    return OPENROUTER.read_result(json.dumps(line).encode(), job(), 5.0).outcome


def test_answers_are_cut_out_of_the_batch_byte_for_byte() -> None:
    content = chat_whole(CHAT)
    line = b'{"id":"r","custom_id":"a-1","response":{"status_code":200,"body":' + content + b'},"error":null}'
    reader = OPENROUTER.result_reader({})
    cut = [*reader.feed(b'{"id":"b","results":[' + line + b"," + line), *reader.feed(b'],"usage":{}}'), *reader.end()]
    assert (cut, reader.after) == ([line, line], None)
    read = OPENROUTER.read_result(cut[0], job(), 5.0).outcome
    assert isinstance(read, Answer)
    assert read.body == content


def test_no_results_are_none() -> None:
    reader = OPENROUTER.result_reader({})
    assert [*reader.feed(json.dumps(batch(status="expired")).encode()), *reader.end()] == []


@pytest.mark.parametrize(
    ("kind", "status", "passing"),
    [
        ("invalid_request", 400, False),
        ("context_length_exceeded", 400, False),
        ("rate_limit_exceeded", 429, True),
        ("provider_overloaded", 503, True),
        ("timeout", 504, True),
        ("unmapped", 502, True),
        (None, 502, True),
        (7, 502, True),
    ],
)
def test_errors_have_names_in_place_of_statuses(kind: Any, status: int, passing: bool) -> None:
    fault = outcome(error={"message": "no", "type": "t", "param": None, "error_type": kind})
    assert isinstance(fault, Fault)
    assert (fault.status, fault.passing, fault.message, fault.healthy) == (status, passing, "no", True)


def test_every_name_stands_for_an_error() -> None:
    assert all(400 <= status < 600 for status in STATUSES.values())
    assert isinstance(outcome(error="text"), Fault)
    assert isinstance(outcome(), Fault)
