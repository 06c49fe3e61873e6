"""The OpenAI routes as their callers see them: the answer's shape, its headers, hints, what reaches the provider."""

import json
from collections.abc import MutableMapping
from typing import Any

import msgspec
import pytest
from tests.gate import CHAT, MODEL, Gate, chat, check_fault, frames, open_gate, said, words

from batchway.server.access import Access
from batchway.server.openai import Endpoint
from batchway.server.visits import Visits
from batchway.wire.endpoints import FRONTS
from batchway.wire.hints import NO_HINTS
from batchway.wire.reading import Reading

OURS = {"request_id", "status", "provider", "routed_via", "batch_id", "completed_at", "error"}
THEIRS = {"id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "usage"}

README = b"""{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are helpful."},
{"role":"user","content":"Say hello"}]}"""
"""The body of the batching middleware's quick start."""

HINTS: dict[str, Any] = {
    "provider": "openai",
    "priority": "high",
    "strategy": "direct",
    "deadline": 60,
    "request_id": "order-7",
    "caller_id": "alice",
    "tags": {"project": "x"},
    "reuse": "off",
    "packing": "never",
    "optimize": "off",
    "on_deadline": "fail",
}


async def test_the_answer_is_the_providers_and_ours_beside_it(gate: Gate) -> None:
    answer = await gate.post(README, headers={"content-type": "application/json"})
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == OURS | THEIRS
    assert body["object"] == "chat.completion"
    assert "Say hello" in said(answer)
    assert (body["status"], body["provider"], body["routed_via"]) == ("completed", "openai", "direct")
    assert body["batch_id"] is None
    assert body["error"] is None
    assert body["completed_at"].endswith("Z")
    assert answer.headers["x-batchway-request-id"] == answer.headers["x-request-id"] == body["request_id"]
    assert answer.headers["x-batchway-routed-via"] == "direct"
    assert answer.headers["x-batchway-why"]
    # $0.15 a million tokens in, $0.60 out: gpt-4o-mini's prices in the catalogue.
    usage = body["usage"]
    cost = (usage["prompt_tokens"] * 150_000 + usage["completion_tokens"] * 600_000) / 1e12
    assert float(answer.headers["x-batchway-cost-usd"]) == pytest.approx(cost, abs=1e-15)
    assert float(answer.headers["x-batchway-saved-usd"]) == 0
    assert answer.headers["cache-control"] == "private, no-store"


async def test_content_comes_with_native_fields_only(gate: Gate) -> None:
    for field, value in HINTS.items():
        answer = await gate.ask(**{field: value})
        assert answer.json()["content"] == said(answer), field
    assert "content" not in (await gate.ask()).json()
    assert "content" not in (await gate.ask(headers={"x-batchway-priority": "high"})).json()


async def test_hints_never_reach_the_provider() -> None:
    async with open_gate(sandbox={"strict": True}) as gate:
        check_fault(await gate.ask(nonsense=1), 400, "unknown_parameter", "nonsense")
        assert (await gate.ask(**HINTS)).status_code == 200
        as_headers = {f"x-batchway-{name.replace('_', '-')}": _text(value) for name, value in HINTS.items()}
        as_headers["x-batchway-request-id"] = "order-8"
        answer = await gate.ask(text="by header", headers=as_headers)
        assert answer.status_code == 200
        assert answer.headers["x-batchway-request-id"] == "order-8"
        assert (await gate.http.post(CHAT, json=chat() | dict.fromkeys(HINTS))).status_code == 200, "null means unset"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def test_the_body_reaches_the_provider_byte_for_byte(gate: Gate) -> None:
    strange = b"""{ "model" : "gpt-4o-mini", "x_new": {"a":[1.50, 1e2,\t"\\u00e9\xc3\xa9"]},
      "messages":[{"content":"hi","role":"user","cache_control":{"type":"x"}}] , "big": 123456789012345678901 }"""
    assert (await gate.post(strange)).status_code == 200
    assert (await gate.direct(strange)).status_code == 200
    through, directly = gate.lines
    assert through.request_hash == directly.request_hash


async def test_with_a_hint_the_other_fields_keep_their_bytes(gate: Gate) -> None:
    rest = b'"x_new":{"a":[1.50, 1e2]},"messages":[{"content":"hi" ,"role":"user"}]}'
    assert (await gate.post(b'{"model":"gpt-4o-mini","priority":"high",' + rest)).status_code == 200
    assert (await gate.direct(b'{"model":"gpt-4o-mini",' + rest)).status_code == 200
    through, directly = gate.lines
    assert through.request_hash == directly.request_hash


async def test_a_number_past_all_floats_is_the_providers_to_judge(gate: Gate) -> None:
    for extra in (b'"x":1e999', b'"metadata":{"a":[-1e400]}', b'"x":123456789012345678901234567890', b'"x":1e30'):
        body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],' + extra + b"}"
        through, direct = await gate.post(body), await gate.direct(body)
        assert through.status_code == direct.status_code, extra
        assert gate.lines[-1].request_hash == gate.lines[-2].request_hash


async def test_provider_as_an_object_is_the_providers_own(gate: Gate) -> None:
    own = json.dumps(chat(provider={"order": ["a"]})).encode()
    assert (await gate.post(own)).status_code == 200
    assert (await gate.direct(own)).status_code == 200
    through, directly = gate.lines
    assert through.request_hash == directly.request_hash


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"priority": "urgent"}, "invalid_value", "priority"),
        ({"strategy": "fast"}, "invalid_value", "strategy"),
        ({"deadline": "tomorrow"}, "invalid_value", "deadline"),
        ({"deadline": -1}, "invalid_value", "deadline"),
        ({"request_id": "a b"}, "invalid_value", "request_id"),
        ({"request_id": "x" * 201}, "invalid_value", "request_id"),
        ({"provider": "nope"}, "unknown_provider", "provider"),
        ({"messages": []}, "missing_required_parameter", "messages"),
        ({"model": None}, "missing_required_parameter", "model"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
    ],
)
async def test_a_wrong_field_is_named(gate: Gate, fields: dict[str, Any], code: str, param: str) -> None:
    error = check_fault(await gate.ask(**fields), 400, code, param)
    assert param in error["message"]
    assert gate.calls == 0


async def test_a_wrong_hint_header_is_named(gate: Gate) -> None:
    for name, value in (("reuse", "x"), ("deadline", "x"), ("tags", "x"), ("colour", "red")):
        answer = await gate.ask(headers={f"x-batchway-{name}": value})
        assert answer.status_code == 400
        assert name in answer.json()["error"]["message"]
    assert gate.calls == 0


async def test_a_stream_comes_as_it_is_and_says_its_money_in_a_comment(gate: Gate) -> None:
    answer = await gate.ask(stream=True)
    found = frames(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-batchway-request-id"]
    assert answer.headers["x-accel-buffering"] == "no"
    assert found[-1] == "[DONE]"
    assert words(found).startswith("Echo")
    assert not any(chunk.get("usage") for chunk in found[:-1]), "the caller did not ask for usage"
    comment = next(line for line in answer.text.split("\n") if line.startswith(": batchway"))
    assert f"request_id={answer.headers['x-batchway-request-id']}" in comment
    assert "routed_via=direct" in comment
    assert float(comment.partition("cost_usd=")[2].split()[0]) > 0, "usage was asked for upstream"


async def test_a_stream_shows_its_usage_to_who_asked(gate: Gate) -> None:
    found = frames((await gate.ask(stream=True, stream_options={"include_usage": True})).text)
    assert found[-2]["choices"] == []
    assert found[-2]["usage"]["total_tokens"] > 0


async def test_an_error_of_the_provider_passes_through(gate: Gate) -> None:
    error = check_fault(await gate.ask(temperature=9), 400, "invalid_value", "temperature")
    direct = (await gate.direct(chat(temperature=9))).json()["error"]
    assert error == direct


async def test_embeddings_and_responses_pass_as_they_are(gate: Gate) -> None:
    for path, body in (
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"], "priority": "high"}),
        ("/v1/responses", {"model": MODEL, "input": "hi", "temperature": 0, "priority": "high"}),
    ):
        through = await gate.http.post(path, json=body)
        body.pop("priority")
        direct = await gate.direct(body, path)
        assert through.status_code == 200, through.text
        assert set(through.json()) == set(direct.json()), "no fields of ours: nobody asked for them"
        assert through.headers["x-batchway-routed-via"] == "direct"
        assert gate.lines[-1].request_hash == gate.lines[-2].request_hash


async def test_a_defect_is_told_in_openais_shape_and_hurts_no_other() -> None:
    def read(_: bytes) -> Reading:
        raise ZeroDivisionError

    async with open_gate() as gate:
        served = gate.gateway
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        broken = Endpoint(
            msgspec.structs.replace(FRONTS["chat"], read=read),
            served.engine,
            served.intake,
            Access((), (), (), NO_HINTS),
            Visits(30),
            served.relay,
            max_body=1000,
            retries=True,
        )
        headers = [(b"host", b"localhost")]
        await broken({"method": "POST", "path": CHAT, "query_string": b"", "headers": headers}, receive, send)
        assert sent[0]["status"] == 500
        assert msgspec.json.decode(sent[1]["body"])["error"]["code"] == "internal_error"
        assert (await gate.ask()).status_code == 200
