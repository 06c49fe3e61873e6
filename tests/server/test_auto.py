"""`model: auto` through the running gateway: which model answers, that it is said why, and what none is chosen for."""

import json
from typing import Any

import pytest
from tests.gate import Gate, chat, check_fault, open_gate
from typer.testing import CliRunner

from batchway.cli import app

CODE = "Write a Python function that reverses a list"
PROOF = "Prove that the square root of 2 is irrational."
REVIEW = "Classify this review: I loved it"


def asked(text: str, **fields: Any) -> dict[str, Any]:
    """The body of a chat whose model is left to the gateway."""
    return chat(text, model="auto", **fields)


async def chosen(gate: Gate, text: str, **fields: Any) -> str:
    """Provider and model of the answer."""
    answer = await gate.http.post("/v1/chat/completions", json=asked(text, **fields))
    assert answer.status_code == 200, answer.text
    return f"{answer.json()['provider']}/{answer.json()['model']}"


async def test_the_task_decides_and_it_is_said_why(gate: Gate) -> None:
    assert await chosen(gate, REVIEW, provider="openai") == "openai/gpt-6-luna"
    assert await chosen(gate, CODE, provider="openai") == "openai/gpt-6.1-terra"
    answer = await gate.http.post("/v1/chat/completions", json=asked(PROOF, provider="openai"))
    assert answer.json()["model"] == "gpt-6.1-sol"
    assert "; model: reason of high complexity needs tier 3, which 1 of 5" in answer.headers["x-batchway-why"]
    # That is what the provider was asked for, and billed.
    assert [line.model for line in gate.lines] == ["gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"]


async def test_of_all_providers_the_cheapest_is_taken(gate: Gate) -> None:
    assert await chosen(gate, CODE) == "deepinfra/openai/gpt-oss-120b"


def without(*providers: str) -> dict[str, str]:
    """Variables that switch these providers off."""
    return {f"BATCHWAY_PROVIDERS__{provider.upper()}__ENABLED": "false" for provider in providers}


async def test_the_lab_chooses_as_the_gateway_does(gate: Gate) -> None:
    ended = CliRunner().invoke(app, ["simulate", "--json"], catch_exceptions=False)
    compared = 0
    for request in json.loads(ended.stdout)["requests"]:
        if "prompt" in request:
            assert await chosen(gate, request["prompt"], provider="openai") == f"openai/{request['selected_model']}"
            compared += 1
    assert compared == 48


async def test_only_configured_providers_are_considered() -> None:
    async with open_gate(environment=without("deepinfra", "groq", "gemini", "grok", "anthropic")) as gate:
        assert await chosen(gate, CODE) == "mistral/mistral-large-latest"
        assert await chosen(gate, PROOF) == "mistral/mistral-medium-3-5"
    async with open_gate(environment=without("openai"), default_provider="anthropic") as gate:
        assert await chosen(gate, CODE, provider="anthropic") == "anthropic/claude-sonnet-5-5"


async def test_without_a_provider_key_the_callers_own_goes_to_the_default_provider() -> None:
    async with open_gate(keyless=True) as gate:
        own = {"authorization": "Bearer sandbox-key"}
        answer = await gate.http.post("/v1/chat/completions", json=asked(CODE), headers=own)
        assert (answer.json()["provider"], answer.json()["model"]) == ("openai", "gpt-6.1-terra")
        check_fault(await gate.http.post("/v1/chat/completions", json=asked(CODE)), 401, "missing_api_key")


async def test_whoever_sets_a_temperature_gets_a_model_that_takes_it(gate: Gate) -> None:
    assert await chosen(gate, REVIEW, provider="openai", temperature=0) == "openai/gpt-4o-mini"
    assert await chosen(gate, REVIEW, provider="anthropic", top_p=0.5) == "anthropic/claude-haiku-4-5"
    async with open_gate(default_temperature=0) as filled:
        assert await chosen(filled, REVIEW, provider="openai") == "openai/gpt-4o-mini"


async def test_a_provider_that_cannot_be_asked_this_is_passed_over() -> None:
    # Two choices cannot be asked of Anthropic, whose Haiku is the cheapest here.
    environment = without("deepinfra", "groq", "mistral", "gemini", "grok")
    own = {"openai/gpt-6-luna": {"input": 1, "output": 5}, "openai/gpt-4o-mini": {"tier": 0}}
    async with open_gate(environment=environment, models=own) as gate:
        assert await chosen(gate, REVIEW) == "anthropic/claude-haiku-5-5"
        assert await chosen(gate, REVIEW, n=2) == "openai/gpt-6-luna"
        refused = await gate.http.post("/v1/chat/completions", json=asked(REVIEW, n=2, provider="anthropic"))
        check_fault(refused, 400, "unsupported_parameter", "n")
        assert [line.model for line in gate.lines] == ["claude-haiku-5-5", "gpt-6-luna"], "nothing else was sent"


async def test_the_owner_says_which_models_may_be_chosen() -> None:
    own = {
        "openai/gpt-6-luna": {"tier": 0},
        "openai/gpt-4o-mini": {"tier": 0},
        "openai/house-model": {"tier": 1, "input": 0.01, "output": 0.01},
    }
    async with open_gate(models=own) as gate:
        assert await chosen(gate, REVIEW, provider="openai") == "openai/house-model"


async def test_other_endpoints_and_streams(gate: Gate) -> None:
    asking = {"model": "auto", "provider": "openai"}
    answer = await gate.http.post("/v1/responses", json=asking | {"input": PROOF})
    assert answer.json()["model"] == "gpt-6.1-sol"
    # Whoever is the cheapest of all, it is one whose dialect has responses.
    answer = await gate.http.post("/v1/responses", json={"model": "auto", "input": REVIEW})
    assert answer.status_code == 200, answer.text
    streamed = await gate.http.post("/v1/chat/completions", json=asked(CODE, provider="openai", stream=True))
    assert "gpt-6.1-terra" in streamed.text
    assert "; model: code of medium complexity" in streamed.headers["x-batchway-why"]
    refused = await gate.http.post("/v1/embeddings", json=asking | {"input": "a"})
    assert "name one" in check_fault(refused, 400, "invalid_value", "model")["message"]


@pytest.mark.parametrize("feature", ["images", "audio"])
async def test_what_is_not_text_is_not_chosen_for(gate: Gate, feature: str) -> None:
    parts: dict[str, Any] = {
        "images": {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        "audio": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    }
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, parts[feature]]}]
    refused = await gate.http.post("/v1/chat/completions", json={"model": "auto", "messages": messages})
    assert f"a request with {feature}" in check_fault(refused, 400, "invalid_value", "model")["message"]
    assert gate.calls == 0


async def test_a_default_model_may_be_auto() -> None:
    body = asked(PROOF, provider="openai")
    del body["model"]
    async with open_gate(default_model="auto") as gate:
        assert (await gate.http.post("/v1/chat/completions", json=body)).json()["model"] == "gpt-6.1-sol"
