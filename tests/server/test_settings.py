"""What settings do to requests: defaults only where they are set, and which provider a model's name means."""

import json
from typing import Any

from tests.gate import CHAT, Gate, chat, check_fault, open_gate, via


async def sent(gate: Gate, **fields: Any) -> str:
    """The hash of the body that the provider got."""
    assert (await gate.ask(**fields)).status_code == 200
    return gate.lines[-1].request_hash


async def hash_of(gate: Gate, content: dict[str, Any]) -> str:
    """The hash of this body at the provider."""
    assert (await gate.direct(content)).status_code == 200
    return gate.lines[-1].request_hash


async def test_nothing_is_put_into_a_request_unless_a_setting_says_so(gate: Gate) -> None:
    body = json.dumps(chat()).encode()
    assert (await gate.post(body)).status_code == 200
    assert (await gate.direct(body)).status_code == 200
    assert gate.lines[0].request_hash == gate.lines[1].request_hash
    without = {name: value for name, value in chat().items() if name != "model"}
    check_fault(await gate.http.post(CHAT, json=without), 400, "missing_required_parameter", "model")


async def test_defaults_fill_what_a_request_leaves_open() -> None:
    flags: dict[str, Any] = {
        "default_model": "gpt-4o",
        "default_temperature": 0,
        "default_max_output_tokens": 77,
        "default_top_p": 0.5,
    }
    async with open_gate(**flags) as gate:
        filled = chat(max_tokens=77, temperature=0.0, top_p=0.5)
        assert await sent(gate) == await hash_of(gate, filled)
        given: dict[str, Any] = {"max_tokens": 5, "temperature": 1, "top_p": 1}
        assert await sent(gate, **given) == await hash_of(gate, chat(**given))
        without = {name: value for name, value in chat().items() if name != "model"}
        assert (await gate.http.post(CHAT, json=without)).json()["model"] == "gpt-4o"
        assert via(await gate.ask()) == "cache", "a temperature of 0 that was filled in is repeatable too"
        embedded = await gate.http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "a"})
        assert embedded.status_code == 200
    async with open_gate(sandbox={"strict": True}, **flags) as gate:
        embedding = {"model": "text-embedding-3-small", "input": "a"}
        assert (await gate.http.post("/v1/embeddings", json=embedding)).status_code == 200
        response = await gate.http.post("/v1/responses", json={"model": "gpt-4o-mini", "input": "a"})
        assert response.status_code == 200, response.text


async def test_which_provider_a_name_means(gate: Gate) -> None:
    for model, hint, provider, name in (
        ("gpt-4o-mini", None, "openai", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", None, "openai", "gpt-4o-mini"),
        ("groq/llama-3.3-70b", None, "groq", "llama-3.3-70b"),
        ("grok/grok-4", None, "grok", "grok-4"),
        ("xai/grok-4", None, "grok", "grok-4"),
        ("grok-4", "xai", "grok", "grok-4"),
        ("grok-4", "grok", "grok", "grok-4"),
        ("anything", "deepinfra", "deepinfra", "anything"),
        ("meta-llama/llama-3", "openrouter", "openrouter", "meta-llama/llama-3"),
        ("nobody/knows-this", None, "openai", "nobody/knows-this"),
    ):
        answer = await gate.ask(model=model, provider=hint)
        assert answer.status_code == 200, answer.text
        line = gate.lines[-1]
        assert (line.provider, line.model) == (provider, name), model
        assert answer.json()["provider"] == provider


async def test_an_unknown_provider_is_refused_with_the_known_ones(gate: Gate) -> None:
    error = check_fault(await gate.ask(provider="nope"), 400, "unknown_provider", "provider")
    assert "openai" in error["message"]
    assert "groq" in error["message"]


async def test_an_own_provider_and_another_default() -> None:
    async with open_gate() as provider:
        environment = {
            "BATCHWAY_PROVIDERS__MINE__BASE_URL": f"{provider.upstream}/mine/v1",
            "BATCHWAY_PROVIDERS__MINE__KEY": "sk-mine",
            "OPENAI_BASE_URL": f"{provider.upstream}/v1",
            "BATCHWAY_DEFAULT_PROVIDER": "mine",
        }
        async with open_gate(environment=environment) as gate:
            answer = await gate.ask(model="my-model")
            assert answer.json()["provider"] == "mine"
            line = provider.lines[-1]
            assert (line.provider, line.model, line.key) == ("mine", "my-model", "mine")


async def test_strategies_that_are_not_offered_say_why(gate: Gate) -> None:
    answer = await gate.ask(strategy="batch")
    assert via(answer) == "direct"
    assert "strategy batch asked for, but" in answer.headers["x-batchway-why"]
