"""The xAI dialect of batches: what goes out by the letter, and what its counters, days and pages mean."""

import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest
from tests.core.asking import request
from tests.core.test_job import TAG, job
from tests.wire.simulated import chat_whole

from batchway.core.job import BatchPage, Counts, Problem, ProviderBatch
from batchway.core.types import Answer, Fault
from batchway.ports import BatchDialect, Incoming
from batchway.providers.xai_batch import XAIBatchDialect

KEY = "xai-SECRET0123456789"
AUTH = ("authorization", f"Bearer {KEY}")
XAI = XAIBatchDialect("grok", "https://api.x.ai/v1", KEY)
BASE = "https://api.x.ai/v1"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}

NOV_20 = 1_795_132_800.0
DAY = 86_400.0


def incoming(status: int, content: Any = b"", **headers: str) -> Incoming:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Incoming(status=status, headers=headers, body=body)


def state(requests: int = 0, pending: int = 0, success: int = 0, error: int = 0, cancelled: int = 0) -> dict[str, int]:
    names = ("num_requests", "num_pending", "num_success", "num_error", "num_cancelled")
    return dict(zip(names, (requests, pending, success, error, cancelled), strict=True))


def batch(counters: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A batch as xAI's REST API shows it (providers.md §6)."""
    return {
        "batch_id": "batch_9bdf",
        "name": TAG,
        "create_time": "2026-11-20",
        "expire_time": "2026-11-21",
        "create_api_key_id": "key-1",
        "cancel_time": None,
        "cancel_by_xai_message": None,
        "state": state() if counters is None else counters,
        "input_file_id": "file_07",
    } | fields


def read_batch(said: Any, **headers: str) -> ProviderBatch:
    read = XAI.decode_batch(incoming(200, said, **headers))
    assert isinstance(read, ProviderBatch), read
    return read


def test_it_is_a_batch_dialect() -> None:
    dialect: BatchDialect = XAI
    assert (dialect.terms.endpoints, dialect.terms.one_model, dialect.terms.tagging) == (("chat",), False, "listed")


# What goes out


def test_a_line_is_openais() -> None:
    line = XAI.line(request(body=b'{"model":"grok-4.3","stream":true,"x":1.50}'), "a-1")
    assert line == (
        b'{"custom_id":"a-1","method":"POST","url":"/v1/chat/completions","body":{"model":"grok-4.3","x":1.50}}'
    )


def test_a_file_is_given_an_end_before_it_comes() -> None:
    upload = XAI.encode_upload(job())
    head = f"content-type: {dict(upload.headers)['content-type']}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + upload.before + b"{}" + upload.after)
    fields = [(part.get_param("name", header="content-disposition"), part.get_content()) for part in form.iter_parts()]
    assert (upload.method, upload.url) == ("POST", f"{BASE}/files")
    assert fields == [("purpose", "batch"), ("expires_after", "2592000"), ("file", b"{}\n")]


def test_the_name_is_the_tag() -> None:
    created = XAI.encode_create(job(input_file_id="file_07"))
    assert (created.method, created.url) == ("POST", f"{BASE}/batches")
    assert json.loads(created.body) == {"name": TAG, "input_file_id": "file_07"}
    assert AUTH in created.headers


@pytest.mark.parametrize(
    ("outgoing", "method", "path"),
    [
        (XAI.encode_get("batch_1"), "GET", "/batches/batch_1"),
        (XAI.encode_list(TAG, None), "GET", "/batches?limit=1000"),
        (XAI.encode_list(None, "a/b"), "GET", "/batches?limit=1000&pagination_token=a%2Fb"),
        (XAI.encode_cancel("batch_1"), "POST", "/batches/batch_1:cancel"),
        (XAI.encode_cancel("../x?"), "POST", "/batches/..%2Fx%3F:cancel"),
        (XAI.encode_results("batch_1"), "GET", "/batches/batch_1/results?limit=1000"),
        (XAI.encode_results("batch_1", "r/1"), "GET", "/batches/batch_1/results?limit=1000&pagination_token=r%2F1"),
        (XAI.encode_delete("file_07"), "DELETE", "/files/file_07"),
    ],
)
def test_calls(outgoing: Any, method: str, path: str) -> None:
    assert (outgoing.method, outgoing.url, outgoing.body) == (method, BASE + path, b"")
    assert AUTH in outgoing.headers


def test_results_are_no_file_to_be_deleted() -> None:
    assert XAI.encode_delete("batch_9bdf") is None


# What the counters mean


@pytest.mark.parametrize(
    ("counters", "cancel", "reason", "status"),
    [
        (state(), None, None, "validating"),
        (state(4, 4), None, None, "running"),
        (state(4, 1, 2, 1), None, None, "running"),
        (state(4, 0, 3, 1), None, None, "completed"),
        (state(4, 0, 0, 4), None, None, "completed"),
        (state(4, 2, 2), "2026-11-20", None, "cancelling"),
        (state(4, 0, 2, 0, 2), "2026-11-20", None, "cancelled"),
        (state(4, 0, 4), "2026-11-20", None, "cancelled"),
        (state(), "2026-11-20", None, "cancelled"),
        (state(), "2026-11-20", "JSONL file validation failed: line 1", "failed"),
        (state(), None, "JSONL file validation failed: line 1", "failed"),
        (state(4, 1, 3), "2026-11-20", "stopped", "cancelling"),
        (state(4, 0, 3, 0, 1), "2026-11-20", "stopped", "failed"),
    ],
)
def test_a_status_is_made_of_counters(counters: dict[str, int], cancel: Any, reason: Any, status: str) -> None:
    read = read_batch(batch(counters, cancel_time=cancel, cancel_by_xai_message=reason))
    assert read.status == status
    assert read.said, "people are told something"
    assert read.counts == Counts(
        total=counters["num_requests"], completed=counters["num_success"], failed=counters["num_error"]
    )


def test_results_are_in_one_place_as_soon_as_there_are_any() -> None:
    assert read_batch(batch(state(4, 4))).sources == ()
    some = read_batch(batch(state(4, 3, 1)))
    assert (some.sources, some.readable) == (("batch_9bdf",), True)
    assert read_batch(batch(state(4, 3, 0, 1))).sources == ("batch_9bdf",)
    assert read_batch(batch(state(4, 0, 2, 2))).sources == ("batch_9bdf",)


def test_what_was_cancelled_counts_for_no_line() -> None:
    read = read_batch(batch(state(4, 0, 1, 1, 2), cancel_time="2026-11-20"))
    assert read.counts is not None
    assert read.counts.finished == 2


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("JSONL file validation failed: Model grok-4.6 is not supported for batch processing.", "model_not_batchable"),
        ("JSONL file validation failed: line 3: no custom_id", "invalid_request"),
        ("Out of credits.", None),
    ],
)
def test_a_reason_is_sorted_by_its_words(reason: str, code: str | None) -> None:
    read = read_batch(batch(cancel_time="2026-11-20", cancel_by_xai_message=reason))
    assert read.problems == (Problem(code=code, message=reason),)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-11-20", NOV_20 + DAY),
        ("2026-11-20T12:00:00Z", NOV_20 + DAY / 2),
        ("2026-11-20T12:00:00.123456789Z", NOV_20 + DAY / 2 + 0.123456),
        ("2026-11-20T13:00:00+01:00", NOV_20 + DAY / 2),
        ("2026-11-20T12:00:00", NOV_20 + DAY / 2),
        ("2026-13-20", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_of_a_day_its_end_is_meant(said: Any, meant: float | None) -> None:
    read = read_batch(batch(create_time=said, expire_time=said))
    assert (read.created_at, read.expires_at) == (meant, meant)


@pytest.mark.parametrize(
    ("expire", "date", "status"),
    [
        ("2026-11-21", "Sat, 21 Nov 2026 23:59:59 GMT", "running"),
        ("2026-11-21", "Sun, 22 Nov 2026 00:00:00 GMT", "expired"),
        ("2026-11-21T10:00:00Z", "Sat, 21 Nov 2026 10:00:00 GMT", "expired"),
        (None, "Sat, 21 Nov 2026 10:00:00 GMT", "running"),
        ("2026-11-21", "never", "running"),
        ("2026-11-21", "", "running"),
    ],
)
def test_what_is_pending_past_its_end_has_expired(expire: Any, date: str, status: str) -> None:
    read = read_batch(batch(state(4, 1, 3), expire_time=expire), date=date)
    assert (read.status, read.sources) == (status, ("batch_9bdf",))


def test_what_is_complete_does_not_expire() -> None:
    assert read_batch(batch(state(4, 0, 4)), date="Sun, 22 Nov 2099 00:00:00 GMT").status == "completed"


def test_fields_of_other_types_are_as_if_absent() -> None:
    odd = batch(name=7, state=[], cancel_time=0, cancel_by_xai_message="", create_time={}, expire_time=1)
    assert read_batch(odd) == ProviderBatch(
        id="batch_9bdf", status="validating", said="no requests yet", counts=Counts()
    )
    assert read_batch({"batch_id": "b"}).status == "validating"
    odd = batch({"num_requests": "4", "num_pending": None, "num_success": True, "num_error": -1, "num_cancelled": 0.5})
    assert read_batch(odd).counts == Counts()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"batch_id":""}', b'{"id":"batch_1"}', b"<html>", b'{"code":"x","error":"y"}']
)
def test_what_is_no_batch_is_an_unknown_outcome(body: bytes) -> None:
    read = XAI.decode_batch(incoming(200, body))
    assert isinstance(read, Fault)
    assert (read.status, read.code, read.billed) == (502, "upstream_malformed", "unknown")


@pytest.mark.parametrize(
    "body", [{"error": {"message": "slow down", "code": "rate"}}, {"code": "rate", "error": "slow down"}]
)
def test_a_refusal_in_either_shape_keeps_its_words(body: Any) -> None:
    read = XAI.decode_batch(incoming(429, body))
    assert isinstance(read, Fault)
    assert (read.status, read.message, read.code) == (429, "slow down", "rate")


# Listings


def page(*days: str, token: str | None = None) -> BatchPage:
    rows = [batch(batch_id=f"batch_{number}", create_time=day) for number, day in enumerate(days)]
    read = XAI.decode_list(incoming(200, {"batches": rows, "pagination_token": token}))
    assert isinstance(read, BatchPage)
    return read


def test_a_page_that_runs_back_in_time_may_end_a_listing() -> None:
    read = page("2026-11-21", "2026-11-21", "2026-11-20", token="next")
    assert [each.created_at for each in read.batches] == [NOV_20 + 2 * DAY, NOV_20 + 2 * DAY, NOV_20 + DAY]
    assert read.after == "next"


@pytest.mark.parametrize(
    "days", [("2026-11-20", "2026-11-21"), ("2026-11-20", "2026-11-20"), ("2026-11-20",), ("2026-11-20", "x")]
)
def test_of_any_other_page_nothing_is_believed_about_the_next(days: tuple[str, ...]) -> None:
    assert [each.created_at for each in page(*days).batches] == [None] * len(days)


def test_pages_go_on_while_there_is_a_token_and_something_on_them() -> None:
    assert page("2026-11-20", token="").after is None
    assert page(token="next").after is None
    assert XAI.decode_list(incoming(200, {})) == BatchPage(batches=())


def test_a_page_with_one_that_cannot_be_read_proves_nothing() -> None:
    assert isinstance(XAI.decode_list(incoming(200, {"batches": [batch(), {}]})), Fault)
    assert isinstance(XAI.decode_list(incoming(200, b"[]")), Fault)
    assert isinstance(XAI.decode_list(incoming(404)), Fault)


def test_cancelling_is_taken_whatever_is_shown() -> None:
    shown = XAI.decode_cancel(incoming(200, batch(state(4, 4), cancel_time="2026-11-20")))
    assert isinstance(shown, ProviderBatch)
    assert shown.status == "cancelling"
    assert XAI.decode_cancel(incoming(200, b"")) is None
    assert isinstance(XAI.decode_cancel(incoming(404)), Fault)


# Results


def outcome(result: Any = None, **fields: Any) -> Any:
    entry = {"batch_request_id": f"{TAG}-1", "batch_result": result} | fields
    read = XAI.read_result(json.dumps(entry).encode(), job(), 5.0)
    assert read.custom_id == f"{TAG}-1"
    return read.outcome


@pytest.mark.parametrize("beside", [b"", b',"error":null', b',"error":{"code":0,"message":""}'])
def test_an_answer_is_passed_on_byte_for_byte(beside: bytes) -> None:
    content = chat_whole(CHAT)
    line = b'{"batch_request_id":"a-1","batch_result":{"response":{"chat_get_completion":' + content + b"}" + beside
    read = XAI.read_result(line + b"}}", job(), 5.0)
    assert isinstance(read.outcome, Answer)
    assert (read.custom_id, read.outcome.body, read.outcome.finished_at) == ("a-1", content, 5.0)


@pytest.mark.parametrize(
    ("error", "status", "passing"),
    [
        ({"code": 3, "message": "no"}, 400, False),
        ({"code": "3", "message": "no"}, 400, False),
        ({"code": 5, "message": "no"}, 404, False),
        ({"code": 8, "message": "no"}, 429, True),
        ({"code": 13, "message": "no"}, 500, True),
        ({"code": 14, "message": "no"}, 503, True),
        ({"code": 422, "message": "no"}, 422, False),
        ({"code": "rate_limited", "message": "no"}, 502, True),
        ({"code": 99, "message": "no"}, 502, True),
        ({"code": True, "message": "no"}, 502, True),
        ({"message": "no"}, 502, True),
        ("no", 502, True),
    ],
)
def test_codes_of_grpc_are_statuses_of_http(error: Any, status: int, passing: bool) -> None:
    fault = outcome({"error": error})
    assert isinstance(fault, Fault)
    assert (fault.status, fault.passing, fault.message, fault.healthy) == (status, passing, "no", True)


@pytest.mark.parametrize("code", [1, "1", "CANCELLED", "batch_cancelled"])
def test_what_was_cancelled_was_not_done(code: Any) -> None:
    assert outcome({"error": {"code": code, "message": "Cancelled."}}) is None


@pytest.mark.parametrize(
    ("result", "fields", "message"),
    [
        (None, {"error_message": "no"}, "no"),
        ({"error": {"code": 3, "message": ""}}, {"error_message": "no"}, "no"),
        (None, {}, "xAI gave neither an answer nor an error for this row."),
        ({"response": {}}, {"error_message": 7}, "xAI gave neither an answer nor an error for this row."),
        ({"response": {"chat_get_completion": None}}, {}, "xAI gave neither an answer nor an error for this row."),
    ],
)
def test_whatever_else_is_a_fault_with_words(result: Any, fields: dict[str, Any], message: str) -> None:
    fault = outcome(result, **fields)
    assert isinstance(fault, Fault)
    assert fault.message == message


@pytest.mark.parametrize("content", [{}, {"choices": 42}, "text", {"object": "response", "output": []}])
def test_an_answer_that_is_none_is_a_fault(content: Any) -> None:
    fault = outcome({"response": {"chat_get_completion": content}})
    assert isinstance(fault, Fault)
    assert fault.code == "upstream_malformed"


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"{}", b'{"batch_request_id":5}', b'{"batch_request_id":"a","batch_result":[]}', b"null"]
)
def test_an_entry_that_cannot_be_read_says_so(line: bytes) -> None:
    with pytest.raises(ValueError):  # The words are the parser's.
        XAI.read_result(line, job(), 5.0)


def test_a_page_of_results_is_cut_into_entries() -> None:
    entries = [b'{"batch_request_id":"a-0","x":"]}\\""}', b'{"batch_request_id":"a-1"}']
    reader = XAI.result_reader({})
    cut = [
        *reader.feed(b'{"results":[' + b",".join(entries)),
        *reader.feed(b'],"pagination_token":"t"}'),
        *reader.end(),
    ]
    assert (cut, reader.after) == (entries, "t")
