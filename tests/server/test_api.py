"""Health, numbers, models and the description: what people and machines look at beside the hot routes."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.clock import HandClock
from tests.gate import CHAT, Gate, check_fault, open_gate, until
from tests.server.bulk import row, submit, told
from tests.server.lane import ended, open_lane

NDJSON = "application/x-ndjson"


async def test_health(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        clock.move(12)
        answer = await gate.http.get("/health")
        assert answer.status_code == 200
        body = answer.json()
        shown = {"status", "uptime_seconds", "queue_size", "active_batches", "store", "providers_healthy"}
        assert set(body) == shown
        assert body["store"] == "none"
        assert (body["status"], body["uptime_seconds"], body["queue_size"], body["active_batches"]) == (
            "healthy",
            12,
            0,
            0,
        )
        assert body["providers_healthy"]["openai"] is True
    async with open_gate(keyless=True, default_provider="openai") as gate:
        assert (await gate.http.get("/health")).json()["providers_healthy"]["openai"] is False, "it has no key"


async def _mixed_load(gate: Gate, clock: HandClock) -> None:
    gate.fault({"kind": "delay", "seconds": 0.1, "match": {"text": "twin"}})
    await asyncio.gather(*(gate.ask(text="twin", temperature=0) for _ in range(5)))
    await gate.ask(text="twin", temperature=0)
    await gate.ask(text="a stream", stream=True)
    await gate.ask(text="unknown price", model="some-model-of-ours")
    gate.fault(
        {"kind": "status", "status": 400, "match": {"text": "bad"}}, {"kind": "drop", "match": {"text": "dropped"}}
    )
    await gate.ask(text="bad")
    await gate.ask(text="dropped")
    await gate.post(b"{")
    gate.fault({"kind": "delay", "seconds": 0.7, "match": {"text": "leaver"}})
    leaver = gate.start(text="leaver")
    await until(gate.under_way())
    leaver.cancel()
    await until(gate.waiting(0))
    await until(lambda: gate.calls == 6)
    await until(gate.under_way(0))


async def test_the_numbers_add_up_and_agree(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        await _mixed_load(gate, clock)
        stats = (await gate.http.get("/stats")).json()
        requests: dict[str, Any] = stats["requests"]
        assert requests["accepted"] == 11, "what could not be read was never accepted"
        assert requests["by_routed_via"] == {"direct": 3, "flex": 0, "batch": 0, "cache": 1, "coalesced": 4}
        assert requests["answered"] == sum(requests["by_routed_via"].values())
        assert (requests["refused"], requests["left"], requests["waiting"], requests["queued"]) == (2, 1, 0, 0)
        assert requests["accepted"] == requests["answered"] + requests["refused"] + requests["left"]
        assert stats["calls"] == {"sent": gate.calls, "under_way": 0}
        now = stats["since"]
        assert stats["providers"] == [
            {"provider": "openai", "answered": 4, "refused": 1, "failed": 1, "last_answer_at": now,
             "last_fault_at": now, "last_fault": "502 upstream_cut"},
        ]  # fmt: skip
        assert stats["cache"]["entries"] == 1
        assert stats["cache"]["bytes"] > 0
        assert stats["money"]["charges_without_known_price"] == 1
        billed = [line for line in gate.lines if line.outcome == "completed" and line.model == "gpt-4o-mini"]
        paid = sum(line.input * 150_000 + line.output * 600_000 for line in billed)
        assert round(float(stats["money"]["paid_usd"]) * 1e12) == paid, "what the provider's ledger says"
        assert float(stats["money"]["saved_usd"]) > 0
        assert _samples(await _exposition(gate)) >= {
            ("batchway_answers_total", 3.0),
            ("batchway_joined_total", 4.0),
            ("batchway_callers_left_total", 1.0),
            ("batchway_cache_entries", 1.0),
            ("batchway_calls_under_way", 0.0),
            ("batchway_unpriced_charges_total", 1.0),
        }
        families = {family.name: family for family in text_string_to_metric_families(await _exposition(gate))}
        assert _total(families["batchway_answers"]) == requests["answered"]
        assert _total(families["batchway_faults"]) == requests["refused"]
        assert _total(families["batchway_calls"]) == stats["calls"]["sent"]
        assert round(_total(families["batchway_paid_usd"]), 12) == float(stats["money"]["paid_usd"])
        tokens = families["batchway_tokens"].samples
        assert sum(sample.value for sample in tokens) == sum(
            line.input + line.output for line in gate.lines if line.outcome == "completed"
        )
        assert all(family.documentation for family in families.values())


async def _exposition(gate: Gate) -> str:
    answer = await gate.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def _samples(text: str) -> set[tuple[str, float]]:
    return {(sample.name, sample.value) for family in text_string_to_metric_families(text) for sample in family.samples}


def _total(family: Any) -> float:
    return float(sum(sample.value for sample in family.samples if sample.name.endswith("_total")))


async def test_labels_cannot_be_made_without_end(gate: Gate) -> None:
    for at in range(0, 250, 50):
        await asyncio.gather(*(gate.ask(model=f"made-up-{number}") for number in range(at, at + 50)))
    families = {family.name: family for family in text_string_to_metric_families(await _exposition(gate))}
    models = {sample.labels["model"] for sample in families["batchway_unpriced_charges"].samples}
    assert "other" in models
    assert len(models) <= 201


async def test_models_are_merged_and_kept_for_a_minute(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        body = (await gate.http.get("/v1/models")).json()
        ids = {model["id"] for model in body["data"]}
        assert body["object"] == "list"
        assert {"gpt-4o-mini", "grok/gpt-4o-mini", "groq/gpt-4o-mini"} <= ids
        assert "openai/gpt-4o-mini" not in ids
        assert len(ids) == len(body["data"])
        calls = gate.calls
        assert calls == len(gate.gateway.accounts)
        assert (await gate.http.get("/v1/models")).json() == body
        assert gate.calls == calls
        clock.move(61)
        gate.fault({"kind": "status", "status": 500, "match": {"provider": "groq"}})
        partly = await gate.http.get("/v1/models")
        assert "groq: answered 500" in partly.headers["x-batchway-why"]
        left = {model["id"].partition("/")[0] for model in partly.json()["data"]}
        assert "groq" not in left
        assert "grok" in left
        assert "groq/gpt-4o-mini" in {model["id"] for model in (await gate.http.get("/v1/models")).json()["data"]}


async def test_one_model(gate: Gate) -> None:
    assert (await gate.http.get("/v1/models/gpt-4o-mini")).json()["id"] == "gpt-4o-mini"
    assert (await gate.http.get("/v1/models/grok/gpt-4o")).json()["id"] == "gpt-4o"
    assert gate.lines[-1].provider == "grok"
    assert (await gate.http.get("/v1/models/xai/gpt-4o")).json()["id"] == "gpt-4o"
    assert gate.lines[-1].provider == "grok", "an alias"
    assert (await gate.http.get("/v1/models/meta-llama/llama-3?x=1")).json()["id"] == "meta-llama/llama-3"
    check_fault(await gate.http.get("/v1/models/does-not-exist"), 404, "model_not_found")


async def test_the_name_of_a_model_leads_nowhere_else(gate: Gate) -> None:
    """With the provider's key, `..` would read its files and batches."""
    for name in (
        "..%2Ffiles",
        "%2e%2e/files",
        "x%2F..%2F..%2Fsandbox%2Fledger",
        "grok/..%2Ffiles",
        ".",
        "",
        "x//y",
        "%2F",
    ):
        answer = await gate.http.get(f"/v1/models/{name}")
        assert answer.status_code == 404 or answer.json().get("object") == "list", name
    assert not [line for line in gate.lines if line.endpoint != "models"]
    assert gate.lines == [] or {line.endpoint for line in gate.lines} == {"models"}


async def test_what_is_not_there(gate: Gate) -> None:
    for path in ("/nope", "/v1/chat/completions/", "/v1", "/v1/nope"):
        check_fault(await gate.http.get(path), 404, "not_found")
        check_fault(await gate.http.post(path), 404, "not_found")
    check_fault(await gate.http.post("/health"), 405, "method_not_allowed")
    check_fault(await gate.http.delete("/stats"), 405, "method_not_allowed")


MANAGED = {
    "/health", "/stats", "/metrics", "/queue/stats", "/queue/flush/{provider}", "/batches", "/batches/stats",
    "/batches/{batch_id}", "/batches/purge", "/requests/{request_id}", "/submit",
    "/results", "/results/counts", "/results/requests",
}  # fmt: skip
RELAYED = {
    "/v1/files": {"get", "post"}, "/v1/files/{id}": {"get", "delete"}, "/v1/files/{id}/content": {"get"},
    "/v1/batches": {"get", "post"}, "/v1/batches/{id}": {"get"}, "/v1/batches/{id}/cancel": {"post"},
    CHAT: {"get", "post"}, f"{CHAT}/{{id}}": {"get", "post", "delete"}, f"{CHAT}/{{id}}/messages": {"get"},
    "/v1/responses": {"post"}, "/v1/responses/{id}": {"get", "delete"}, "/v1/responses/{id}/cancel": {"post"},
    "/v1/responses/{id}/input_items": {"get"},
}  # fmt: skip


async def test_the_description_holds_every_route(gate: Gate) -> None:
    described = (await gate.http.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert described["paths"]["/health"]["get"]["security"] == []
    assert described["info"]["title"] == "batchway"
    paths = described["paths"]
    assert {"/v1/embeddings", "/v1/models", "/v1/models/{model}"} | MANAGED | RELAYED.keys() == set(paths)
    assert {path: set(paths[path]) for path in RELAYED} == RELAYED
    operations = [operation for item in paths.values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all({"200", "4XX", "5XX"} <= set(operation["responses"]) for operation in operations)
    assert not [operation for operation in operations if "422" in operation["responses"]], "it is never given"
    for path in (CHAT, "/v1/embeddings", "/v1/responses", "/submit"):
        operation = paths[path]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert "model" in schema["required"]
        assert {"provider", "priority", "deadline", "request_id", "reuse"} <= set(schema["properties"])
        assert {"prefer", "timeout"} <= {parameter["name"] for parameter in operation["parameters"]}
        assert "location" in operation["responses"]["202"]["headers"]
    for path in re.findall(r'"\$ref": ?"#/([^"]+)"', (await gate.http.get("/openapi.json")).text):
        found = described
        for step in path.split("/"):
            found = found[step]


async def test_the_description_of_many_requests_is_what_they_get(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        paths = (await gate.http.get("/openapi.json")).json()["paths"]
        described = paths["/submit"]["post"]
        asked, answered = described["requestBody"]["content"][NDJSON], described["responses"]["202"]
        chat_line, row_line = asked["schema"]["oneOf"]
        assert chat_line == described["requestBody"]["content"]["application/json"]["schema"]
        assert set(row("a")) == set(row_line["properties"]) > set(row_line["required"])
        assert row("a")["url"] in row_line["properties"]["url"]["enum"]
        (prefix,) = [each for each in described["parameters"] if each["name"] == "prefix"]
        assert (prefix["in"], prefix["required"]) == ("query", False)

        answer = await submit(gate, row("a", strategy="direct"), row("b", stream=True), prefix="run-")
        await ended(gate, "run-a")
        again = await submit(gate, row("a", strategy="direct"), prefix="run-")
        await gate.gateway.engine.drain()
        stopped = await submit(gate, row("c"))
        assert [each.status_code for each in (answer, again, stopped)] == [202, 202, 503]
        assert {"x-batchway-taken", "x-batchway-refused"} <= set(answered["headers"]) & set(answer.headers)
        said = told(answer) + told(again) + told(stopped)
        schema = answered["content"][NDJSON]["schema"]
        assert schema == described["responses"]["5XX"]["content"][NDJSON]["schema"]
        assert set().union(*said) == set(schema["properties"])
        assert [each["status"] for each in said] == ["pending", "refused", "completed", "refused"]
        assert {each["status"] for each in said} | {"failed"} == set(schema["properties"]["status"]["enum"])
        assert all(set(schema["required"]) <= set(each) for each in said)

        assert paths["/results"]["get"]["responses"]["200"]["content"].keys() == {NDJSON}
        (line,) = (await gate.http.get("/results", params={"prefix": "run-"})).text.splitlines()
        shown = paths["/results"]["get"]["responses"]["200"]["content"][NDJSON]["schema"]["oneOf"]
        assert set(json.loads(line)) in [set(each["properties"]) for each in shown]


async def test_what_is_described_is_there(gate: Gate) -> None:
    """Every path and method leads somewhere, and no other method does."""
    paths = (await gate.http.get("/openapi.json")).json()["paths"]
    for path, item in paths.items():
        url = re.sub(r"\{[^}]+\}", "x", path)
        for method in ("get", "post", "put", "delete", "patch"):
            answer = await gate.http.request(method, url)
            if method in item:
                assert answer.status_code != 405 and "no such route" not in answer.text, (method, path)
            else:
                assert answer.status_code in (404, 405), (method, path)


async def test_the_docs_need_no_other_server(gate: Gate) -> None:
    page = await gate.http.get("/docs")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert links
    assert not [link for link in links if re.match(r"(https?:)?//", link)]
    for link in links:
        assert (await gate.http.get(link)).status_code == 200, link
