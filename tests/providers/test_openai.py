"""The OpenAI dialect: what goes out is what came in, and what comes back is an answer or a fault that says enough."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.asking import request
from tests.wire.simulated import chat_whole, response_whole, vectors

from batchway.core.limits import Report
from batchway.core.types import Answer, Fault
from batchway.ports import Incoming
from batchway.providers.openai import MAX_ERROR_BODY, PASSING, OpenAIDialect, retry_after, scrub
from batchway.wire.endpoints import FRONTS

KEY = "sk-proj-SECRET0123456789"
OWN = "Bearer sk-callers-own-99"
DIALECT = OpenAIDialect("openai", "https://api.openai.com/v1/", KEY)
KEYLESS = OpenAIDialect("generic", "http://localhost:8000/v1", None)
JSON = ("content-type", "application/json")
KEYED = ("authorization", f"Bearer {KEY}")


# What goes out


@pytest.mark.parametrize("endpoint", FRONTS)
def test_a_request_goes_out_as_it_came(endpoint: Any) -> None:
    body = b' {"model":"m" , "x":[1.50,1e5,"\\u00e9"]}'
    outgoing = DIALECT.encode(request(endpoint=endpoint, body=body))
    assert (outgoing.method, outgoing.url) == ("POST", "https://api.openai.com/v1" + FRONTS[endpoint].path)
    assert (outgoing.headers, outgoing.body) == ((JSON, KEYED), body)


@pytest.mark.parametrize(
    ("dialect", "authorization", "headers"),
    [
        (DIALECT, None, (JSON, KEYED)),
        (DIALECT, OWN, (JSON, KEYED)),
        (KEYLESS, OWN, (JSON, ("authorization", OWN))),
        (KEYLESS, None, (JSON,)),
    ],
)
def test_our_key_or_the_callers_never_both(
    dialect: OpenAIDialect, authorization: str | None, headers: tuple[tuple[str, str], ...]
) -> None:
    assert dialect.encode(request(authorization=authorization)).headers == headers
    assert dialect.encode_models(None, authorization).headers == headers


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("", '{"include_usage":true}'),
        (',"stream_options":null', '{"include_usage":true}'),
        (',"stream_options":{}', '{"include_usage":true}'),
        (',"stream_options":{"include_usage":false}', '{"include_usage":true}'),
        (',"stream_options":{"include_usage":true}', '{"include_usage":true}'),
        (',"stream_options":{"x":[1.50 , 2],"include_usage":null}', '{"x":[1.50 , 2],"include_usage":true}'),
    ],
)
def test_a_streamed_chat_is_asked_for_its_usage(options: str, sent: str) -> None:
    body = '{"model":"m","x":[1.50 , 1e5]' + options + ',"stream":true}'
    outgoing = DIALECT.encode(request(body=body.encode(), stream=True))
    expected = body.replace(options, "") if options else body
    where = '"stream_options":' + sent
    if options:
        assert outgoing.body.decode() == body.replace(options, "," + where)
    else:
        assert outgoing.body.decode() == expected[:-1] + "," + where + "}"


@pytest.mark.parametrize(("endpoint", "stream"), [("chat", False), ("responses", True), ("responses", False)])
def test_nothing_else_is_asked_for_usage(endpoint: Any, stream: bool) -> None:
    body = b'{ "model":"m" }'
    assert DIALECT.encode(request(endpoint=endpoint, stream=stream, body=body)).body == body


@pytest.mark.parametrize(
    ("model", "url"),
    [
        (None, "https://api.openai.com/v1/models"),
        ("gpt-4o", "https://api.openai.com/v1/models/gpt-4o"),
        ("meta/llama", "https://api.openai.com/v1/models/meta/llama"),
        ("ft:gpt?x=1#y", "https://api.openai.com/v1/models/ft%3Agpt%3Fx%3D1%23y"),
        ("a b\\é", "https://api.openai.com/v1/models/a%20b%5C%C3%A9"),
    ],
)
def test_models(model: str | None, url: str) -> None:
    outgoing = DIALECT.encode_models(model, None)
    assert (outgoing.method, outgoing.url, outgoing.body) == ("GET", url, b"")


# What comes back


def incoming(status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> Incoming:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming(
        status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=content
    )


def fault_of(answered: Incoming, dialect: OpenAIDialect = DIALECT) -> Fault:
    fault = dialect.decode(request(), answered, 0.0)
    assert isinstance(fault, Fault)
    return fault


CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", chat_whole(CHAT)),
        ("responses", response_whole({"model": "m", "input": "hi"})),
        ("embeddings", vectors({"model": "text-embedding-3-small", "input": "hi"})),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_keeps_its_bytes(endpoint: Any, body: bytes, status: int) -> None:
    answer = DIALECT.decode(request(endpoint=endpoint), incoming(status, body), 7.0)
    assert isinstance(answer, Answer)
    assert (answer.body, answer.complete, answer.finished_at) == (body, True, 7.0)
    assert answer.usage is not None
    assert answer.usage.input > 0


@pytest.mark.parametrize("endpoint", FRONTS)
@pytest.mark.parametrize(
    "body", [b"", b"<html>busy</html>", b"[]", b"null", b"{}", b'{"choices":', b'{"data":1,"choices":1,"output":1}']
)
def test_a_2xx_that_is_no_answer_is_malformed(endpoint: Any, body: bytes) -> None:
    fault = DIALECT.decode(request(endpoint=endpoint), incoming(200, body), 0.0)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.code, fault.billed, fault.passing) == (502, "upstream_malformed", "unknown", False)
    assert fault.message.startswith(f"'openai' answered 200 with a body that is not a {endpoint} object (")


def test_bytes_that_are_no_text_where_they_are_read_are_malformed() -> None:
    body = b'{"choices":[{"finish_reason":"\xff"}]}'
    assert fault_of(incoming(200, body)).code == "upstream_malformed"


@pytest.mark.parametrize(
    "body", [{"error": {"message": "no luck", "code": 502}}, {"error": {"message": "no luck", "code": "502"}}]
)
def test_a_2xx_that_reports_an_error_is_that_error(body: dict[str, Any]) -> None:
    fault = fault_of(incoming(200, body))
    assert (fault.status, fault.message, fault.code, fault.billed) == (502, "no luck", "502", "unknown")


OPENAI = {"message": "m", "type": "t", "param": "p", "code": "c"}


@pytest.mark.parametrize(
    ("body", "message", "kind", "param", "code"),
    [
        # OpenAI and its likes
        ({"error": OPENAI}, "m", "t", "p", "c"),
        ({"error": {"message": "m", "type": "t", "param": None, "code": None}}, "m", "t", None, None),
        ({"error": {"message": "m"}}, "m", "upstream_error", None, None),
        ({"error": {"message": "m", "code": 400}}, "m", "upstream_error", None, "400"),
        # Anthropic
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}, "request_id": "r"},
            "m",
            "overloaded_error",
            None,
            None,
        ),
        # Gemini, alone and in a list
        ({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}, "m", "upstream_error", None, "429"),
        (
            [{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}],
            "m",
            "upstream_error",
            None,
            "429",
        ),
        # xAI
        ({"code": "c", "error": "m"}, "m", "upstream_error", None, "c"),
        # Mistral
        ({"object": "error", **OPENAI}, "m", "t", "p", "c"),
        ({"detail": [{"loc": ["body"], "msg": "bad"}]}, '[{"loc":["body"],"msg":"bad"}]', "upstream_error", None, None),
        # DeepInfra
        ({"detail": "m"}, "m", "upstream_error", None, None),
        ({"detail": {"error": "x"}}, '{"error":"x"}', "upstream_error", None, None),
        # odd ones
        ({"error": {"message": {"a": 1}, "param": ["p"]}}, '{"a":1}', "upstream_error", '["p"]', None),
        ({"error": None, "message": "m"}, "m", "upstream_error", None, None),
    ],
)
def test_error_bodies_of_every_shape(body: Any, message: str, kind: str, param: str | None, code: str | None) -> None:
    fault = fault_of(incoming(400, body))
    assert (fault.status, fault.message, fault.type, fault.param, fault.code) == (400, message, kind, param, code)
    assert (fault.whose, fault.billed) == ("theirs", "no")
    assert json.loads(fault.body or b"") == body


@pytest.mark.parametrize(
    "body", [b"", b"<html>502 Bad Gateway</html>", b"{", b"[]", b"5", b'{"error":{}}', b'"text"', b'{"x":1}']
)
def test_an_error_without_words(body: bytes) -> None:
    fault = fault_of(incoming(502, body))
    assert (fault.status, fault.message, fault.type) == (
        502,
        "'openai' answered 502, and gave no reason.",
        "upstream_error",
    )
    assert (fault.passing, fault.healthy) == (True, False)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
def test_a_redirect_is_not_followed_and_not_passed_on(status: int) -> None:
    fault = fault_of(incoming(status, b"<html>", location="http://elsewhere.test/"))
    assert (fault.status, fault.passing) == (502, False)
    assert fault.message == f"'openai' answered {status}, a redirect, which is not followed: check its base URL."


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 425, 429, 498, 499, 500, 501, 503, 529]
)
def test_which_statuses_pass(status: int) -> None:
    fault = fault_of(incoming(status, {"error": OPENAI}))
    assert (fault.status, fault.passing, fault.healthy) == (status, status in PASSING, status < 500)


def test_what_the_official_sdks_retry_is_passing() -> None:
    assert {408, 409, 429, 500, 502, 503, 504, 529} <= PASSING
    assert PASSING.isdisjoint({400, 401, 402, 403, 404, 413, 422, 499, 501})


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        ({"code": "rate_limit_exceeded"}, True),
        ({"code": "insufficient_quota"}, False),
        ({"type": "insufficient_quota", "code": None}, False),
        ({"code": "billing_hard_limit_reached"}, False),
        ({"code": "billing_not_active"}, False),
    ],
)
def test_an_empty_account_is_not_healed_by_waiting(error: dict[str, Any], passing: bool) -> None:
    assert fault_of(incoming(429, {"error": {"message": "m"} | error})).passing is passing


@pytest.mark.parametrize(
    ("status", "told", "passing"),
    [(503, "false", False), (429, "false", False), (400, "true", True), (503, "maybe", True), (400, "", False)],
)
def test_the_provider_has_the_last_word_on_retries(status: int, told: str, passing: bool) -> None:
    assert fault_of(incoming(status, {"error": OPENAI}, x_should_retry=told)).passing is passing


def test_a_fault_carries_retry_after() -> None:
    assert fault_of(incoming(429, retry_after="7")).retry_after == 7.0
    assert fault_of(incoming(429)).retry_after is None


# Keys


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-proj-****abcd.", "Incorrect API key provided: [key]."),
        ("key xai-0123abcd and gsk_0123abcd", "key [key] and [key]"),
        ("our own bw-0123abcd", "our own [key]"),
        ("Authorization: Bearer abcdefghijklmnop0123", "Authorization: [key]"),
        ("Authorization: Bearer YOUR_KEY", "Authorization: Bearer YOUR_KEY"),
        ("use Bearer auth", "use Bearer auth"),
        ("a task-based, disk-bound monkey-patch", "a task-based, disk-bound monkey-patch"),
    ],
)
def test_keys_are_scrubbed_and_words_are_not(text: str, shown: str) -> None:
    assert scrub(text.encode()).decode() == shown


@pytest.mark.parametrize("key", [KEY, "no-prefix-at-all/+=", "0123456789abcdef"])
def test_our_key_never_comes_back(key: str) -> None:
    dialect = OpenAIDialect("generic", "http://x.test/v1", key)
    body = {"error": {"message": f"bad key {key}", "type": key, "param": key, "code": key}, "x": key}
    for fault in (
        fault_of(incoming(401, body), dialect),
        fault_of(incoming(200, body), dialect),
        dialect.error_frame(json.dumps(body["error"]).encode()),
    ):
        assert key not in repr(fault)
        assert fault.message == "bad key [key]"


def test_a_placeholder_for_a_key_leaves_words_alone() -> None:
    dialect = OpenAIDialect("generic", "http://x.test/v1", "e")
    assert fault_of(incoming(400, {"error": OPENAI}), dialect).message == "m"


def test_an_error_body_is_bounded_and_readable() -> None:
    fault = fault_of(incoming(500, b'{"error":{"message":"caf\xe9"}}'))
    assert fault.message == "caf\ufffd"
    fault = fault_of(incoming(500, b'{"error":{"message":"' + b"x" * 2 * MAX_ERROR_BODY + b'"}}'))
    assert len(fault.body or b"") == MAX_ERROR_BODY
    assert fault.message == "'openai' answered 500, and gave no reason."


@pytest.mark.parametrize(
    ("error", "message", "kind", "code"),
    [
        (b'{"message":"m","type":"server_error","param":null,"code":null}', "m", "server_error", "upstream_error"),
        (b'{"message":"m","type":"error","code":"x"}', "m", "error", "x"),
        (b'{"message":"m","code":502,"metadata":{"error":"inner"}}', "m", "upstream_error", "502"),
        (b'"text"', "text", "upstream_error", "upstream_error"),
        (b"{}", "'openai' reported an error where an answer was due.", "upstream_error", "upstream_error"),
    ],
)
def test_an_error_inside_a_stream(error: bytes, message: str, kind: str, code: str) -> None:
    fault = DIALECT.error_frame(error)
    assert (fault.message, fault.type, fault.code) == (message, kind, code)
    assert (fault.status, fault.billed, fault.healthy) == (502, "unknown", False)
    assert json.loads(fault.body or b"") == {"error": json.loads(error)}


def test_a_stream_is_followed_to_the_last_choice() -> None:
    reader = DIALECT.follow(request(stream=True, n=2), fold=True)
    reader.read(b"", b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}')
    assert not reader.whole
    reader.read(b"", b'{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}')
    assert reader.whole
    assert len(json.loads(reader.answer(0).body)["choices"]) == 2


# Headers

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("0s", 0),
        ("6m0s", 360),
        ("120ms", 0.12),
        ("1h2m", 3720),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("1s500ms", 1.5),
        ("5m", 300),
        ("24h", 86400),
        ("60", None),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("1s1h", None),
        ("1s ", None),
        ("²s", None),
        ("9" * 40 + "s", None),
    ],
)
def test_when_a_limit_is_back(text: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": text}
    report = DIALECT.report(headers, NOW)
    assert report is not None
    assert report.reset_requests == (None if seconds is None else pytest.approx(NOW + seconds, abs=1e-6))


def test_all_that_the_headers_say() -> None:
    headers = {
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-limit-tokens": "160000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-remaining-tokens": "159976",
        "x-ratelimit-reset-requests": "12s",
        "x-ratelimit-reset-tokens": "6m0s",
        "retry-after": "3",
    }
    assert DIALECT.report(headers, NOW) == Report(
        limit_requests=5000,
        limit_tokens=160000,
        remaining_requests=4999,
        remaining_tokens=159976,
        reset_requests=NOW + 12,
        reset_tokens=NOW + 360,
        retry_after=3.0,
    )


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        ({}, None),
        ({"content-type": "application/json"}, None),
        ({"retry-after": "2"}, Report(retry_after=2.0)),
        ({"retry-after": "later"}, None),
        ({"x-ratelimit-remaining-tokens": "0"}, Report(remaining_tokens=0)),
        ({"x-ratelimit-remaining-tokens": "many"}, Report()),
        ({"x-ratelimit-remaining-requests": "²"}, Report()),
        ({"x-ratelimit-remaining-requests": "-1"}, Report()),
        ({"x-ratelimit-remaining-requests": "1.5"}, Report()),
        ({"x-ratelimit-remaining-requests": "9" * 5000}, Report()),
    ],
)
def test_headers_that_say_less(headers: dict[str, str], report: Report | None) -> None:
    assert DIALECT.report(headers, NOW) == report


DATE = format_datetime(datetime.fromtimestamp(NOW, UTC), usegmt=True)
LATER = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": LATER, "date": DATE}, 90.0),
        ({"retry-after": DATE, "date": LATER}, 0.0),
        ({"retry-after": LATER}, None),
        ({"retry-after": LATER, "date": "x"}, None),
        ({"retry-after": LATER, "date": "Mon, 21 Sep 2026 14:13:20 -0000"}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "1e999"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_header_can_break_the_reading(one: str, other: str) -> None:
    names = (
        "retry-after",
        "date",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-limit-tokens",
    )
    DIALECT.report(dict.fromkeys(names, one) | {"retry-after-ms": other}, NOW)


@given(st.binary(max_size=40), st.integers(200, 599))
def test_no_body_can_break_the_decoding(body: bytes, status: int) -> None:
    assert isinstance(DIALECT.decode(request(), incoming(status, body), 0.0), Fault)
