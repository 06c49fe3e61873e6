"""A provider that refuses the gateway's own key: callers learn whose key it is, its owner what to mend, once."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from tests.gate import Gate, check_fault, open_gate, until

KEYS = {
    "gpt-4o-mini": "OPENAI_API_KEY",
    "anthropic/claude-haiku-4-5": "ANTHROPIC_API_KEY",
    "gemini/gemini-3.8-flash": "GOOGLE_API_KEY",
    "mistral/mistral-small-latest": "MISTRAL_API_KEY",
    "grok/grok-4.3": "XAI_API_KEY",
    "openrouter/openai/gpt-4o-mini": "OPENROUTER_API_KEY",
}
"""A model of each dialect, and where the key to it is set."""

KEY = "sandbox-key"
"""The gateway's own at the sandbox's providers."""

WHO = "refused the key of this gateway"


@pytest_asyncio.fixture(loop_scope="session")
async def refused(gate: Gate) -> AsyncIterator[Gate]:
    """Its providers take no key any more."""
    gate.sandbox.keys = frozenset()
    yield gate
    gate.sandbox.keys = None


@pytest.mark.parametrize("model", KEYS)
@pytest.mark.parametrize("stream", [False, True])
async def test_callers_are_told_whose_key_it_is(refused: Gate, model: str, stream: bool) -> None:
    answer = await refused.ask(model=model, stream=stream, max_tokens=50)

    error = check_fault(answer, answer.status_code, "provider_key_refused")
    assert answer.status_code in (400, 401, 403), "the provider's own status"
    assert f"{KEYS[model]}" in error["message"] and "not yours" in error["message"]
    assert KEY not in answer.text
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-batchway-why"] == "the call failed: provider_key_refused"
    assert refused.calls == 1, "no other try would end otherwise"


async def test_an_sdk_shows_it(refused: Gate) -> None:
    async with openai.AsyncOpenAI(base_url=f"{refused.address}/v1", api_key="mine", max_retries=2) as client:
        with pytest.raises(openai.AuthenticationError, match=WHO) as caught:
            await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "provider_key_refused"
    assert refused.calls == 1


async def test_what_is_not_allowed_is_told_in_the_providers_own_words(gate: Gate) -> None:
    """A 403 is about what was asked: a model, a region, words that are not allowed."""
    gate.fault({"kind": "status", "status": 403, "code": "unsupported_country_region_territory"})
    error = check_fault(await gate.ask(), 403, "unsupported_country_region_territory")
    assert error["message"] == "The sandbox was told to fail with 403."


async def test_its_owner_is_told_once_for_all_of_them(refused: Gate) -> None:
    with capture_logs() as lines:
        for number in range(10):
            await refused.ask(text=f"{number}", model="deepinfra/gpt-4o-mini")
        await until(refused.waiting(0))

    (line,) = [line for line in lines if line["log_level"] != "debug"]
    assert (line["log_level"], line["event"]) == ("warning", "a provider refuses the key of this gateway")
    assert "DEEPINFRA_API_KEY" in line["message"] and KEY not in str(lines)
    assert len([line for line in lines if line["event"] == "call failed"]) == 10, "details for whoever asks for them"


async def test_one_model_is_looked_up_with_the_same_key(refused: Gate) -> None:
    error = check_fault(await refused.http.get("/v1/models/gpt-4o-mini"), 401, "provider_key_refused")
    assert "OPENAI_API_KEY" in error["message"]


async def test_a_key_of_the_callers_own_is_the_callers() -> None:
    """Where it is forwarded, the provider's words are about it."""
    async with open_gate(keyless=True) as gate:
        asked: dict[str, Any] = {"headers": {"authorization": "Bearer invalid"}}
        for answer in (await gate.ask(**asked), await gate.http.get("/v1/models/gpt-4o-mini", **asked)):
            error = check_fault(answer, 401, "invalid_api_key")
            assert "Incorrect API key" in error["message"] and "gateway" not in error["message"]
