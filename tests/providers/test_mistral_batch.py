"""The Mistral dialect of batches: jobs and rows by the letter, what comes back in every shape, pages that tell."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistralai.client import models as theirs
from tests.core.asking import request
from tests.core.test_job import TAG, job

from batchway.core.errors import BadRequest
from batchway.core.job import BatchPage, Counts, Problem, ProviderBatch
from batchway.core.types import Answer, Fault
from batchway.ports import BatchDialect, Incoming
from batchway.providers.mistral_batch import LAST_PAGE, PAGE, MistralBatchDialect

KEY = "0123456789abcdefKEY"
AUTH = ("authorization", f"Bearer {KEY}")
BASE = "https://api.mistral.ai/v1"
MISTRAL = MistralBatchDialect("mistral", BASE, KEY)


def incoming(status: int, content: Any = b"") -> Incoming:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Incoming(status=status, headers={}, body=body)


def batch(**fields: Any) -> dict[str, Any]:
    """A batch job as Mistral shows it (providers.md §8; SDK mistralai 3.7, BatchJob)."""
    shown = {
        "id": "0190-job",
        "object": "batch",
        "input_files": ["0190-file"],
        "endpoint": "/v1/chat/completions",
        "model": "mistral-small-latest",
        "errors": [],
        "status": "QUEUED",
        "metadata": {"batchway": TAG},
        "created_at": 1_790_000_000,
        "started_at": None,
        "completed_at": None,
        "total_requests": 0,
        "completed_requests": 0,
        "succeeded_requests": 0,
        "failed_requests": 0,
        "output_file": None,
        "error_file": None,
        "outputs": None,
    } | fields
    theirs.BatchJob.model_validate(shown)
    return shown


def read_batch(said: Any) -> ProviderBatch:
    read = MISTRAL.decode_batch(incoming(200, said))
    assert isinstance(read, ProviderBatch), read
    return read


def test_it_is_a_batch_dialect() -> None:
    dialect: BatchDialect = MISTRAL
    assert (dialect.terms.endpoints, dialect.terms.tagging) == (("chat", "embeddings"), "listed")


# What goes out


def test_a_row_is_translated_as_a_direct_call_and_names_neither_path_nor_model() -> None:
    asked = {
        "model": "mistral-small-latest",
        "messages": [{"role": "developer", "content": "ünï\u2028"}],
        "max_completion_tokens": 5,
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    line = MISTRAL.line(request(body=json.dumps(asked, ensure_ascii=False, indent=1).encode()), "a-1")
    assert b"\n" not in line
    assert json.loads(line) == {
        "custom_id": "a-1",
        "body": {"messages": [{"role": "system", "content": "ünï\u2028"}], "max_tokens": 5, "random_seed": 7},
    }
    theirs.BatchRequest.model_validate(json.loads(line))


def test_embeddings_are_translated_too() -> None:
    asked = b'{"model":"mistral-embed","input":["a"],"dimensions":8}'
    line = MISTRAL.line(request(endpoint="embeddings", body=asked), "a-1")
    assert line == b'{"custom_id":"a-1","body":{"input":["a"],"output_dimension":8}}'


def test_what_mistral_cannot_be_asked_is_named_before_it_is_accepted() -> None:
    asked = request(body=b'{"model":"m","messages":[],"logit_bias":{"1":5}}')
    for find_out in (lambda: MISTRAL.line(asked, "a-1"), lambda: MISTRAL.measure(asked)):
        with pytest.raises(BadRequest) as refused:
            find_out()
        assert refused.value.fault.param == "logit_bias"


@pytest.mark.parametrize(
    ("asked", "sold", "hours"),
    [("1h", "24h", 24), ("24h", "24h", 24), ("30h", "48h", 48), ("7d", "168h", 168), ("30d", "168h", 168)],
)
def test_a_window_is_the_hours_after_which_it_gives_up(asked: str, sold: str, hours: int) -> None:
    window = MISTRAL.terms.window(asked)
    created = MISTRAL.encode_create(job(input_file_id="0190-file", window=window, model="mistral-small-latest"))
    assert (created.method, created.url) == ("POST", f"{BASE}/batch/jobs")
    assert AUTH in created.headers
    content = json.loads(created.body)
    assert (window, content) == (
        sold,
        {
            "input_files": ["0190-file"],
            "endpoint": "/v1/chat/completions",
            "model": "mistral-small-latest",
            "metadata": {"batchway": TAG},
            "timeout_hours": hours,
        },
    )
    theirs.CreateBatchJobRequest.model_validate(content)


@pytest.mark.parametrize(
    ("outgoing", "method", "path"),
    [
        (MISTRAL.encode_get("0190"), "GET", "/batch/jobs/0190"),
        (MISTRAL.encode_get("../files"), "GET", "/batch/jobs/..%2Ffiles"),
        (
            MISTRAL.encode_list(TAG, None),
            "GET",
            f"/batch/jobs?page=0&page_size=100&order_by=-created&batchway={TAG}",
        ),
        (MISTRAL.encode_list(None, "3"), "GET", "/batch/jobs?page=3&page_size=97&order_by=-created"),
        (MISTRAL.encode_cancel("0190"), "POST", "/batch/jobs/0190/cancel"),
        (MISTRAL.encode_results("0190"), "GET", "/files/0190/content"),
        (MISTRAL.encode_delete("0190"), "DELETE", "/files/0190"),
    ],
)
def test_calls(outgoing: Any, method: str, path: str) -> None:
    assert (outgoing.method, outgoing.url, outgoing.body) == (method, BASE + path, b"")
    assert AUTH in outgoing.headers


# Jobs


def test_a_new_job() -> None:
    assert read_batch(batch()) == ProviderBatch(
        id="0190-job",
        status="validating",
        said="QUEUED",
        created_at=1_790_000_000.0,
        tag=TAG,
        counts=Counts(),
    )


@pytest.mark.parametrize(
    ("said", "status", "over"),
    [
        ("QUEUED", "validating", False),
        ("RUNNING", "running", False),
        ("running", "running", False),
        ("SUCCESS", "completed", True),
        ("FAILED", "failed", True),
        ("TIMEOUT_EXCEEDED", "expired", True),
        ("CANCELLATION_REQUESTED", "cancelling", False),
        ("CANCELLED", "cancelled", True),
        ("PAUSED", "unknown", False),
    ],
)
def test_states(said: str, status: str, over: bool) -> None:
    read = read_batch(batch(status=said))
    assert (read.status, read.over, read.said) == (status, over, said)


def test_a_finished_job_names_its_files() -> None:
    ended = batch(
        status="SUCCESS", output_file="out", error_file="", total_requests=3, succeeded_requests=2, failed_requests=1
    )
    read = read_batch(ended)
    assert (read.sources, read.counts, read.readable) == (("out",), Counts(total=3, completed=2, failed=1), False)


def test_reasons_are_words_alone() -> None:
    errors = [{"message": "Line 1: no body", "count": 3}, {"message": "Invalid model"}]
    assert read_batch(batch(status="FAILED", errors=errors)).problems == (
        Problem(code=None, message="Line 1: no body"),
        Problem(code=None, message="Invalid model"),
    )


def test_fields_of_other_types_are_as_if_absent() -> None:
    odd = {"id": "0190", "status": 7, "metadata": [], "created_at": "x", "total_requests": None, "errors": ["x", {}]}
    assert read_batch(odd) == ProviderBatch(id="0190", status="unknown", said="", counts=Counts())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":""}', b'{"id":7}', b"<html>", b'{"detail":"x"}'])
def test_what_is_no_job_is_an_unknown_outcome(body: bytes) -> None:
    read = MISTRAL.decode_batch(incoming(200, body))
    assert isinstance(read, Fault)
    assert (read.status, read.code, read.billed) == (502, "upstream_malformed", "unknown")


def test_refusals_are_read_in_mistrals_words() -> None:
    wrong = {"detail": [{"type": "enum", "loc": ["body", "endpoint"], "msg": "Input should be one of"}]}
    read = MISTRAL.decode_batch(incoming(422, wrong))
    assert isinstance(read, Fault)
    assert (read.status, read.param, read.message) == (422, "endpoint", "endpoint: Input should be one of")


# Listings


def listing(count: int, total: int) -> Any:
    rows = [batch(id=f"0190-{number}") for number in range(count)]
    return MISTRAL.decode_list(incoming(200, {"object": "list", "data": rows, "total": total}))


@pytest.mark.parametrize(
    ("count", "total", "after"),
    [
        (0, 0, None),
        (1, 1, None),
        (100, 100, None),
        (100, 101, "1"),
        (99, 198, None),
        (99, 199, "2"),
        (60, 960, None),  # A short last page, which looks like a later one that ends the list all the more.
        (50, 9_999, None),  # No page that is full is as short: the last, whatever the total says.
        (51, 2_550, None),
        (120, 120, None),  # More than were asked for, and they are all.
    ],
)
def test_the_length_of_a_page_says_which_it_is(count: int, total: int, after: str | None) -> None:
    read = listing(count, total)
    assert isinstance(read, BatchPage)
    assert (len(read.batches), read.after) == (count, after)


@pytest.mark.parametrize(("count", "total"), [(51, 2_551), (120, 121)])
def test_what_cannot_be_read_to_its_end_proves_nothing(count: int, total: int) -> None:
    assert isinstance(listing(count, total), Fault)


@given(st.integers(0, 2_550))
def test_pages_overlap_and_miss_nothing(total: int) -> None:
    """A server that has so many jobs, asked page by page."""
    seen: set[int] = set()
    after: str | None = None
    while True:
        page = int(after or 0)
        assert page <= LAST_PAGE
        size = PAGE - page
        rows = range(page * size, min(total, (page + 1) * size))
        seen |= set(rows)
        said = {"data": [{"id": "x"}] * len(rows), "total": total}
        read = MISTRAL.decode_list(incoming(200, said))
        assert isinstance(read, BatchPage)
        after = read.after
        if after is None:
            break
    assert seen == set(range(total))


def test_a_list_without_jobs_may_leave_them_out() -> None:
    assert MISTRAL.decode_list(incoming(200, {"object": "list", "total": 0})) == BatchPage(batches=())


def test_a_page_with_one_that_cannot_be_read_proves_nothing() -> None:
    assert isinstance(MISTRAL.decode_list(incoming(200, {"data": [batch(), {}], "total": 2})), Fault)
    assert isinstance(MISTRAL.decode_list(incoming(500)), Fault)


# Results


def outcome(response: Any = None, error: Any = None, endpoint: Any = "chat") -> Any:
    line = {"id": "batch-1", "custom_id": f"{TAG}-1", "response": response, "error": error}
    read = MISTRAL.read_result(json.dumps(line).encode(), job(endpoint=endpoint), 5.0)
    assert read.custom_id == f"{TAG}-1"
    return read.outcome


def test_an_answer_is_translated_as_a_direct_one() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    message = {"role": "assistant", "content": [thinking, {"type": "text", "text": "yes"}], "tool_calls": None}
    content = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "model_length", "message": message}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "num_cached_tokens": 1},
    }
    read = outcome({"status_code": 200, "body": content})
    assert isinstance(read, Answer)
    (choice,) = json.loads(read.body)["choices"]
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("yes", "hm")
    assert (choice["finish_reason"], read.complete) == ("length", False)
    assert read.usage is not None
    assert (read.usage.input, read.usage.cached) == (3, 1)


def test_vectors_are_as_they_are() -> None:
    content = {"object": "list", "data": [{"object": "embedding", "embedding": [0.5], "index": 0}], "model": "m"}
    read = outcome({"status_code": 200, "body": content | {"usage": {"prompt_tokens": 1}}}, endpoint="embeddings")
    assert isinstance(read, Answer)


@pytest.mark.parametrize(
    ("response", "error", "status", "message"),
    [
        ({"status_code": 429, "body": None}, "rate limited", 429, "rate limited"),
        ({"status_code": 500, "body": None}, {"message": "broken"}, 500, "broken"),
        ({"status_code": 400, "body": {"object": "error", "message": "no", "type": "t"}}, None, 400, "no"),
        ({"status_code": 422, "body": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}}, None, 422, "n: bad"),
        (None, "gone", 502, "gone"),
        (None, None, 502, "The provider gave neither an answer nor an error for this row."),
    ],
)
def test_rows_fail_in_the_words_there_are(response: Any, error: Any, status: int, message: str) -> None:
    fault = outcome(response, error)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.message, fault.healthy) == (status, message, True)
