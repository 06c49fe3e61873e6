"""Anthropic's message batches as a dialect: what goes out by the letter, what comes back in every shape."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.asking import request
from tests.core.test_job import TAG, in_doubt, job, rules, running
from tests.providers.batch_round import a_round
from tests.sandbox.speaking import ledger, switch_on

from batchway.core.errors import BadRequest
from batchway.core.job import BatchPage, BatchTerms, Counts, ProviderBatch, Tally, advance, custom_id, facts
from batchway.core.job.submission import blame, refuses
from batchway.core.types import Answer, Fault, Request
from batchway.ports import BatchDialect, Incoming, Outgoing
from batchway.providers.anthropic import AnthropicBatchDialect, AnthropicDialect
from batchway.providers.openai import OpenAIDialect
from batchway.wire import chat as wire_chat

KEY = "sk-ant-api03-SECRET0123456789"
OLD, NEW = "2023-06-01", "2026-10-21"
HOST = "https://api.anthropic.com"
BATCHES = f"{HOST}/v1/messages/batches"
NOW = 1_790_000_000.9
GOLDEN = Path(__file__).parent / "golden" / "anthropic"
MODEL = "claude-sonnet-4-5"


def dialect(version: str = OLD, key: str | None = KEY, url: str = HOST) -> AnthropicBatchDialect:
    return AnthropicBatchDialect("anthropic", url, key, version, errors=OpenAIDialect("anthropic", url, key))


ANTHROPIC = dialect()


def ask(**fields: Any) -> Request:
    """A chat request, its prompt read from its body."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]} | fields
    content = json.dumps(body, ensure_ascii=False).encode()
    return replace(request(endpoint="chat", body=content), prompt=wire_chat.read(content).prompt)


def incoming(status: int, content: Any = b"", **headers: str) -> Incoming:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Incoming(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=body)


def counted(**counts: int) -> dict[str, int]:
    return dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0) | counts


def batch(**fields: Any) -> dict[str, Any]:
    """A batch object of theirs (providers.md §4)."""
    return {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counted(processing=4),
        "created_at": "2026-11-20T10:00:00.123456+00:00",
        "expires_at": "2026-11-21T10:00:00.123456Z",
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
    } | fields


def read_batch(said: Any, spoken: AnthropicBatchDialect = ANTHROPIC) -> ProviderBatch:
    read = spoken.decode_batch(incoming(200, said))
    assert isinstance(read, ProviderBatch), read
    return read


def error(kind: str, message: str = "No.", **details: Any) -> dict[str, Any]:
    said = {"type": kind, "message": message} | ({"details": details} if details else {})
    return {"type": "error", "error": said, "request_id": "req_1"}


def test_it_is_a_batch_dialect() -> None:
    spoken: BatchDialect = ANTHROPIC
    assert spoken.terms == BatchTerms(
        endpoints=("chat",),
        max_requests=100_000,
        max_bytes=255_000_000,
        one_model=False,
        uploads=False,
        tagging="results",
        deletes=False,
    )
    assert spoken.terms.serial


# Rows going out


@pytest.mark.parametrize("case", [pytest.param(p, id=p.stem) for p in sorted(GOLDEN.glob("request_*.json"))])
def test_a_line_holds_the_message_of_a_direct_call(case: Path) -> None:
    """The golden files of direct calls; only streams and the fast mode are not for batches."""
    told = json.loads(case.read_text())
    asked = request(body=json.dumps(told["chat"], indent=1).encode(), model=told["chat"]["model"])
    spoken = dialect(told["version"])
    if told["message"].get("speed") == "fast":
        with pytest.raises(BadRequest, match="fast mode") as caught:
            spoken.line(asked, "a-1")
        assert caught.value.fault.param in told["chat"]
        return
    line = spoken.line(asked, f"{TAG}-7")
    for direct_only in ("stream", "speed"):
        told["message"].pop(direct_only, None)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.dumps(json.loads(line)) == json.dumps({"custom_id": f"{TAG}-7", "params": told["message"]})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"service_tier": "fast"}, "service_tier"),
        ({"speed": "fast"}, "speed"),
        ({"speed": None, "service_tier": "fast"}, "service_tier"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"n": 2}, "n"),
        ({"seed": 1}, "seed"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temperature": 1.5}, "temperature"),
        ({"nobody_knows_this": 1}, "nobody_knows_this"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ANTHROPIC.line(ask(**fields), "a-1")
    assert (caught.value.fault.param, caught.value.fault.status) == (param, 400)
    assert param in caught.value.fault.message


def test_what_says_nothing_is_dropped() -> None:
    line = ANTHROPIC.line(ask(speed="standard", n=1, stream=True, stream_options={"include_usage": True}), "a-1")
    assert set(json.loads(line)["params"]) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize("version", [OLD, NEW])
def test_sampling_is_of_the_old_version(version: str) -> None:
    spoken = dialect(version)
    if version == OLD:
        assert json.loads(spoken.line(ask(temperature=0), "a-1"))["params"]["temperature"] == 0
    else:
        with pytest.raises(BadRequest, match="temperature: version 2026-10-21"):
            spoken.line(ask(temperature=0), "a-1")
    created = spoken.encode_create(job())
    assert ("anthropic-version", version) in created.headers


def test_embeddings_and_responses_are_not_spoken() -> None:
    for endpoint in ("embeddings", "responses"):
        with pytest.raises(BadRequest, match=endpoint):
            ANTHROPIC.line(replace(ask(), endpoint=endpoint), "a-1")


@given(st.text(), st.text(), st.sampled_from([None, 1, "\t", "\r\n"]))
def test_any_text_is_one_line_of_the_same_message(text: str, schema: str, indent: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "title": schema}}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"x{text}"}], "tools": [tool]}
    content = json.dumps(body, indent=indent, ensure_ascii=False).encode(errors="replace")
    line = ANTHROPIC.line(request(body=content), "a-1")
    assert not {b"\n", b"\r"} & {bytes([byte]) for byte in line}
    params, given_ = json.loads(line)["params"], json.loads(content)
    assert params["tools"][0]["input_schema"]["title"] == given_["tools"][0]["function"]["parameters"]["title"]
    assert _texts(params["messages"]) == given_["messages"][0]["content"]


def _texts(turns: Any) -> str:
    content = turns[0]["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def test_the_create_call_carries_the_rows() -> None:
    lines = [ANTHROPIC.line(ask(), custom_id(TAG, position)) for position in range(3)]
    created = ANTHROPIC.encode_create(job())
    assert (created.method, created.url) == ("POST", BATCHES)
    assert dict(created.headers) == {
        "content-type": "application/json",
        "anthropic-version": OLD,
        "x-api-key": KEY,
    }
    body = created.before + created.between.join(lines) + created.after
    assert len(body) == created.length(3, sum(map(len, lines)))
    assert json.loads(body) == {"requests": [json.loads(line) for line in lines]}
    assert created.length(100_000, ANTHROPIC.terms.max_bytes or 0) < 256_000_000


@pytest.mark.parametrize(
    ("outgoing", "method", "path"),
    [
        (ANTHROPIC.encode_get("msgbatch_1"), "GET", "/msgbatch_1"),
        (ANTHROPIC.encode_get("../x?y"), "GET", "/..%2Fx%3Fy"),
        (ANTHROPIC.encode_list(TAG, None), "GET", "?limit=100"),
        (ANTHROPIC.encode_list(None, "msgbatch_9"), "GET", "?limit=100&after_id=msgbatch_9"),
        (ANTHROPIC.encode_cancel("msgbatch_1"), "POST", "/msgbatch_1/cancel"),
        (ANTHROPIC.encode_results("/v1/messages/batches/msgbatch_1/results"), "GET", "/msgbatch_1/results"),
    ],
)
def test_calls(outgoing: Outgoing, method: str, path: str) -> None:
    assert (outgoing.method, outgoing.url, outgoing.body) == (method, BATCHES + path, b"")
    assert ("x-api-key", KEY) in outgoing.headers
    assert ("anthropic-version", OLD) in outgoing.headers


def test_nothing_is_uploaded_or_deleted() -> None:
    spoken: BatchDialect = ANTHROPIC
    assert spoken.encode_upload_start(job()) is None
    assert spoken.encode_delete("msgbatch_1") is None
    for call in (lambda: ANTHROPIC.encode_upload(job(), None), lambda: ANTHROPIC.decode_upload(incoming(200))):
        with pytest.raises(NotImplementedError):
            call()


def test_without_a_key_none_is_sent() -> None:
    keyless = dialect(key=None)
    for headers in (keyless.encode_create(job()).headers, keyless.encode_get("b").headers):
        assert {name for name, _ in headers} == {"content-type", "anthropic-version"}


# Batches


def test_a_new_batch() -> None:
    assert read_batch(batch()) == ProviderBatch(
        id="msgbatch_1",
        status="running",
        said="in_progress",
        created_at=1_795_168_800.123456,
        counts=Counts(total=4),
        expires_at=1_795_255_200.123456,
    )


@pytest.mark.parametrize(
    ("word", "counts", "status"),
    [
        ("in_progress", {"processing": 4}, "running"),
        ("canceling", {"processing": 4}, "cancelling"),
        ("ended", {"succeeded": 4}, "completed"),
        ("ended", {"errored": 4}, "completed"),
        ("ended", {"succeeded": 3, "errored": 1}, "completed"),
        ("ended", {"succeeded": 3, "canceled": 1}, "cancelled"),
        ("ended", {"succeeded": 3, "expired": 1}, "expired"),
        ("ended", {"canceled": 3, "expired": 1}, "cancelled"),
        ("paused", {"processing": 4}, "unknown"),
        ("", {}, "unknown"),
    ],
)
def test_states(word: str, counts: dict[str, int], status: str) -> None:
    read = read_batch(batch(processing_status=word, request_counts=counted(**counts)))
    assert (read.status, read.said, read.over) == (status, word, word == "ended")


def test_every_row_has_a_line_in_the_end() -> None:
    counts = counted(succeeded=5, errored=2, canceled=1, expired=1)
    read = read_batch(batch(processing_status="ended", request_counts=counts))
    assert read.counts == Counts(total=9, completed=5, failed=4)
    assert read_batch(batch(request_counts=None)).counts is None


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (None, None),
        ("", None),
        (7, None),
        (f"{BATCHES}/msgbatch_1/results", "/v1/messages/batches/msgbatch_1/results"),
        (f"{HOST}:443/elsewhere/x?token=a%2Fb", "/elsewhere/x?token=a%2Fb"),
        (f"{HOST.upper()}/X", "/X"),
        # Not our host: what is read is where results are documented to be.
        ("https://evil.example/v1/messages/batches/msgbatch_1/results", "/v1/messages/batches/msgbatch_1/results"),
        ("http://api.anthropic.com/x", "/v1/messages/batches/msgbatch_1/results"),
        ("https://api.anthropic.com:8443/x", "/v1/messages/batches/msgbatch_1/results"),
        ("https://api.anthropic.com@evil.example/x", "/v1/messages/batches/msgbatch_1/results"),
        ("https://api.anthropic.com.evil.example/x", "/v1/messages/batches/msgbatch_1/results"),
        ("//evil.example/x", "/v1/messages/batches/msgbatch_1/results"),
        ("https://[evil/x", "/v1/messages/batches/msgbatch_1/results"),
        ("https://api.anthropic.com:port/x", "/v1/messages/batches/msgbatch_1/results"),
        ("file:///etc/passwd", "/v1/messages/batches/msgbatch_1/results"),
        (f"{HOST}/a b", "/v1/messages/batches/msgbatch_1/results"),
        (HOST, "/v1/messages/batches/msgbatch_1/results"),
    ],
)
def test_results_are_read_at_exactly_our_host(url: Any, source: str | None) -> None:
    read = read_batch(batch(processing_status="ended", results_url=url))
    assert read.sources == ((source,) if source else ())
    if source:
        assert ANTHROPIC.encode_results(source).url == HOST + source


@pytest.mark.parametrize(
    "source", ["@evil.example/x", "https://evil.example/x", ".evil.example/", "//evil.example/x", ""]
)
def test_no_handle_leads_to_another_host(source: str) -> None:
    assert ANTHROPIC.encode_results(source).url.startswith(f"{HOST}/")


def test_behind_a_gateway_with_a_path_of_its_own() -> None:
    behind = dialect(url="http://gateway.test:8080/anthropic/")
    assert behind.encode_create(job()).url == "http://gateway.test:8080/anthropic/v1/messages/batches"
    ended = batch(processing_status="ended", results_url=f"{BATCHES}/msgbatch_1/results")
    (source,) = read_batch(ended, behind).sources
    assert behind.encode_results(source).url == (
        "http://gateway.test:8080/anthropic/v1/messages/batches/msgbatch_1/results"
    )


def test_fields_of_other_types_are_as_if_absent() -> None:
    odd = batch(created_at=7, expires_at="tomorrow", request_counts=[], results_url={}, processing_status=None)
    read = read_batch(odd)
    assert read == ProviderBatch(id="msgbatch_1", status="unknown", said="")
    assert read_batch(batch(request_counts={"processing": "4", "succeeded": True})).counts == Counts()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":""}', b'{"id":7}', b"<html>", b'{"type":"error"}'])
def test_what_is_no_batch_is_an_unknown_outcome(body: bytes) -> None:
    read = ANTHROPIC.decode_batch(incoming(200, body))
    assert isinstance(read, Fault)
    assert (read.status, read.code, read.billed) == (502, "upstream_malformed", "unknown")
    assert not refuses(read)


def test_pages_go_on_while_there_is_more() -> None:
    page = {"data": [batch(), batch(id="msgbatch_2")], "has_more": True, "first_id": "x", "last_id": "msgbatch_2"}
    read = ANTHROPIC.decode_list(incoming(200, page))
    assert isinstance(read, BatchPage)
    assert ([each.id for each in read.batches], read.after) == (["msgbatch_1", "msgbatch_2"], "msgbatch_2")
    last: list[dict[str, Any]] = [{"has_more": False}, {"has_more": None}, {"data": []}]
    for changes in last:
        read = ANTHROPIC.decode_list(incoming(200, page | changes))
        assert isinstance(read, BatchPage)
        assert read.after is None
    for wrong in (incoming(200, {"data": [batch(), {}]}), incoming(200, {}), incoming(500)):
        assert isinstance(ANTHROPIC.decode_list(wrong), Fault)


def test_cancelling() -> None:
    shown = ANTHROPIC.decode_cancel(incoming(200, batch(processing_status="canceling")))
    assert isinstance(shown, ProviderBatch)
    assert shown.status == "cancelling"
    assert ANTHROPIC.decode_cancel(incoming(200, b"{}")) is None
    assert isinstance(ANTHROPIC.decode_cancel(incoming(400, error("invalid_request_error"))), Fault)
    assert ANTHROPIC.decode_delete(incoming(404)) is None
    assert isinstance(ANTHROPIC.decode_delete(incoming(500)), Fault)


@pytest.mark.parametrize(
    ("status", "said", "about"),
    [
        (400, error("invalid_request_error", "requests.0.custom_id: String should have at most 64 characters"), "rows"),
        (400, error("invalid_request_error", error_code="organization_on_hold"), "account"),
        (400, error("invalid_request_error", error_code="workspace_human_review_disabled"), "account"),
        (401, error("authentication_error"), "account"),
        (402, error("billing_error"), "account"),
        (403, error("permission_error"), "account"),
        (404, error("not_found_error"), "lane"),
        (413, error("request_too_large"), "size"),
        (429, error("rate_limit_error"), "load"),
        (429, error("rate_limit_error", error_code="enforced_spend_limit_reached"), "account"),
        (529, error("overloaded_error"), "load"),
    ],
)
def test_a_refused_create_says_what_it_is_about(status: int, said: dict[str, Any], about: str) -> None:
    fault = ANTHROPIC.decode_batch(incoming(status, said, retry_after="7"))
    assert isinstance(fault, Fault)
    assert (fault.status, blame(fault, job()), fault.retry_after) == (status, about, 7.0)
    assert refuses(fault) is (status < 500)


# Results


def read_line(line: bytes) -> Any:
    read = ANTHROPIC.read_result(line, job(), NOW)
    assert read.custom_id == f"{TAG}-1"
    return read.outcome


def outcome(**result: Any) -> Any:
    return read_line(json.dumps({"custom_id": f"{TAG}-1", "result": result}).encode())


@pytest.mark.parametrize("case", [pytest.param(p, id=p.stem) for p in sorted(GOLDEN.glob("answer_*.json"))])
def test_a_message_is_the_answer_of_a_direct_call(case: Path) -> None:
    told = json.loads(case.read_text())
    read = outcome(type="succeeded", message=told["message"])
    direct = AnthropicDialect("anthropic", HOST, KEY, OLD, errors=OpenAIDialect("anthropic", HOST, KEY))
    assert read == direct.decode(request(), incoming(200, told["message"]), NOW)
    assert isinstance(read, Answer)
    assert json.loads(read.body) == told["completion"]


def message(**fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 7}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage | {"service_tier": "batch"},
    } | fields


def test_usage_is_exact_and_names_the_tier() -> None:
    read = outcome(type="succeeded", message=message())
    assert isinstance(read, Answer)
    assert read.usage is not None
    usage = read.usage
    assert (usage.input, usage.output, usage.cached, usage.cache_written, usage.tier) == (10, 7, 5, 2, "batch")
    assert (read.finished_at, read.complete) == (NOW, True)
    assert json.loads(read.body)["service_tier"] == "batch"


@pytest.mark.parametrize("kind", ["canceled", "cancelled", "expired"])
def test_a_row_that_was_not_done_has_no_outcome(kind: str) -> None:
    assert outcome(type=kind) is None


@pytest.mark.parametrize(
    ("kind", "status", "passing"),
    [
        ("invalid_request_error", 400, False),
        ("authentication_error", 401, False),
        ("not_found_error", 404, False),
        ("request_too_large", 413, False),
        ("rate_limit_error", 429, True),
        ("api_error", 500, True),
        ("timeout_error", 504, True),
        ("overloaded_error", 529, True),
        ("an_error_to_come", 500, True),
    ],
)
def test_an_error_is_a_fault_in_anthropics_words(kind: str, status: int, passing: bool) -> None:
    fault = outcome(type="errored", error=error(kind, f"No: {KEY}.", error_code="odd"))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.type, fault.code, fault.message) == (status, kind, "odd", "No: [key].")
    assert (fault.passing, fault.healthy, fault.billed) == (passing, True, "no")
    assert fault.body is not None
    assert json.loads(fault.body)["error"]["request_id"] == "req_1"


@pytest.mark.parametrize(
    "result",
    [
        {"type": "succeeded"},
        {"type": "succeeded", "message": None},
        {"type": "errored"},
        {"type": "errored", "error": None},
        {"type": "delayed"},
        {},
    ],
)
def test_whatever_else_is_a_fault_that_may_pass(result: dict[str, Any]) -> None:
    fault = outcome(**result)
    assert isinstance(fault, Fault)
    assert (fault.passing, fault.healthy, fault.billed) == (True, True, "unknown")
    assert "neither an answer nor an error" in fault.message


@pytest.mark.parametrize("wrong", [{}, [], "text", {"content": "none"}, {"id": "m", "model": "x", "content": [7]}])
def test_a_success_that_is_no_message_is_no_answer(wrong: Any) -> None:
    fault = outcome(type="succeeded", message=wrong)
    assert isinstance(fault, Fault)
    assert fault.code == "upstream_malformed"


def test_an_answer_with_broken_or_odd_text_is_kept() -> None:
    said = message(content=[{"type": "text", "text": "a\u2028b\u2029c\u0085d HERE"}])
    line = json.dumps({"custom_id": f"{TAG}-1", "result": {"type": "succeeded", "message": said}}, ensure_ascii=False)
    read = read_line(line.encode().replace(b"HERE", b"\xff"))
    assert isinstance(read, Answer)
    assert json.loads(read.body)["choices"][0]["message"]["content"] == "a\u2028b\u2029c\u0085d \ufffd"
    read = read_line(line.encode().replace(b'"result"', b'"note":"\xff","result"'))
    assert isinstance(read, Answer)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"{}", b'{"custom_id":5}', b'{"custom_id":"a-1"}', b'{"custom_id":"a-1","result":"x"}']
)
def test_a_line_that_cannot_be_read_says_so(line: bytes) -> None:
    with pytest.raises(ValueError):  # The words are the parser's.
        ANTHROPIC.read_result(line, job(), NOW)


# What it means for a job


def test_a_batch_of_the_right_size_and_time_is_adopted_until_its_results_disprove_it() -> None:
    """No listing shows our tag: the custom_ids of the results do."""
    terms = rules(uploads=False, tagging="results", deletes=False)
    mine, small = batch(created_at="1970-01-01T00:16:50Z"), batch(id="msgbatch_2", request_counts=counted(processing=3))
    page = ANTHROPIC.decode_list(incoming(200, {"data": [small, mine]}))
    assert isinstance(page, BatchPage)
    doubtful = in_doubt(input_file_id=None, n=4, intent_at=1000.0)
    adopted, _ = advance(doubtful, facts.Listed(batches=page.batches, complete=True), 1100.0, terms)
    assert (adopted.state, adopted.provider_batch_id, adopted.proven) == ("submitted", "msgbatch_1", False)
    ended = read_batch(
        batch(
            processing_status="ended", request_counts=counted(succeeded=4), results_url=f"{BATCHES}/msgbatch_1/results"
        )
    )
    reading, wanted = advance(adopted, facts.Polled(ended), 1200.0, terms)
    assert (reading.state, len(wanted)) == ("ingesting", 1)
    read = replace(reading, downloads=terms.policy.downloads - 1)
    disowned, _ = advance(read, facts.Ingested(done=0, failed=0, seen=0, ghosts=4), 1300.0, terms)
    assert (disowned.state, disowned.not_ours) == ("submit_unknown", ("msgbatch_1",))


def test_results_with_errors_are_read_at_once() -> None:
    """Errors are lines of the same file: no second one is waited for."""
    ended = read_batch(
        batch(
            processing_status="ended",
            request_counts=counted(succeeded=2, errored=2),
            results_url=f"{BATCHES}/msgbatch_1/results",
        )
    )
    after, (wanted,) = advance(running(provider_batch_id="msgbatch_1"), facts.Polled(ended), 1200.0, rules())
    assert after.state == "ingesting"
    assert getattr(wanted, "sources", None) == ("/v1/messages/batches/msgbatch_1/results",)


# There and back, over real HTTP


QUESTIONS = [ask(messages=[{"role": "user", "content": f"Ask {n}: ünï\u2028cöde"}], temperature=0) for n in range(4)]


def words(body: bytes) -> Any:
    """What an answer says, whatever it is called and whenever it was made."""
    read = json.loads(body)
    return [choice["message"]["content"] for choice in read["choices"]], read["usage"], read["model"]


async def test_a_life() -> None:
    async with a_round("anthropic") as at:
        wanted, made = await at.submit(QUESTIONS)
        assert (made.status, made.tag, made.counts) == ("running", None, Counts(total=4))
        assert [each.id for each in await at.listed()] == [made.id]
        assert (await at.poll(made, 60)).counts == Counts(total=4), "no progress shows"
        ended = await at.poll(made, 200)
        assert (ended.status, ended.counts) == ("completed", Counts(total=4, completed=4))
        answers = await at.answers(ended, wanted)
        assert {position: words(body) for position, body in answers.items()} == {
            position: words(await at.asked(question)) for position, question in enumerate(QUESTIONS)
        }
        view = await ledger(at.world.http, lane="batch")
        usages = [json.loads(body)["usage"] for body in answers.values()]
        assert view["totals"]["completed"] == 4
        assert view["totals"]["input"] == sum(usage["prompt_tokens"] for usage in usages)
        assert view["totals"]["output"] == sum(usage["completion_tokens"] for usage in usages)


async def test_the_new_version_answers_too() -> None:
    async with a_round("anthropic") as at:
        base = f"{str(at.world.http.base_url).rstrip('/')}/anthropic"
        at.batches = dialect(NEW, key="k", url=base)
        wanted, made = await at.submit([ask(reasoning_effort="low", model="claude-opus-5-5")])
        (body,) = (await at.answers(await at.poll(made, 200), wanted)).values()
        assert json.loads(body)["choices"][0]["message"]["reasoning_content"]


async def test_each_result_has_its_meaning() -> None:
    async with a_round("anthropic") as at:
        await switch_on(
            at.world.http,
            {"kind": "lines_fail", "status": 400, "message": "Bad."},
            {"kind": "lines_fail", "after": 1, "status": 529, "message": "Busy."},
            {"kind": "lines_doubled", "after": 2},
            {"kind": "ghost_lines", "after": 2},
            {"kind": "odd_separators", "after": 2, "lines": None},
            {"kind": "batch_ends", "state": "expired", "lines": 3},
        )
        wanted, made = await at.submit(QUESTIONS)
        ended = await at.poll(made, 200)
        assert (ended.status, ended.counts) == ("expired", Counts(total=4, completed=1, failed=3))
        results = await at.results(ended, wanted)
        tally = Tally(wanted, last=False)
        meant = [tally.take(result)[0] for result in results]
        assert sorted(meant) == ["ghost", "open", "open", "settles", "settles", "settles"]
        faults = {result.outcome.message: result.outcome for result in results if isinstance(result.outcome, Fault)}
        assert {message: fault.passing for message, fault in faults.items()} == {"Bad.": False, "Busy.": True}
        assert tally.ingested(done=1, failed=1).seen == 4
        answers = [result.outcome for result in results if isinstance(result.outcome, Answer)]
        assert all("\u2028" in words(answer.body)[0][0] for answer in answers)


async def test_cancelling_keeps_what_was_done() -> None:
    async with a_round("anthropic") as at:
        wanted, made = await at.submit(QUESTIONS)
        await at.poll(made, 40)
        shown = at.batches.decode_cancel(await at.send(at.batches.encode_cancel(made.id)))
        assert isinstance(shown, ProviderBatch)
        assert shown.status == "cancelling"
        ended = await at.poll(made, 20)
        outcomes = [result.outcome for result in await at.results(ended, wanted)]
        assert (ended.status, len(outcomes)) == ("cancelled", 4)
        assert sum(isinstance(each, Answer) for each in outcomes) == 1
        assert outcomes.count(None) == 3


async def test_results_at_another_host_are_not_fetched_there() -> None:
    """Its own address is asked, and knows them; at the other nobody ever calls."""
    async with a_round("anthropic") as at, a_round("anthropic") as elsewhere:
        wanted, made = await at.submit(QUESTIONS)
        at.world.move(200)
        there = str(elsewhere.world.http.base_url).rstrip("/")
        said = batch(
            id=made.id, processing_status="ended", results_url=f"{there}/anthropic/v1/messages/batches/x/results"
        )
        rule = {"kind": "wrong_shape", "body": said, "match": {"endpoint": "batches.retrieve"}}
        await switch_on(at.world.http, rule)
        assert len(await at.answers(await at.poll(made), wanted)) == 4
        assert (await ledger(elsewhere.world.http))["lines"] == []


async def test_what_is_refused_and_what_is_gone() -> None:
    async with a_round("anthropic") as at:
        await at.world.http.patch("/sandbox/offers", json={"anthropic": {"most_requests": 3}})
        lines = [at.batches.line(each, custom_id(TAG, position)) for position, each in enumerate(QUESTIONS)]
        created: Any = at.batches.encode_create(job())
        too_many = at.batches.decode_batch(await at.send_rows(created, lines))
        assert isinstance(too_many, Fault)
        assert (too_many.status, blame(too_many, job())) == (413, "size")
        long = at.batches.decode_batch(await at.send_rows(created, [at.batches.line(ask(), "x" * 65)]))
        assert isinstance(long, Fault)
        assert (long.status, blame(long, job())) == (400, "rows")
        for outgoing in (
            at.batches.encode_get("b/../.."),
            at.batches.encode_results("/anthropic/v1/messages/x", None),
        ):
            gone = at.batches.decode_batch(await at.send(outgoing))
            assert isinstance(gone, Fault)
            assert gone.status == 404
        assert await at.listed() == []


async def test_listings_go_on_page_by_page() -> None:
    async with a_round("anthropic") as at:
        made = [(await at.submit([ask()]))[1].id for _ in range(3)]
        create: Any = at.batches.encode_create(job())
        line = at.batches.line(ask(), "a-1")
        for _ in range(98):
            at.world.move(200)  # What has ended costs the sandbox nothing more.
            await at.send_rows(create, [line])
        listed = [each.id for each in await at.listed()]
        assert (len(listed), listed[-3:]) == (101, made[::-1])


async def test_a_wrong_key_is_told() -> None:
    async with a_round("anthropic", keys=["another"]) as at:
        fault = at.batches.decode_list(await at.send(at.batches.encode_list(None, None)))
        assert isinstance(fault, Fault)
        assert (fault.status, blame(fault, job())) == (401, "account")
