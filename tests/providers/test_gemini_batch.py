"""Gemini's batches as a dialect: what goes out by the letter, what comes back in every shape."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.test_job import TAG, in_doubt, job, rules, running
from tests.providers.batch_round import a_round
from tests.providers.gemini_speaking import BASE, DIALECT, KEY, ROOT, ask, dumps, incoming, reply
from tests.sandbox.speaking import ledger, switch_on

from batchway.core.errors import BadRequest, UpstreamMalformed
from batchway.core.job import BatchPage, BatchTerms, Counts, ProviderBatch, Tally, advance, custom_id, facts
from batchway.core.job.submission import blame, refuses
from batchway.core.types import Answer, Fault, Request
from batchway.ports import BatchDialect, Outgoing
from batchway.providers.gemini import GeminiBatchDialect
from batchway.providers.gemini.errors import HTTP

GOLDEN = Path(__file__).parent / "golden" / "gemini"
GEMINI = GeminiBatchDialect("gemini", BASE, KEY)
AUTH = ("x-goog-api-key", KEY)
MODEL = "gemini-3.8-flash"
NOW = 1_790_000_000.9
FILE = "files/abc-123"
RESULTS = "files/batch-ncdlxnfztvvdy7lv52g4s7ge6l385vi46eyi"


def chat(text: str = "hi", **fields: Any) -> Request:
    """A chat request that asks for a repeatable answer."""
    return ask("chat", {"model": MODEL, "messages": [{"role": "user", "content": text}], "temperature": 0} | fields)


def embedding(**fields: Any) -> Request:
    return ask("embeddings", {"model": "gemini-embedding-001", "input": "a fjord"} | fields)


def operation(state: str | None = "BATCH_STATE_PENDING", *, done: bool = False, **fields: Any) -> dict[str, Any]:
    """An operation of theirs (providers.md §5.1)."""
    metadata: dict[str, Any] = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{MODEL}",
        "displayName": TAG,
        "createTime": "2026-11-20T10:00:00.123456789Z",
        "updateTime": "2026-11-20T10:00:00.123456789Z",
        "batchStats": {"requestCount": "4", "pendingRequestCount": "4"},
        "name": "batches/xyz",
    }
    if state is not None:
        metadata["state"] = state
    metadata |= fields.pop("metadata", {})
    return {"name": "batches/xyz", "metadata": metadata} | ({"done": True} if done else {}) | fields


def ended(state: str = "BATCH_STATE_SUCCEEDED", **fields: Any) -> dict[str, Any]:
    """One that is over, with its results where it says twice that they are."""
    output = {"responsesFile": RESULTS}
    return operation(state, done=True, metadata={"output": output}, response=output, **fields)


def read_batch(said: Any) -> ProviderBatch:
    read = GEMINI.decode_batch(incoming(200, said))
    assert isinstance(read, ProviderBatch), read
    return read


def test_it_is_a_batch_dialect() -> None:
    spoken: BatchDialect = GEMINI
    expected = BatchTerms(endpoints=("chat", "embeddings"), max_requests=None, max_bytes=2_000_000_000, announces=True)
    assert spoken.terms == expected
    assert (spoken.terms.uploads, spoken.terms.tagging, spoken.terms.deletes) == (True, "listed", True)
    assert not spoken.terms.serial


# Rows going out


def goldens(endpoint: str) -> list[Any]:
    found = [(path.stem, json.loads(path.read_text())) for path in sorted(GOLDEN.glob("request_*.json"))]
    return [pytest.param(case, id=name) for name, case in found if case.get("endpoint", "chat") == endpoint]


@pytest.mark.parametrize("case", goldens("chat"))
def test_a_line_holds_the_question_of_a_direct_call(case: Any) -> None:
    asked = ask("chat", case["request"])
    direct = json.loads(DIALECT.encode(asked).body)
    if "serviceTier" in direct:
        with pytest.raises(BadRequest, match="no tiers") as caught:
            GEMINI.line(asked, "a-1")
        assert caught.value.fault.param == "service_tier"
        return
    line = GEMINI.line(asked, f"{TAG}-7")
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.dumps(json.loads(line)) == json.dumps({"key": f"{TAG}-7", "request": direct})


def test_a_text_to_embed_is_a_line_of_its_own() -> None:
    asked = embedding(input=["a fjord"], dimensions=4, task_type="RETRIEVAL_QUERY", encoding_format="float")
    assert json.loads(GEMINI.line(asked, f"{TAG}-7")) == {
        "key": f"{TAG}-7",
        "request": {
            "content": {"parts": [{"text": "a fjord"}]},
            "taskType": "RETRIEVAL_QUERY",
            "outputDimensionality": 4,
        },
    }
    assert json.loads(GEMINI.line(embedding(encoding_format="base64"), f"{TAG}-7"))["key"] == f"{TAG}-7/base64"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (chat(service_tier="flex"), "service_tier"),
        (chat(service_tier="priority"), "service_tier"),
        (chat(logit_bias={"1": 2}), "logit_bias"),
        (chat(parallel_tool_calls=False), "parallel_tool_calls"),
        (chat(nobody_knows_this=1), "nobody_knows_this"),
        (embedding(input=["a", "b"]), "input"),
        (embedding(input=[[1, 2]]), "input"),
        (embedding(user_agent="x"), "user_agent"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(asked: Request, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        GEMINI.line(asked, "a-1")
    assert (caught.value.fault.param, caught.value.fault.status) == (param, 400)
    assert param in caught.value.fault.message


def test_responses_are_not_spoken() -> None:
    with pytest.raises(BadRequest, match="does not speak responses"):
        GEMINI.line(replace(chat(), endpoint="responses"), "a-1")


@given(st.text(), st.text(), st.sampled_from([None, 1, "\t", "\r\n"]))
def test_any_text_is_one_line_of_the_same_question(text: str, title: str, indent: Any) -> None:
    schema = {"type": "object", "title": title}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"x{text}"}], "tools": [tool]}
    content = json.dumps(body, indent=indent, ensure_ascii=False).encode(errors="replace")
    line = GEMINI.line(replace(chat(), body=content), "a-1")
    assert not {b"\n", b"\r"} & {bytes([byte]) for byte in line}
    request, sent = json.loads(line)["request"], json.loads(content)
    assert request["contents"][0]["parts"][0]["text"] == sent["messages"][0]["content"]
    (declared,) = request["tools"][0]["functionDeclarations"]
    assert sent["tools"][0]["function"]["parameters"] in declared.values()


# The upload


def test_an_upload_begins_with_a_call_of_its_own() -> None:
    lines = [GEMINI.line(chat(), custom_id(TAG, position)) for position in range(3)]
    wanted = job(n=3, size=sum(map(len, lines)))
    start = GEMINI.encode_upload_start(wanted)
    upload = GEMINI.encode_upload(wanted, incoming(200, **{"x-goog-upload-url": f"{BASE}/upload/v1beta/files?u=1"}))
    body = upload.before + upload.between.join(lines) + upload.after
    assert (start.method, start.url) == ("POST", f"{BASE}/upload/v1beta/files")
    assert dict(start.headers) == {
        "content-type": "application/json",
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(body)),
        "x-goog-upload-header-content-type": "application/jsonl",
        "x-goog-api-key": KEY,
    }
    assert json.loads(start.body) == {
        "file": {"display_name": TAG, "mime_type": "application/jsonl", "size_bytes": len(body)}
    }
    assert upload.length(3, wanted.size) == len(body)
    assert body == b"\n".join(lines) + b"\n"
    assert (upload.method, dict(upload.headers)) == (
        "POST",
        {
            "content-type": "application/jsonl",
            "x-goog-upload-command": "upload, finalize",
            "x-goog-upload-offset": "0",
            "x-goog-api-key": KEY,
        },
    )


@pytest.mark.parametrize(
    "named",
    [
        f"{BASE}/upload/v1beta/files?upload_id=A%2Fb&upload_protocol=resumable",
        "https://evil.example/upload/v1beta/files?upload_id=A%2Fb&upload_protocol=resumable",
        "http://169.254.169.254/upload/v1beta/files?upload_id=A%2Fb&upload_protocol=resumable",
        "//evil.example/upload/v1beta/files?upload_id=A%2Fb&upload_protocol=resumable",
        "/upload/v1beta/files?upload_id=A%2Fb&upload_protocol=resumable",
    ],
)
def test_rows_are_uploaded_to_our_host_whatever_host_is_named(named: str) -> None:
    upload = GEMINI.encode_upload(job(), incoming(200, **{"x-goog-upload-url": named}))
    assert upload.url == f"{BASE}/upload/v1beta/files?upload_id=A%2Fb&upload_protocol=resumable"


def test_behind_a_gateway_with_a_path_of_its_own() -> None:
    behind = GeminiBatchDialect("gemini", "http://gateway.test/google", KEY)
    for host in (BASE, "http://gateway.test/google"):
        named = {"x-goog-upload-url": f"{host}/upload/v1beta/files?upload_id=7"}
        upload = behind.encode_upload(job(), incoming(200, **named))
        assert upload.url == "http://gateway.test/google/upload/v1beta/files?upload_id=7"


@pytest.mark.parametrize("named", ["@evil.example/x", ".evil.example/x", ""])
def test_no_address_leads_to_another_host(named: str) -> None:
    upload = GEMINI.encode_upload(job(), incoming(200, **{"x-goog-upload-url": named}))
    assert upload.url.startswith(f"{BASE}/")


@pytest.mark.parametrize(
    "started",
    [None, incoming(200), incoming(500), incoming(200, **{"x-goog-upload-url": "https://[evil/x"})],
)
def test_an_upload_without_an_address_is_a_fault(started: Any) -> None:
    with pytest.raises(UpstreamMalformed, match="upload"):
        GEMINI.encode_upload(job(), started)


def test_an_upload_gives_its_name_once_it_is_whole() -> None:
    whole = {"file": {"name": FILE, "state": "ACTIVE"}}
    assert GEMINI.decode_upload(incoming(200, whole)) == FILE
    assert GEMINI.decode_upload(incoming(200, whole, **{"x-goog-upload-status": "final"})) == FILE
    for answered in (
        incoming(200, whole, **{"x-goog-upload-status": "active"}),
        incoming(200, {"file": {"name": FILE, "state": "FAILED", "error": {"message": "no"}}}),
        incoming(200, {"file": {}}),
        incoming(200, {"file": "x"}),
        incoming(200, [1]),
        incoming(200, b"<html>"),
        incoming(413, b"too large"),
    ):
        assert isinstance(GEMINI.decode_upload(answered), Fault)


# Calls


@pytest.mark.parametrize(
    ("endpoint", "model", "path"),
    [
        ("chat", MODEL, f"models/{MODEL}:batchGenerateContent"),
        ("chat", "models/x", "models/x:batchGenerateContent"),
        ("chat", "tunedModels/x", "tunedModels/x:batchGenerateContent"),
        ("chat", "../x?y", "models/..%2Fx%3Fy:batchGenerateContent"),
        ("embeddings", "gemini-embedding-001", "models/gemini-embedding-001:asyncBatchEmbedContent"),
    ],
)
def test_what_is_created_carries_its_tag(endpoint: Any, model: str, path: str) -> None:
    created = GEMINI.encode_create(job(endpoint=endpoint, model=model, input_file_id=FILE))
    assert (created.method, created.url) == ("POST", f"{ROOT}/{path}")
    assert AUTH in created.headers
    assert json.loads(created.body) == {"batch": {"displayName": TAG, "inputConfig": {"fileName": FILE}}}


@pytest.mark.parametrize(
    ("outgoing", "method", "path"),
    [
        (GEMINI.encode_get("batches/xyz"), "GET", "batches/xyz"),
        (GEMINI.encode_get("batches/../files/x?y"), "GET", "batches/..%2Ffiles%2Fx%3Fy"),
        (GEMINI.encode_list(TAG, None), "GET", "batches?pageSize=100"),
        (GEMINI.encode_list(None, "t/1="), "GET", "batches?pageSize=100&pageToken=t%2F1%3D"),
        (GEMINI.encode_cancel("batches/xyz"), "POST", "batches/xyz:cancel"),
        (GEMINI.encode_results(f"{RESULTS}:download"), "GET", f"{RESULTS}:download?alt=media"),
        (
            GEMINI.encode_results("https://evil.example/x"),
            "GET",
            "files/https%3A%2F%2Fevil.example%2Fx:download?alt=media",
        ),
        (GEMINI.encode_delete(FILE), "DELETE", FILE),
    ],
)
def test_calls(outgoing: Outgoing, method: str, path: str) -> None:
    assert (outgoing.method, outgoing.url, outgoing.body) == (method, f"{ROOT}/{path}", b"")
    assert AUTH in outgoing.headers
    assert KEY not in outgoing.url


def test_the_version_and_the_base_are_as_configured() -> None:
    other = GeminiBatchDialect("gemini", "http://gateway.test/google/", None, "v1")
    assert other.encode_get("batches/x").url == "http://gateway.test/google/v1/batches/x"
    start = other.encode_upload_start(job())
    assert start.url == "http://gateway.test/google/upload/v1/files"
    assert not any(name == "x-goog-api-key" for name, _ in start.headers)


def test_results_are_not_deleted_and_rows_are() -> None:
    """failures.md #17: Google refuses to delete its own result files."""
    read = read_batch(ended())
    assert [GEMINI.encode_delete(source) for source in read.sources] == [None]
    assert GEMINI.decode_delete(incoming(200, {})) is None
    assert GEMINI.decode_delete(incoming(404)) is None
    assert isinstance(GEMINI.decode_delete(incoming(500)), Fault)


# Batches


def test_a_new_batch() -> None:
    assert read_batch(operation()) == ProviderBatch(
        id="batches/xyz",
        status="validating",
        said="BATCH_STATE_PENDING",
        created_at=1_795_168_800.123456,
        tag=TAG,
        counts=Counts(total=4),
    )


@pytest.mark.parametrize(
    ("state", "status", "over"),
    [
        ("BATCH_STATE_PENDING", "validating", False),
        ("BATCH_STATE_RUNNING", "running", False),
        ("BATCH_STATE_SUCCEEDED", "completed", True),
        ("BATCH_STATE_FAILED", "failed", True),
        ("BATCH_STATE_CANCELLED", "cancelled", True),
        ("BATCH_STATE_EXPIRED", "expired", True),
        ("JOB_STATE_SUCCEEDED", "completed", True),
        ("JOB_STATE_QUEUED", "validating", False),
        ("JOB_STATE_CANCELLING", "cancelling", False),
        ("JOB_STATE_PAUSED", "running", False),
        ("JOB_STATE_PARTIALLY_SUCCEEDED", "completed", True),
        ("BATCH_STATE_UNSPECIFIED", "unknown", False),
        ("BATCH_STATE_RESTING", "unknown", False),
        (7, "unknown", False),
    ],
)
def test_states(state: Any, status: str, over: bool) -> None:
    read = read_batch(operation(state))
    assert (read.status, read.over, read.said) == (status, over, state if isinstance(state, str) else "")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "unknown"),
        ({"done": False}, "unknown"),
        ({"done": True, "response": {}}, "completed"),
        ({"done": True, "error": {"code": 13}}, "failed"),
        ({"done": True, "error": {"code": 1}}, "cancelled"),
    ],
)
def test_an_operation_that_names_no_state_has_ended_or_not(fields: dict[str, Any], status: str) -> None:
    assert read_batch(operation(None) | fields).status == status


def test_results_are_named_in_either_place() -> None:
    output = {"responsesFile": RESULTS}
    for said in (
        ended(),
        operation("BATCH_STATE_SUCCEEDED", done=True, response=output),
        operation("BATCH_STATE_SUCCEEDED", done=True, metadata={"output": output}),
        operation("BATCH_STATE_SUCCEEDED", metadata={"output": output | {"odd": 1}}, response={"responsesFile": ""}),
    ):
        assert read_batch(said).sources == (f"{RESULTS}:download",)
    for said in (
        operation("BATCH_STATE_SUCCEEDED", done=True),
        operation("BATCH_STATE_SUCCEEDED", metadata={"output": {"responsesFile": ""}}, response=[]),
        operation("BATCH_STATE_SUCCEEDED", metadata={"output": {"inlinedResponses": {}}}),
    ):
        assert read_batch(said).sources == ()


@pytest.mark.parametrize(
    ("stats", "counts"),
    [
        ({}, Counts()),
        (
            {"requestCount": "10", "successfulRequestCount": "6", "failedRequestCount": 1},
            Counts(total=10, completed=6, failed=1),
        ),
        ({"requestCount": "many", "successfulRequestCount": "-1", "failedRequestCount": "1" * 30}, Counts()),
        (None, None),
        ([], None),
    ],
)
def test_counts_come_as_texts_and_zeros_not_at_all(stats: Any, counts: Any) -> None:
    assert read_batch(operation(metadata={"batchStats": stats})).counts == counts


@pytest.mark.parametrize(
    ("code", "word"), [(3, "invalid_request"), (8, "token_limit_exceeded"), (13, None), (None, None), ("x", None)]
)
def test_why_it_failed(code: Any, word: str | None) -> None:
    (problem,) = read_batch(operation("BATCH_STATE_FAILED", done=True, error={"code": code, "message": "No."})).problems
    assert (problem.code, problem.message, problem.line) == (word, "No.", None)
    assert read_batch(operation("BATCH_STATE_FAILED", error="no")).problems == ()
    assert read_batch(operation("BATCH_STATE_FAILED", error={})).problems[0].message


def test_fields_of_other_types_are_as_if_absent() -> None:
    odd = operation(metadata={"createTime": 5, "displayName": [], "state": None, "output": "x", "batchStats": 1})
    assert read_batch(odd) == ProviderBatch(id="batches/xyz", status="unknown", said="")
    assert read_batch({"name": "batches/x", "metadata": 7}) == ProviderBatch(id="batches/x", status="unknown", said="")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"name":""}', b'{"name":7}', b"<html>", b'{"error":{"code":500,"message":"x"}}']
)
def test_what_is_no_operation_is_an_unknown_outcome(body: bytes) -> None:
    read = GEMINI.decode_batch(incoming(200, body))
    assert isinstance(read, Fault)
    assert (read.status, read.code, read.billed) == (502, "upstream_malformed", "unknown")
    assert not refuses(read)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ([9, 5, 5, 1], True),
        ([1, 5, 9], False),
        ([9, 1, 5], False),
        ([5, 5, 5], False),
        ([9], False),
        ([9, None, 5], False),
        ([], False),
    ],
)
def test_times_end_a_listing_early_only_where_the_newest_come_first(seconds: list[Any], shown: bool) -> None:
    """Nobody says that they do: a batch on a later page must not be taken for one that is not there."""
    times = [None if second is None else f"2026-11-20T10:00:0{second}Z" for second in seconds]
    listed = [operation(metadata={"createTime": time}) for time in times]
    read = GEMINI.decode_list(incoming(200, {"operations": listed}))
    assert isinstance(read, BatchPage)
    assert [each.created_at is not None for each in read.batches] == [shown] * len(seconds)


def test_a_listing_goes_on_while_there_is_a_token() -> None:
    page = {"operations": [operation(), operation() | {"name": "batches/b"}], "nextPageToken": "t"}
    read = GEMINI.decode_list(incoming(200, page))
    assert isinstance(read, BatchPage)
    assert ([each.tag for each in read.batches], read.after) == ([TAG, TAG], "t")
    ends: list[dict[str, Any]] = [{}, {"operations": []}, {"nextPageToken": ""}]
    for last in ends:
        read = GEMINI.decode_list(incoming(200, last))
        assert isinstance(read, BatchPage)
        assert (read.batches, read.after) == ((), None)
    for wrong in (incoming(200, {"operations": [operation(), {}]}), incoming(200, [1]), incoming(503)):
        assert isinstance(GEMINI.decode_list(wrong), Fault)


def test_cancelling_shows_no_batch() -> None:
    assert GEMINI.decode_cancel(incoming(200, {})) is None
    assert isinstance(GEMINI.decode_cancel(incoming(400, {})), Fault)


def refused(code: int, status: str, message: str = "No.", **detail: Any) -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.X", **detail}] if detail else []
    return {"error": {"code": code, "message": message, "status": status, "details": details}}


LOST = "You do not have permission to access the File abc-123 or it may not exist."


@pytest.mark.parametrize(
    ("status", "said", "about"),
    [
        (400, refused(400, "INVALID_ARGUMENT"), "rows"),
        (400, refused(400, "INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID"), "account"),
        (401, refused(401, "UNAUTHENTICATED"), "account"),
        (403, refused(403, "PERMISSION_DENIED"), "account"),
        (403, refused(403, "PERMISSION_DENIED", LOST), "file"),
        (404, refused(404, "NOT_FOUND", f"File {FILE} not found"), "file"),
        (404, refused(404, "NOT_FOUND", "models/x is not supported for batchGenerateContent"), "lane"),
        (413, b"Request Entity Too Large", "size"),
        (429, refused(429, "RESOURCE_EXHAUSTED", retryDelay="17s"), "load"),
        (429, refused(429, "RESOURCE_EXHAUSTED", violations=[{"quotaId": "BatchPerDayPerProject"}]), "account"),
        (503, refused(503, "UNAVAILABLE"), "load"),
    ],
)
def test_a_refused_create_says_what_it_is_about(status: int, said: Any, about: str) -> None:
    fault = GEMINI.decode_batch(incoming(status, said))
    assert isinstance(fault, Fault)
    assert blame(fault, job(input_file_id=FILE)) == about
    assert refuses(fault) is (status < 500)
    assert bool(fault.message)


# Results


def read_line(line: bytes, **fields: Any) -> Any:
    read = GEMINI.read_result(line, job(model=MODEL, **fields), NOW)
    assert read.custom_id == f"{TAG}-1"
    return read.outcome


def outcome(key: str = f"{TAG}-1", endpoint: Any = "chat", **said: Any) -> Any:
    return read_line(dumps({"key": key, **said}), endpoint=endpoint)


@pytest.mark.parametrize("case", [pytest.param(p, id=p.stem) for p in sorted(GOLDEN.glob("answer_*.json"))])
def test_a_response_is_the_answer_of_a_direct_call(case: Path) -> None:
    told = json.loads(case.read_text())
    asked = ask("chat", told["request"], ask=f"{TAG}-1")
    direct = DIALECT.decode(asked, incoming(200, told["reply"]), NOW)
    assert isinstance(direct, Answer)
    assert outcome(response=told["reply"]) == direct


def test_usage_is_exact() -> None:
    usage = {
        "promptTokenCount": 9,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 3,
        "totalTokenCount": 17,
    }
    read = outcome(response=reply({"text": "Hi."}) | {"usageMetadata": usage})
    assert isinstance(read, Answer)
    assert read.usage is not None
    assert (read.usage.input, read.usage.output, read.usage.cached, read.usage.reasoning) == (9, 8, 4, 3)
    assert (read.usage.tier, read.finished_at, read.complete) == (None, NOW, True)
    assert (json.loads(read.body)["created"], json.loads(read.body)["model"]) == (int(NOW), "m-001")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f"{TAG}-1", {"tokenCount": 5}),
        (f"{TAG}-1", {"tokenCount": "5"}),
        (f"{TAG}-1", {"usageMetadata": {"promptTokenCount": 5}, "tokenCount": 1}),
        (f"{TAG}-1/base64", {"tokenCount": 5}),
        (f"{TAG}-1", {}),
    ],
)
def test_a_vector_is_a_list_of_one(key: str, said: dict[str, Any]) -> None:
    read = outcome(key, endpoint="embeddings", response={"embedding": {"values": [0.5, -1]}} | said)
    assert isinstance(read, Answer)
    listed = json.loads(read.body)
    (vector,) = listed["data"]
    if key.endswith("base64"):
        assert struct.unpack("<2f", base64.b64decode(vector["embedding"])) == (0.5, -1.0)
    else:
        assert vector["embedding"] == [0.5, -1]
    assert (listed["object"], vector["index"], listed["model"]) == ("list", 0, MODEL)
    assert listed.get("usage") == ({"prompt_tokens": 5, "total_tokens": 5} if said else None)


@pytest.mark.parametrize("code", sorted(HTTP))
def test_an_error_is_a_fault_in_googles_words(code: int) -> None:
    fault = outcome(error={"code": code, "message": f"No: {KEY}."})
    if code == 1:
        assert fault is None, "the row was not done"
        return
    assert isinstance(fault, Fault)
    assert (fault.status, fault.message, fault.healthy, fault.billed) == (HTTP[code], "No: [key].", True, "no")
    assert fault.passing is (HTTP[code] in (429, 500, 503, 504))


def test_other_names_and_codes_of_errors() -> None:
    assert outcome(error={"code": 429, "message": "slow"}).status == 429
    assert outcome(status={"code": 3, "message": "bad"}).status == 400
    assert outcome(error={"message": "odd"}).status == 500
    assert outcome(error="odd").message == "odd"
    assert outcome(response=None, error={"code": 3, "message": "bad"}).status == 400


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({}, "upstream_malformed"),
        ([], "upstream_malformed"),
        ("text", "upstream_malformed"),
        ({"candidates": "none"}, "upstream_malformed"),
        ({"error": {"code": 13, "message": "inside", "status": "INTERNAL"}}, "internal"),
        (reply(end="MALFORMED_FUNCTION_CALL"), "malformed_function_call"),
    ],
)
def test_a_response_that_is_no_answer_is_no_answer(response: Any, code: str) -> None:
    fault = outcome(response=response)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.healthy) == (code, True)


@pytest.mark.parametrize("response", [{}, {"embedding": 5}, {"embedding": {"values": ["x"]}}, {"candidates": []}])
def test_a_vector_that_is_none_is_no_answer(response: Any) -> None:
    fault = outcome(endpoint="embeddings", response=response)
    assert isinstance(fault, Fault)
    assert fault.code == "upstream_malformed"


@pytest.mark.parametrize("said", [{}, {"response": None}, {"error": None}])
def test_neither_an_answer_nor_an_error_is_a_fault_that_may_pass(said: dict[str, Any]) -> None:
    fault = outcome(**said)
    assert isinstance(fault, Fault)
    assert (fault.passing, fault.healthy, fault.billed) == (True, True, "unknown")


def test_an_answer_with_broken_or_odd_text_is_kept() -> None:
    line = dumps({"key": f"{TAG}-1", "response": reply({"text": "a\u2028b\u2029c\u0085d HERE"})})
    read = read_line(line.replace(b"HERE", b"\xff"))
    assert isinstance(read, Answer)
    assert json.loads(read.body)["choices"][0]["message"]["content"] == "a\u2028b\u2029c\u0085d \ufffd"


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"key":5}', b'{"response":{"candidates":[]}}'])
def test_a_line_that_cannot_be_read_or_has_no_key_says_so(line: bytes) -> None:
    """Its place in the file says nothing about whose it is (failures.md #42)."""
    with pytest.raises(ValueError):  # The words are the parser's.
        GEMINI.read_result(line, job(), NOW)


# What it means for a job


def test_a_lost_create_call_is_found_by_its_name() -> None:
    page = GEMINI.decode_list(
        incoming(200, {"operations": [operation(metadata={"displayName": "other"}), operation()]})
    )
    assert isinstance(page, BatchPage)
    adopted, _ = advance(in_doubt(), facts.Listed(batches=page.batches, complete=True), 1100.0, rules())
    assert (adopted.state, adopted.provider_batch_id, adopted.proven) == ("submitted", "batches/xyz", True)


def test_results_with_errors_are_read_at_once() -> None:
    """Errors are lines of the same file: no second one is waited for."""
    stats = {"batchStats": {"requestCount": "4", "successfulRequestCount": "2", "failedRequestCount": "2"}}
    output = {"output": {"responsesFile": RESULTS}}
    over = read_batch(operation("BATCH_STATE_SUCCEEDED", done=True, metadata=stats | output))
    after, (wanted,) = advance(running(provider_batch_id="batches/xyz"), facts.Polled(over), 1200.0, rules())
    assert (after.state, getattr(wanted, "sources", None)) == ("ingesting", (f"{RESULTS}:download",))


@pytest.mark.parametrize("state", ["EXPIRED", "CANCELLED"])
def test_an_end_without_results_sends_everything_again(state: str) -> None:
    over = read_batch(operation(f"BATCH_STATE_{state}", done=True, error={"code": 4, "message": "too late"}))
    at = running(provider_batch_id="batches/xyz")
    for _ in range(rules().policy.files_grace):
        at, wanted = advance(at, facts.Polled(over), 1200.0, rules())
        assert wanted == ()
    after, wanted = advance(at, facts.Polled(over), 1200.0, rules())
    assert after.state == "closing"
    assert type(wanted[0]).__name__ == "Requeue"


# There and back, over real HTTP

QUESTIONS = [chat(f"Ask {number}: ünï\u2028cöde") for number in range(4)]


def words(body: bytes) -> Any:
    """What an answer says, whatever it is called and whenever it was made."""
    read = json.loads(body)
    return [choice["message"]["content"] for choice in read["choices"]], read["usage"], read["model"]


async def test_a_life() -> None:
    async with a_round("gemini") as at:
        wanted, made = await at.submit(QUESTIONS)
        assert (made.status, made.tag, made.over) == ("validating", TAG, False)
        assert [(batch.id, batch.tag) for batch in await at.listed()] == [(made.id, TAG)]
        half = await at.poll(made, 60)
        assert (half.status, half.counts) == ("running", Counts(total=4, completed=2))
        over = await at.poll(made, 200)
        assert (over.status, over.counts) == ("completed", Counts(total=4, completed=4))
        answers = await at.answers(over, wanted)
        assert {position: words(body) for position, body in answers.items()} == {
            position: words(await at.asked(question)) for position, question in enumerate(QUESTIONS)
        }
        view = await ledger(at.world.http, lane="batch")
        usages = [json.loads(body)["usage"] for body in answers.values()]
        assert view["totals"]["completed"] == 4
        assert view["totals"]["input"] == sum(usage["prompt_tokens"] for usage in usages)
        assert view["totals"]["output"] == sum(usage["completion_tokens"] for usage in usages)
        deleting = at.batches.encode_delete(str(wanted.input_file_id))
        assert deleting is not None
        assert at.batches.decode_delete(await at.send(deleting)) is None
        assert isinstance(at.batches.decode_delete(await at.send(deleting)), Fault) is False, "gone is deleted"


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_vectors(form: str) -> None:
    questions = [embedding(input=f"text {number}", encoding_format=form, dimensions=8) for number in range(3)]
    async with a_round("gemini") as at:
        wanted, made = await at.submit(questions, endpoint="embeddings")
        answers = await at.answers(await at.poll(made, 200), wanted)
        for position, question in enumerate(questions):
            assert json.loads(answers[position]) == json.loads(await at.asked(question))
        assert (await ledger(at.world.http, lane="batch", endpoint="embeddings"))["totals"]["completed"] == 3


async def test_each_result_has_its_meaning_in_any_order() -> None:
    async with a_round("gemini") as at:
        await switch_on(
            at.world.http,
            {"kind": "lines_fail", "status": 400, "message": "Bad."},
            {"kind": "lines_fail", "after": 1, "status": 503, "message": "Busy."},
            {"kind": "lines_doubled", "after": 2},
            {"kind": "ghost_lines", "after": 2},
            {"kind": "odd_separators", "after": 2, "lines": None},
            {"kind": "lines_reversed"},
        )
        wanted, made = await at.submit(QUESTIONS)
        over = await at.poll(made, 200)
        assert (over.status, over.counts) == ("completed", Counts(total=4, completed=2, failed=2))
        results = await at.results(over, wanted)
        assert [result.custom_id for result in results][-2:] == [f"{TAG}-1", f"{TAG}-0"]
        tally = Tally(wanted, last=False)
        meant = [tally.take(result)[0] for result in results]
        assert sorted(meant) == ["ghost", "open", "settles", "settles", "settles", "settles"]
        faults = {result.outcome.message: result.outcome for result in results if isinstance(result.outcome, Fault)}
        assert {message: fault.passing for message, fault in faults.items()} == {"Bad.": False, "Busy.": True}
        assert tally.ingested(done=2, failed=1).seen == 4
        answers = [result.outcome for result in results if isinstance(result.outcome, Answer)]
        assert all("\u2028" in words(answer.body)[0][0] for answer in answers)


@pytest.mark.parametrize("rule", ["cancel", {"kind": "batch_ends", "state": "expired", "lines": 2}])
async def test_what_does_not_succeed_has_no_results(rule: Any) -> None:
    async with a_round("gemini") as at:
        if isinstance(rule, dict):
            await switch_on(at.world.http, rule)
        _, made = await at.submit(QUESTIONS)
        await at.poll(made, 40)
        if rule == "cancel":
            assert at.batches.decode_cancel(await at.send(at.batches.encode_cancel(made.id))) is None
            again = at.batches.decode_cancel(await at.send(at.batches.encode_cancel("batches/none")))
            assert isinstance(again, Fault)
        over = await at.poll(made, 200)
        assert (over.status, over.sources) == ("cancelled" if rule == "cancel" else "expired", ())


async def test_what_is_refused_and_what_is_gone() -> None:
    async with a_round("gemini") as at:
        wanted, _ = await at.submit(QUESTIONS)
        lost = at.batches.decode_batch(await at.send(_create(at.batches, replace(wanted, input_file_id="files/gone"))))
        assert isinstance(lost, Fault)
        assert (lost.status, blame(lost, replace(wanted, input_file_id="files/gone"))) == (404, "file")
        absent = at.batches.decode_batch(await at.send(_create(at.batches, replace(wanted, model="does-not-exist"))))
        assert isinstance(absent, Fault)
        assert blame(absent, wanted) == "lane"
        await at.world.http.patch("/sandbox/offers", json={"gemini": {"live_batches": 1}})
        full = at.batches.decode_batch(await at.send(_create(at.batches, wanted)))
        assert isinstance(full, Fault)
        assert blame(full, wanted) == "load"
        for outgoing in (at.batches.encode_get("batches/x/../.."), at.batches.encode_cancel("batches/x")):
            gone = at.batches.decode_batch(await at.send(outgoing))
            assert isinstance(gone, Fault)
            assert gone.status == 404
        for results in ("files/none:download", str(wanted.input_file_id)):
            answer = await at.send(at.batches.encode_results(results, None))
            assert answer.status >= 400
            assert at.batches.fault(answer).status in (400, 404)


def _create(spoken: BatchDialect, wanted: Any) -> Outgoing:
    created = spoken.encode_create(wanted)
    assert isinstance(created, Outgoing)
    return created


async def test_a_file_that_is_wrong_fails_as_a_whole() -> None:
    async with a_round("gemini") as at:
        line = b'{"key":"a","request":7'
        wanted = job(n=1, size=len(line), model=MODEL)
        wanted = replace(wanted, input_file_id=await at.upload(wanted, [line]))
        made = at.batches.decode_batch(await at.send(_create(at.batches, wanted)))
        assert isinstance(made, ProviderBatch)
        over = await at.poll(made, 20)
        assert (over.status, [problem.code for problem in over.problems]) == ("failed", ["invalid_request"])


async def test_listings_go_on_page_by_page() -> None:
    async with a_round("gemini", offers={}) as at:
        wanted, first = await at.submit([chat()])
        for _ in range(100):
            at.world.move(200)  # What has ended costs the sandbox nothing more.
            await at.send(_create(at.batches, wanted))
        listed = [each.id for each in await at.listed()]
        assert (len(listed), listed[-1]) == (101, first.id)


async def test_a_wrong_key_is_told() -> None:
    async with a_round("gemini", keys=["another"]) as at:
        fault = at.batches.decode_list(await at.send(at.batches.encode_list(None, None)))
        assert isinstance(fault, Fault)
        assert (fault.status, fault.code, blame(fault, job())) == (401, "api_key_invalid", "account")
