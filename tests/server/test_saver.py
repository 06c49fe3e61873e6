"""What a profile does, through the running gateway: `saver` packs where that is cheaper and shortens what does not fit,
`transparent` alters nothing; keys and requests say otherwise for themselves."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.gate import CHAT, Gate, chat, check_fault, open_gate, said, until, via

from batchway.core.planner.packing import PAUSE
from batchway.data.vocabulary import Vocabularies
from batchway.settings import KeyEntry, hash_key

SYSTEM = "You sort letters to a newspaper. " * 300
STAKE: dict[str, Any] = {"pack_stake_usd": 0.01}
WORLD = {"words": 1}
"""The model says little, as models do that sort."""


def question(text: str, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{text} Answer in one word."}]
    return chat(messages=turns, temperature=0, **fields)


async def crowd(gate: Gate, name: str, number: int = 6, **fields: Any) -> list[httpx2.Response]:
    """Questions at once, each with a word that nobody else has."""
    asked = [question(f"Is letter {name}{at}x a complaint?", **fields) for at in range(number)]
    answers = await asyncio.gather(*(gate.http.post(CHAT, json=each) for each in asked))
    assert [answer.status_code for answer in answers] == [200] * number, answers[0].text
    return answers


def sizes(answers: list[httpx2.Response]) -> list[int]:
    return [int(answer.headers.get("x-batchway-packed", 1)) for answer in answers]


def why(answer: httpx2.Response) -> str:
    return str(answer.headers["x-batchway-why"])


def own(answers: list[httpx2.Response], name: str) -> list[bool]:
    """Who got its own answer."""
    return [f"{name}{at}x" in said(answer) for at, answer in enumerate(answers)]


async def packs(gate: Gate, rounds: int = 6) -> list[httpx2.Response]:
    """Crowds until some of them share calls."""
    for number in range(rounds):
        answers = await crowd(gate, f"warm{number}-")
        assert all(own(answers, f"warm{number}-"))
        if max(sizes(answers)) > 1:
            return [answer for answer in answers if "x-batchway-packed" in answer.headers]
    raise AssertionError(why(answers[-1]))


async def test_the_saver_packs_where_it_is_cheaper_and_says_the_arithmetic() -> None:
    async with open_gate(sandbox=WORLD, profile="saver", reuse="off", **STAKE) as gate:
        packed = await packs(gate)
        assert "packed, cheaper: 3 together cost 0.000" in why(packed[0])
        assert all(float(answer.headers["x-batchway-saved-usd"]) > 0 for answer in packed)
        (shown,) = (await gate.http.get("/stats")).json()["packing"]
        assert (shown["provider"], shown["model"], shown["format"]) == ("openai", "gpt-4o-mini", "xml")
        assert shown["requests"] >= 3 * shown["calls"] > 0 == shown["asked_again_singly"]
        metrics = (await gate.http.get("/metrics")).text
        assert 'batchway_packed_requests_total{model="gpt-4o-mini",provider="openai"}' in metrics


async def test_its_own_money_is_risked_only_where_its_owner_says_so() -> None:
    async with open_gate(sandbox=WORLD, packing="auto") as gate:
        first = await crowd(gate, "first")
        assert sizes(first) == [1] * 6
        assert any("nothing pays for the risk yet; cheaper: " in why(answer) for answer in first)
        # What is answered before saves a call each time: a tenth of that may be risked.
        for _ in range(4):
            assert {via(answer) for answer in await crowd(gate, "first")} == {"cache"}
        await asyncio.sleep(PAUSE)
        assert max(sizes(await crowd(gate, "second") + await crowd(gate, "third"))) == 3


async def test_exchanged_answers_are_found_out_within_fifty_packs_and_it_says_so() -> None:
    async with open_gate(sandbox=WORLD, profile="saver", reuse="off", **STAKE) as gate:
        gate.fault({"kind": "packed", "how": "swapped", "count": None})
        for number in range(50):
            answers = await crowd(gate, f"n{number}-")
            if any("packing is off for this model" in why(answer) for answer in answers):
                break
        made = sum("packed" in line.faults for line in gate.lines)
        assert 0 < made <= 50
        assert "of its packed answers agree with single ones" in why(answers[-1])
        (shown,) = (await gate.http.get("/stats")).json()["packing"]
        assert shown["auto_packs_up_to"] == 1
        assert "packing is off for this model" in shown["why"]
        assert 'batchway_pack_size{model="gpt-4o-mini",provider="openai"} 1.0' in (await gate.http.get("/metrics")).text
        for number in range(3):
            answers = await crowd(gate, f"later{number}-")
            assert sizes(answers) == [1] * 6
            assert all(own(answers, f"later{number}-"))


@pytest.mark.parametrize("how", [None, "missing", "cut", "filtered"])
async def test_what_is_booked_is_what_the_provider_bills(how: str | None) -> None:
    """Parts, what is asked again, and the samples that nobody asked for: to the picodollar."""
    async with open_gate(sandbox=WORLD, profile="saver", reuse="off", **STAKE) as gate:
        if how is not None:
            gate.fault({"kind": "packed", "how": how, "count": None, "share": 0.3})
        for number in range(8):
            await crowd(gate, f"n{number}-")
        await until(gate.under_way(0))
        # gpt-4o-mini: 0.15 USD a million tokens in, 0.60 out.
        assert gate.gateway.stats.paid == sum(line.input * 150_000 + line.output * 600_000 for line in gate.lines)
        (shown,) = (await gate.http.get("/stats")).json()["packing"]
        assert shown["calls"] > 0


async def test_durable_requests_are_packed_too(tmp_path: Path) -> None:
    environment = {"BATCH_WINDOW_MS": "300", "MAX_BATCH_SIZE": "3"}
    async with open_gate(environment=environment, database_url=str(tmp_path / "store.db")) as gate:
        asked = [question(f"Is letter {name} a complaint?", request_id=f"id-{name}") for name in ("a", "b", "c")]
        answers = await asyncio.gather(*(gate.http.post(CHAT, json=each) for each in asked))
        assert sizes(answers) == [3, 3, 3]
        for answer, each in zip(answers, asked, strict=True):
            found = (await gate.http.get(f"/requests/{each['request_id']}")).json()
            assert found["status"] == "completed"
            assert found["response"]["choices"] == answer.json()["choices"]


async def test_an_always_failing_model_costs_what_was_staked_at_most() -> None:
    async with open_gate(sandbox=WORLD, profile="saver", reuse="off", pack_stake_usd=0.002) as gate:
        gate.fault({"kind": "packed", "how": "empty", "count": None}, {"kind": "packed", "how": "cut", "count": None})
        answers = [answer for number in range(8) for answer in await crowd(gate, f"n{number}-")]
        lost = -sum(float(answer.headers["x-batchway-saved-usd"]) for answer in answers)
        assert any("packed" in line.faults for line in gate.lines), "it was tried"
        assert lost <= 0.002


async def test_reasoning_models_and_long_answers_are_not_packed_by_auto() -> None:
    async with open_gate(sandbox=WORLD, profile="saver", reuse="off", **STAKE) as gate:
        answers = await crowd(gate, "a", model="gpt-6-luna")
        assert all("its model reasons before it answers" in why(answer) for answer in answers)
        essay = [chat(f"Write an essay of 800 words about {topic}.") for topic in ("fjords", "fells")]
        answers = await asyncio.gather(*(gate.http.post(CHAT, json=each) for each in essay))
        assert all("its answer may take 1066 tokens" in why(answer) for answer in answers)


async def test_keys_have_defaults_and_requests_say_otherwise() -> None:
    names: dict[str, dict[str, Any]] = {"plain": {}, "saving": {"profile": "saver"}, "never": {"packing": "never"}}
    entries = tuple(KeyEntry(name=name, hash=hash_key(name), **given) for name, given in names.items())
    async with open_gate(sandbox=WORLD, keys=entries, reuse="off", profile="transparent", **STAKE) as gate:

        async def reasons(name: str, **fields: Any) -> str:
            headers = {"authorization": f"Bearer {name}"}
            asked = [question(f"{name} {at}?", **fields) for at in range(4)]
            answers = await asyncio.gather(*(gate.http.post(CHAT, json=each, headers=headers) for each in asked))
            return " ".join(map(why, answers))

        assert "singly" not in await reasons("plain")
        assert "singly" in await reasons("saving") or "packed" in await reasons("saving")
        assert "singly" not in await reasons("never")
        assert "packing=always" in await reasons("never", packing="always")
        assert "singly" not in await reasons("saving", packing="never")


async def test_the_batcher_and_the_transparent_profile_pack_nothing() -> None:
    for profile in ("transparent", "batcher"):
        async with open_gate(sandbox=WORLD, profile=profile, reuse="off") as gate:
            assert sizes(await crowd(gate, "a", strategy="direct")) == [1] * 6


# Fitting


STORY = [
    f"On day {at} the ferry to Oslo left {at % 7} minutes late and nobody on board complained." for at in range(400)
]
FACT = "The harbour master of Bergen is called Solveig Aase and she keeps a parrot."
QUESTION = "Who is the harbour master of Bergen?"


def long_chat(**fields: Any) -> dict[str, Any]:
    story = " ".join([*STORY[:200], FACT, *STORY[200:]])
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"{story}\n\n```python\nkept = 'code'\n```"},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": QUESTION},
    ]
    return chat(messages=turns, **fields)


async def test_what_does_not_fit_is_shortened_where_that_was_asked_for() -> None:
    environment = {"DEFAULT_CONTEXT_TOKENS": "2500", "META_OVERHEAD_TOKENS": "100"}
    counting = {"count": Vocabularies().counter("o200k_base")}
    async with open_gate(sandbox=counting, environment=environment) as gate:
        whole = await gate.http.post(CHAT, json=long_chat(optimize="off"))
        assert whole.json()["usage"]["prompt_tokens"] > 7_000
        assert "x-batchway-fitted" not in whole.headers
        fitted = await gate.http.post(CHAT, json=long_chat())
        assert 2_000 < fitted.json()["usage"]["prompt_tokens"] <= 2_400
        assert "extraction" in fitted.headers["x-batchway-fitted"]
        assert QUESTION in said(fitted)


async def test_what_fits_goes_as_it_came() -> None:
    async with open_gate(profile="saver") as gate:
        body = json.dumps(long_chat(packing="never")).encode()
        sent = await gate.post(body)
        assert "x-batchway-fitted" not in sent.headers
        without = {name: value for name, value in json.loads(body).items() if name != "packing"}
        await gate.direct(json.dumps(without).encode())
        first, second = gate.lines
        assert first.input == second.input


async def test_what_is_never_altered_and_too_long_is_left_to_the_provider() -> None:
    async with open_gate(context_tokens=50, optimize="fit") as gate:
        turns = [{"role": "system", "content": " ".join(STORY[:20])}, {"role": "user", "content": QUESTION}]
        answer = await gate.ask(messages=turns)
        assert answer.status_code == 200
        assert "could not be made to fit" in answer.headers["x-batchway-fitted"]
        assert answer.json()["usage"]["prompt_tokens"] > 200


async def test_shortened_requests_are_not_packed() -> None:
    environment = {"DEFAULT_CONTEXT_TOKENS": "2500", "BATCH_WINDOW_MS": "50"}
    async with open_gate(environment=environment, optimize="fit") as gate:
        answers = await asyncio.gather(*(gate.http.post(CHAT, json=long_chat(user=str(at))) for at in range(2)))
        assert all("its earlier turns were shortened for its own question" in why(answer) for answer in answers)


@pytest.mark.parametrize("hint", [{"packing": "sometimes"}, {"optimize": "shrink"}, {"packing": 1}])
async def test_a_hint_that_is_none_is_named(hint: dict[str, Any]) -> None:
    async with open_gate() as gate:
        answer = await gate.ask(**hint)
        check_fault(answer, 400, answer.json()["error"]["code"], next(iter(hint)))
