"""The OpenAI dialect of batches: what goes out by the letter, what comes back in every shape that was seen."""

import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.asking import request
from tests.core.test_job import TAG, job
from tests.wire.simulated import chat_whole, vectors

from batchway.core.job import LONGEST_ID, BatchPage, Counts, Problem, ProviderBatch, custom_id
from batchway.core.job.forming import FRAMING
from batchway.core.types import Answer, Fault
from batchway.ports import BatchDialect, Incoming, Outgoing
from batchway.providers.batch_forms import BATCH_FORMS
from batchway.providers.json_lines import LineCutter
from batchway.providers.openai_batch import OpenAIBatchDialect

KEY = "sk-proj-SECRET0123456789"
AUTH = ("authorization", f"Bearer {KEY}")
JSON = ("content-type", "application/json")
OPENAI = OpenAIBatchDialect("openai", "https://api.openai.com/v1/", KEY, BATCH_FORMS["openai"])
GENERIC = OpenAIBatchDialect("mine", "http://localhost:8000/v1", None, BATCH_FORMS["generic"])
DOUBLEWORD = OpenAIBatchDialect("doubleword", "https://api.doubleword.ai/v1", KEY, BATCH_FORMS["doubleword"])
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def incoming(status: int, content: Any = b"", **headers: str) -> Incoming:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Incoming(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=body)


def batch(**fields: Any) -> dict[str, Any]:
    """A batch object as OpenAI's (providers.md §3.3)."""
    return {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": None,
        "errors": None,
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": 1_790_000_000,
        "expires_at": 1_790_086_400,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": {"batchway": TAG},
    } | fields


def read_batch(said: Any, dialect: OpenAIBatchDialect = OPENAI) -> ProviderBatch:
    read = dialect.decode_batch(incoming(200, said))
    assert isinstance(read, ProviderBatch), read
    return read


def test_it_is_a_batch_dialect() -> None:
    dialect: BatchDialect = OPENAI
    assert dialect.terms is BATCH_FORMS["openai"].terms


# Rows going out


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [("chat", "/v1/chat/completions"), ("embeddings", "/v1/embeddings"), ("responses", "/v1/responses")],
)
def test_a_line_holds_the_body_as_it_is(endpoint: Any, url: str) -> None:
    body = b'{"model":"m" ,\r\n "x":[1.50,1e5,"\\u2028\xe2\x80\xa8\\n"]}'
    line = OPENAI.line(request(endpoint=endpoint, body=body), f"{TAG}-7")
    start = f'{{"custom_id":"{TAG}-7","method":"POST","url":"{url}","body":'.encode()
    assert line == start + body.replace(b"\r\n", b"  ") + b"}"


@pytest.mark.parametrize("body", [b"{}", b'{"model":"m" ,\r\n "x":[1.50]}', b'{"stream":true,"x":"\xc3\xbc"}'])
def test_a_row_is_measured_without_being_written(body: bytes) -> None:
    asked = request(body=body)
    assert 0 <= OPENAI.measure(asked) - len(OPENAI.line(asked, LONGEST_ID)) <= FRAMING


def test_a_line_does_not_stream() -> None:
    body = b'{"model":"m","stream":true,"x":1.50,"stream_options":{"include_usage":true},"y":"\\"stream\\""}'
    line = OPENAI.line(request(body=body), "a-1")
    assert line.endswith(b'"body":{"model":"m","x":1.50,"y":"\\"stream\\""}}')


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none()), st.sampled_from([None, 1, "\t"]))
def test_any_body_is_one_line_of_the_same_json(content: dict[str, Any], indent: Any) -> None:
    content.pop("stream", None)
    content.pop("stream_options", None)
    body = json.dumps(content, indent=indent, ensure_ascii=False).encode(errors="replace")
    line = OPENAI.line(request(body=body), "a-1")
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["body"] == json.loads(body)


def test_the_upload_is_a_form_with_the_purpose_first() -> None:
    lines = [OPENAI.line(request(), custom_id(TAG, position)) for position in range(3)]
    upload = OPENAI.encode_upload(job())
    body = upload.before + upload.between.join(lines) + upload.after
    assert (upload.method, upload.url) == ("POST", "https://api.openai.com/v1/files")
    assert AUTH in upload.headers
    assert upload.length(3, sum(map(len, lines))) == len(body)
    head = f"content-type: {dict(upload.headers)['content-type']}\r\n\r\n".encode()
    purpose, file = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
    assert (purpose.get_param("name", header="content-disposition"), purpose.get_content()) == ("purpose", "batch")
    assert (file.get_param("name", header="content-disposition"), file.get_filename()) == ("file", f"{TAG}.jsonl")
    assert file.get_content() == b"\n".join(lines) + b"\n"


def test_what_is_created_carries_its_tag() -> None:
    created = OPENAI.encode_create(job(input_file_id="file-1"))
    assert isinstance(created, Outgoing)
    assert (created.method, created.url, created.headers) == (
        "POST",
        "https://api.openai.com/v1/batches",
        (JSON, AUTH),
    )
    assert json.loads(created.body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"batchway": TAG},
    }


@pytest.mark.parametrize(
    ("outgoing", "method", "path"),
    [
        (OPENAI.encode_get("batch_1"), "GET", "/batches/batch_1"),
        (OPENAI.encode_get("../files?x"), "GET", "/batches/..%2Ffiles%3Fx"),
        (OPENAI.encode_list(TAG, None), "GET", "/batches?limit=100"),
        (OPENAI.encode_list(None, "batch_9"), "GET", "/batches?limit=100&after=batch_9"),
        (OPENAI.encode_cancel("batch_1"), "POST", "/batches/batch_1/cancel"),
        (OPENAI.encode_results("file-2"), "GET", "/files/file-2/content"),
        (OPENAI.encode_delete("file-1"), "DELETE", "/files/file-1"),
    ],
)
def test_calls(outgoing: Outgoing, method: str, path: str) -> None:
    assert (outgoing.method, outgoing.url) == (method, "https://api.openai.com/v1" + path)
    assert AUTH in outgoing.headers
    assert outgoing.body == b""


def test_without_a_key_none_is_sent() -> None:
    sent = (GENERIC.encode_create(job()).headers, GENERIC.encode_upload(job()).headers)
    assert not any(name == "authorization" for headers in sent for name, _ in headers)


def test_a_provider_that_cannot_page_is_asked_without_parameters() -> None:
    groq = OpenAIBatchDialect("groq", "https://api.groq.com/openai/v1", KEY, BATCH_FORMS["groq"])
    assert groq.encode_list(TAG, None).url == "https://api.groq.com/openai/v1/batches"


@pytest.mark.parametrize(
    ("name", "asked", "sold"),
    [
        ("openai", "1h", "24h"),
        ("generic", "1h", "1h"),
        ("doubleword", "1h", "1h"),
        ("doubleword", "48h", "24h"),
        ("doubleword", "background", "background"),
        ("deepinfra", "7d", "24h"),
        ("groq", "48h", "7d"),
    ],
)
def test_windows(name: str, asked: str, sold: str) -> None:
    assert BATCH_FORMS[name].terms.window(asked) == sold


# Batches


def test_a_new_batch() -> None:
    assert read_batch(batch()) == ProviderBatch(
        id="batch_1",
        status="validating",
        said="validating",
        created_at=1_790_000_000.0,
        tag=TAG,
        counts=Counts(),
        expires_at=1_790_086_400.0,
    )


@pytest.mark.parametrize(
    ("said", "status", "over"),
    [
        ("validating", "validating", False),
        ("in_progress", "running", False),
        ("finalizing", "finalizing", False),
        ("cancelling", "cancelling", False),
        ("completed", "completed", True),
        ("failed", "failed", True),
        ("expired", "expired", True),
        ("cancelled", "cancelled", True),
        ("canceled", "cancelled", True),
        ("COMPLETED", "completed", True),
        ("PartiallyCompleted", "unknown", False),
        ("", "unknown", False),
        (None, "unknown", False),
        (7, "unknown", False),
    ],
)
def test_states(said: Any, status: str, over: bool) -> None:
    read = read_batch(batch(status=said))
    assert (read.status, read.over, read.said) == (status, over, said if isinstance(said, str) else "")


def test_a_finished_batch_names_its_files_and_an_empty_name_is_none() -> None:
    ended = batch(status="completed", output_file_id="out", error_file_id="", request_counts={"total": 3, "failed": 1})
    read = read_batch(ended)
    assert (read.sources, read.counts) == (("out",), Counts(total=3, completed=0, failed=1))
    assert read_batch(batch(output_file_id="out", error_file_id="err")).sources == ("out", "err")


def test_a_file_that_shows_early_is_read_where_that_is_so() -> None:
    early = batch(status="in_progress", output_file_id="out")
    assert not read_batch(early).readable
    assert read_batch(early, GENERIC).readable
    assert not read_batch(batch(status="in_progress"), GENERIC).readable


@pytest.mark.parametrize(
    ("counts", "sources"),
    [
        ({"total": 0, "completed": 0, "failed": 0}, ("out", "err")),  # Who does not count is believed.
        (None, ("out", "err")),
        ({"total": 4, "completed": 0, "failed": 0}, ()),
        ({"total": 4, "completed": 1, "failed": 0}, ("out",)),
        ({"total": 4, "completed": 0, "failed": 1}, ("err",)),
        ({"total": 4, "completed": 3, "failed": 1}, ("out", "err")),
    ],
)
def test_files_that_are_named_at_creation_are_there_when_something_is_counted_for_them(
    counts: Any, sources: tuple[str, ...]
) -> None:
    named = batch(status="in_progress", output_file_id="out", error_file_id="err", request_counts=counts)
    assert read_batch(named, DOUBLEWORD).sources == sources
    assert read_batch(named).sources == ("out", "err")


@pytest.mark.parametrize(
    ("headers", "lines", "after"),
    [
        ({"x-incomplete": "true", "x-last-line": "100"}, 100, "100"),
        ({"x-incomplete": "true", "x-last-line": "301"}, 101, "301"),
        ({"x-incomplete": "true", "x-last-line": "99"}, 99, None),
        ({"x-incomplete": "true", "x-last-line": "5000"}, 5_000, None),
        ({"x-incomplete": "true", "x-last-line": "100"}, 0, None),
        ({"x-incomplete": "true"}, 100, None),
        ({"x-incomplete": "false", "x-last-line": "100"}, 100, None),
        ({}, 100, None),
    ],
)
def test_after_a_full_page_the_rest_is_asked_for(headers: dict[str, str], lines: int, after: str | None) -> None:
    reader = DOUBLEWORD.result_reader(headers)
    assert len([*reader.feed(b'{"a":1}\n\n' * lines), *reader.feed(b" \n"), *reader.end()]) == lines
    assert reader.after == after


def test_the_rest_is_asked_for_by_either_name() -> None:
    url = DOUBLEWORD.encode_results("file-2", "100").url
    assert url == "https://api.doubleword.ai/v1/files/file-2/content?skip=100&offset=100"


@pytest.mark.parametrize(
    ("errors", "problems"),
    [
        (None, ()),
        ({"object": "list", "data": None}, ()),
        ("no", ()),
        (
            {
                "data": [
                    {
                        "code": "token_limit_exceeded",
                        "message": "Enqueued token limit reached for m in organization o. Limit: 2,000,000 enqueued"
                        " tokens. Please try again once some in_progress batches have been completed.",
                        "line": None,
                        "param": None,
                    }
                ]
            },
            (("token_limit_exceeded", None, 2_000_000),),
        ),
        ({"data": [{"code": "invalid_json_line", "message": "bad", "line": 3}]}, (("invalid_json_line", 3, None),)),
        ([{"message": "x", "line": -1}, "?", {}], ((None, None, None), (None, None, None))),
    ],
)
def test_reasons(errors: Any, problems: Any) -> None:
    read: tuple[Problem, ...] = read_batch(batch(errors=errors)).problems
    assert tuple((problem.code, problem.line, problem.limit) for problem in read) == problems
    assert all(problem.message for problem in read)


def test_fields_of_other_types_are_as_if_absent() -> None:
    odd = batch(created_at="2026-11-20", expires_at=None, request_counts=[], metadata="x", output_file_id=5)
    read = read_batch(odd)
    assert (read.created_at, read.expires_at, read.counts, read.tag, read.sources) == (None, None, None, None, ())
    assert read_batch({"id": "b"}) == ProviderBatch(id="b", status="unknown", said="")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"id":""}', b'{"id":7}', b"<html>", b'{"error":{"message":"x"}}']
)
def test_what_is_no_batch_is_an_unknown_outcome(body: bytes) -> None:
    read = OPENAI.decode_batch(incoming(200, body))
    assert isinstance(read, Fault)
    assert (read.status, read.code, read.billed) == (502, "upstream_malformed", "unknown")


def test_a_refusal_keeps_its_status_words_and_wait() -> None:
    refused = {"error": {"message": f"slow down {KEY}", "type": "requests", "param": None, "code": "rate"}}
    read = OPENAI.decode_batch(incoming(429, refused, retry_after="7"))
    assert isinstance(read, Fault)
    assert (read.status, read.message, read.code, read.retry_after) == (429, "slow down [key]", "rate", 7.0)


def test_an_upload_gives_its_id() -> None:
    assert OPENAI.decode_upload(incoming(200, {"id": "file-1", "object": "file"})) == "file-1"
    for answered in (incoming(200, b"{}"), incoming(413, b"too large")):
        assert isinstance(OPENAI.decode_upload(answered), Fault)


def test_pages_go_on_while_there_is_more() -> None:
    page = {"object": "list", "data": [batch(), batch(id="batch_2", metadata=None)], "has_more": True}
    read = OPENAI.decode_list(incoming(200, page | {"last_id": "batch_2"}))
    assert isinstance(read, BatchPage)
    assert ([each.tag for each in read.batches], read.after) == ([TAG, None], "batch_2")
    for more, after in (({"has_more": True}, "batch_2"), ({"has_more": False}, None), ({"has_more": None}, None)):
        read = OPENAI.decode_list(incoming(200, page | more))
        assert isinstance(read, BatchPage)
        assert read.after == after
    assert OPENAI.decode_list(incoming(200, {"data": [], "has_more": True})) == BatchPage(batches=())


def test_a_page_with_one_that_cannot_be_read_proves_nothing() -> None:
    assert isinstance(OPENAI.decode_list(incoming(200, {"data": [batch(), {}]})), Fault)
    assert isinstance(OPENAI.decode_list(incoming(404)), Fault)


def test_cancelling() -> None:
    shown = OPENAI.decode_cancel(incoming(200, batch(status="cancelling")))
    assert isinstance(shown, ProviderBatch)
    assert shown.status == "cancelling"
    assert OPENAI.decode_cancel(incoming(200, b"{}")) is None
    assert isinstance(OPENAI.decode_cancel(incoming(409, b"{}")), Fault)


def test_a_file_that_is_gone_is_deleted() -> None:
    assert OPENAI.decode_delete(incoming(200, {"deleted": True})) is None
    assert OPENAI.decode_delete(incoming(404)) is None
    assert isinstance(OPENAI.decode_delete(incoming(500)), Fault)


# Results


def outcome(response: Any = None, error: Any = None, endpoint: Any = "chat") -> Any:
    line = {"id": "batch_req_1", "custom_id": f"{TAG}-1", "response": response, "error": error}
    read = OPENAI.read_result(json.dumps(line).encode(), job(endpoint=endpoint), 5.0)
    assert read.custom_id == f"{TAG}-1"
    return read.outcome


@pytest.mark.parametrize(
    ("endpoint", "content"),
    [("chat", chat_whole(CHAT)), ("embeddings", vectors({"model": "text-embedding-3-small", "input": "a"}))],
)
def test_an_answer_is_passed_on_byte_for_byte(endpoint: Any, content: bytes) -> None:
    line = b'{"custom_id":"a-1","response":{"status_code":200,"request_id":"r","body":' + content + b'},"error":null}'
    read = OPENAI.read_result(line, job(endpoint=endpoint), 5.0).outcome
    assert isinstance(read, Answer)
    assert (read.body, read.finished_at, read.complete) == (content, 5.0, True)
    assert read.usage is not None


@pytest.mark.parametrize("status", [400, 429, 500])
def test_an_http_error_is_a_fault_with_the_providers_text(status: int) -> None:
    said = {"error": {"message": "no such thing", "type": "invalid_request_error", "param": "x", "code": "bad"}}
    fault = outcome({"status_code": status, "body": said})
    assert (fault.status, fault.message, fault.param, fault.code) == (status, "no such thing", "x", "bad")
    assert (fault.passing, fault.healthy) == (status != 400, True)


@pytest.mark.parametrize("code", ["batch_expired", "batch_cancelled"])
def test_a_row_that_was_not_done_has_no_outcome(code: str) -> None:
    assert outcome(None, {"code": code, "message": "This request could not be executed."}) is None


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (None, {"code": "server_error", "message": "oops"}),
        ({"status_code": 0, "body": None}, None),
        ({"status_code": 0, "body": {"error": {"message": "x"}}}, None),
        ({"status_code": 200, "body": None}, None),
        ({"status_code": None, "body": None}, None),
        ({}, None),
        (None, None),
        (None, "text"),
    ],
)
def test_whatever_else_is_a_fault_that_may_pass(response: Any, error: Any) -> None:
    fault = outcome(response, error)
    assert isinstance(fault, Fault)
    assert (fault.passing, fault.healthy, bool(fault.message)) == (True, True, True)


@pytest.mark.parametrize("body", [{}, [], "text", {"choices": "none"}])
def test_a_200_that_is_no_answer_is_no_answer(body: Any) -> None:
    fault = outcome({"status_code": 200, "body": body})
    assert isinstance(fault, Fault)
    assert fault.code == "upstream_malformed"


def test_an_answer_with_broken_text_is_kept() -> None:
    content = chat_whole(CHAT).replace(b'"finish_reason":"stop"', b'"finish_reason":"stop\xff"')
    assert b"\xff" in content
    for before in (b'"custom_id":"a-1"', b'"custom_id":"a-1","note":"\xff"'):
        line = b"{" + before + b',"response":{"status_code":200,"body":' + content + b"}}"
        read = OPENAI.read_result(line, job(), 5.0).outcome
        assert isinstance(read, Answer)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"custom_id":5}', b'{"custom_id":"a-1","response":{"sta'])
def test_a_line_that_cannot_be_read_says_so(line: bytes) -> None:
    with pytest.raises(ValueError):  # The words are the parser's.
        OPENAI.read_result(line, job(), 5.0)


# Cutting


@given(
    st.lists(st.text(st.characters(exclude_characters="\n"), min_size=1).filter(lambda text: text.strip())),
    st.booleans(),
    st.lists(st.integers(1, 9)),
)
def test_lines_are_cut_at_newlines_alone_however_they_come(lines: list[str], ends: bool, sizes: list[int]) -> None:
    sent = [line.encode(errors="replace") for line in lines]
    data = b"\n".join(sent) + (b"\n" if ends else b"")
    cutter = LineCutter()
    cut: list[bytes] = []
    for size in sizes:
        cut += cutter.feed(data[:size])
        data = data[size:]
    cut += [*cutter.feed(data), *cutter.end()]
    assert cut == [line for line in sent if line.strip()]
    assert list(cutter.end()) == []


def test_no_other_mark_cuts_a_line() -> None:
    line = 'x\u2028y\u2029z\u0085\r{"a":1}'.encode()
    assert list(LineCutter().feed(line + b"\n\n \r\n")) == [line]
