"""The application: prefixes, keys, rate limits, unknown paths, the index and the bound on bodies."""

import httpx2
import pytest
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import ask, last_line, ledger

from batchway.sandbox.state import MODELS


@pytest.mark.parametrize(
    ("prefix", "provider"), [("", "openai"), ("/openai", "openai"), ("/groq", "groq"), ("/own-name", "own-name")]
)
async def test_each_provider_has_its_prefix(client: httpx2.AsyncClient, prefix: str, provider: str) -> None:
    assert (await ask(client, f"{prefix}/v1/chat/completions")).status_code == 200
    assert (await last_line(client))["provider"] == provider


async def test_models(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert [each["id"] for each in listed["data"]] == list(MODELS)
    slashed = (await client.get("/openrouter/v1/models/meta/llama")).json()
    assert (slashed["id"], slashed["object"]) == ("meta/llama", "model")
    assert (await client.get("/v1/models/does-not-exist")).status_code == 404


async def test_a_key_is_needed(client: httpx2.AsyncClient) -> None:
    for value, code in (("", None), ("Basic abc", None), ("Bearer invalid", "invalid_api_key")):
        refused = await client.post("/v1/chat/completions", headers={"authorization": value}, json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)
    assert (await ask(client)).status_code == 200
    assert (await last_line(client))["key"] == "9876", "no more than four characters of a key are kept"


async def test_only_the_configured_keys_are_accepted(opened: Open) -> None:
    async with opened(keys=["sk-right"]) as client:
        assert (await ask(client)).status_code == 401
        client.headers["authorization"] = "Bearer sk-right"
        assert (await ask(client)).status_code == 200


async def test_rate_limits_are_said_and_kept(opened: Open) -> None:
    clock = [120.0]
    async with opened(now=lambda: clock[0], requests_per_minute=2) as client:
        first = await ask(client)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert (await ask(client)).status_code == 200
        clock[0] = 150.0
        refused = await ask(client)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        clock[0] = 180.0
        assert (await ask(client)).status_code == 200


async def test_tokens_are_limited_too(opened: Open) -> None:
    async with opened(now=lambda: 0.0, tokens_per_minute=10) as client:
        assert (await ask(client)).headers["x-ratelimit-remaining-tokens"] == "10"
        refused = await ask(client)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "tokens")


async def test_no_limits_no_headers(client: httpx2.AsyncClient) -> None:
    answer = await ask(client)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert answer.headers["x-request-id"] == (await last_line(client))["request_id"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/favicon.ico", "/groq", "/openai/v2/chat/completions"])
async def test_unknown_paths_are_404_in_openais_shape(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


async def test_the_index_and_the_sandboxs_own_paths(client: httpx2.AsyncClient) -> None:
    index = (await client.get("/")).json()
    assert {"status", "delay", "cut_stream", "no_done", "drop"} <= set(index["faults"])
    assert all(index["faults"].values())
    assert (await client.get("/sandbox/nothing")).status_code == 404
    assert (await client.put("/sandbox/ledger")).status_code == 405
    assert (await ledger(client))["lines"] == [], "talk about the sandbox is not billed"


async def test_a_large_request_is_taken_whole_and_a_larger_one_refused(opened: Open) -> None:
    async with opened(max_body=2_000_000) as client:
        big = await ask(client, messages=[{"role": "user", "content": "word " * 300_000}])
        assert big.json()["usage"]["prompt_tokens"] > 300_000
        refused = await ask(client, messages=[{"role": "user", "content": "word " * 500_000}])
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
