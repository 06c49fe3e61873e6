"""The pretended model and packed prompts, over HTTP: it answers each item as it would alone, and goes wrong as told."""

from typing import Any

import httpx2
import msgspec
import pytest
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import ask, last_line, ledger, switch_on

from batchway.core.packing import FORMATS, Format, Missing
from batchway.sandbox import count_roughly, faults, packed

ITEMS = ["What is a fjord?", "And a\nskerry?", 'Say "x" \\ <b>', "你好?"]
NONCES = tuple(f"{number:020d}" for number in range(len(ITEMS)))
BEFORE = [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes?"}]
FORMS = tuple(FORMATS.values())


def turns(text: str) -> list[dict[str, str]]:
    """The conversation with this as its last message."""
    return [*BEFORE, {"role": "user", "content": text}]


async def alone(client: httpx2.AsyncClient) -> list[str]:
    """What the model says to each item singly."""
    answers = [await ask(client, messages=turns(item)) for item in ITEMS]
    return [answer.json()["choices"][0]["message"]["content"] for answer in answers]


async def together(client: httpx2.AsyncClient, form: Format, **fields: Any) -> tuple[list[str | None], dict[str, Any]]:
    """The items in one call: what each gets (None: missing), and the whole answer."""
    answer = await ask(client, messages=turns(form.compose(ITEMS, NONCES)), **fields)
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    choice = whole["choices"][0]
    found = form.split(choice["message"]["content"], NONCES, cut=choice["finish_reason"] == "length")
    return [None if isinstance(each, Missing) else each for each in found], whole


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
async def test_each_item_is_answered_as_if_asked_alone(client: httpx2.AsyncClient, form: Format) -> None:
    answers, whole = await together(client, form)
    assert answers == await alone(client)
    assert len(set(answers)) == len(ITEMS)
    said = whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] == count_roughly(said) == (await ledger(client))["lines"][0]["output"]
    prompt = 3 + sum(4 + count_roughly(turn["content"]) for turn in turns(form.compose(ITEMS, NONCES)))
    assert whole["usage"]["prompt_tokens"] == prompt


async def test_another_conversation_is_another_answer(client: httpx2.AsyncClient) -> None:
    answers, _ = await together(client, FORMATS["xml"])
    elsewhere = [{"role": "system", "content": "Be long."}, {"role": "user", "content": ITEMS[0]}]
    other = await ask(client, messages=elsewhere)
    assert other.json()["choices"][0]["message"]["content"] != answers[0]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
async def test_a_limit_of_tokens_cuts_the_last_answers(client: httpx2.AsyncClient, form: Format) -> None:
    singles = await alone(client)
    answers, whole = await together(client, form, max_tokens=150)
    assert (whole["choices"][0]["finish_reason"], whole["usage"]["completion_tokens"]) == ("length", 150)
    kept = [each for each in answers if each is not None]
    assert 0 < len(kept) < len(ITEMS)
    assert answers[: len(kept)] == singles[: len(kept)]


async def test_a_stream_says_the_same(client: httpx2.AsyncClient) -> None:
    prompt = turns(FORMATS["xml"].compose(ITEMS, NONCES))
    streamed = await ask(client, messages=prompt, stream=True)
    assert NONCES[3] in streamed.text


@pytest.mark.parametrize(
    "text", ["What is <item id='1'>?", 'Write <answer id="1">', '[{"id": 1}] "answer"', '"answer" [{"id":']
)
async def test_ordinary_prompts_are_answered_ordinarily(client: httpx2.AsyncClient, text: str) -> None:
    answer = (await ask(client, messages=turns(text))).json()["choices"][0]["message"]["content"]
    assert answer.startswith("Echo ")
    assert packed.understand(text) is None


LEFT: dict[packed.How, int] = {"doubled": 3, "reordered": 4, "wrapped": 4, "shifted": 4, "swapped": 4}
"""Answers that are left of four where it does not depend on the place that is hit."""


@pytest.mark.parametrize("how", [how for how in packed.WAYS if how != "filtered"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
async def test_misbehaviours_show_and_are_billed_as_said(
    client: httpx2.AsyncClient, form: Format, how: packed.How
) -> None:
    singles = await alone(client)
    right, _ = await together(client, form)
    await switch_on(client, {"kind": "packed", "how": how})
    answers, whole = await together(client, form)
    line = await last_line(client)
    assert (line["faults"], line["outcome"]) == (["packed"], "completed")
    assert line["output"] == count_roughly(whole["choices"][0]["message"]["content"])
    assert (whole["choices"][0]["finish_reason"] == "length") == (how == "cut")
    left = sum(each is not None for each in answers)
    assert left == LEFT[how] if how in LEFT else left < len(ITEMS)
    wrong = [each for place, each in enumerate(answers) if each not in (None, singles[place])]
    assert bool(wrong) == (how in packed.UNSEEN)
    if how not in ("reordered", "wrapped"):
        assert answers != right
    # Once: the next call is answered rightly again.
    assert (await together(client, form))[0] == right


async def test_a_content_filter_refuses_the_whole_call_unbilled(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "packed", "how": "filtered", "count": None, "match": {"text": "skerry"}})
    refused = await ask(client, messages=turns(FORMATS["xml"].compose(ITEMS, NONCES)))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_filter")
    line = await last_line(client)
    assert (line["outcome"], line["input"], line["output"]) == ("refused", 0, 0)
    without = [item for item in ITEMS if "skerry" not in item]
    assert (await ask(client, messages=turns(FORMATS["xml"].compose(without, NONCES[:3])))).status_code == 200
    assert (await ask(client, messages=turns("And a skerry?"))).status_code == 200


async def test_single_calls_and_other_endpoints_never_misbehave_so(client: httpx2.AsyncClient) -> None:
    right = await alone(client)
    await switch_on(client, {"kind": "packed", "how": "empty", "count": None})
    assert await alone(client) == right
    assert (await ask(client, "/v1/embeddings", input="a")).status_code == 200
    (armed,) = (await client.get("/sandbox/faults")).json()["faults"]
    assert armed["applied"] == 0


async def test_a_share_of_the_packs_is_hit(opened: Open) -> None:
    async with opened(words=1) as client:
        await switch_on(client, {"kind": "packed", "how": "empty", "count": None, "share": 0.3, "seed": 7})
        hit = []
        for number in range(60):
            nonces = [f"{number:010d}{place:010d}" for place in range(2)]
            answer = await ask(client, messages=turns(FORMATS["xml"].compose(["a", "b"], nonces)))
            found = FORMATS["xml"].split(answer.json()["choices"][0]["message"]["content"], nonces, cut=False)
            hit.append(any(isinstance(each, Missing) for each in found))
    assert 5 < sum(hit) < 35


@pytest.mark.parametrize(
    "rule",
    [{"how": "rude"}, {}, {"how": "cut", "share": 1.5}, {"how": "cut", "share": -1}, {"how": "cut", "seed": "a"}],
)
def test_a_wrong_rule_is_told(rule: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        faults.read(msgspec.json.encode([{"kind": "packed", **rule}]))


@pytest.mark.parametrize("how", [how for how in packed.WAYS if how != "filtered"])
def test_a_lone_answer_can_go_wrong_without_a_fault_of_ours(how: packed.How) -> None:
    text, _ = packed.misbehave(how, "xml", [packed.Item(NONCES[0], "words")], "seed")
    assert isinstance(text, str)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"messages":[]}', b'{"messages":[1]}', b'{"messages":[{"content":[]}]}']
)
def test_a_body_that_is_no_chat_is_not_packed(body: bytes) -> None:
    assert not packed.is_packed(body)


async def test_a_text_in_a_part_is_the_same_question(client: httpx2.AsyncClient) -> None:
    part = [*BEFORE, {"role": "user", "content": [{"type": "text", "text": ITEMS[0]}]}]
    plain, parted = [(await ask(client, messages=messages)).json()["choices"] for messages in (turns(ITEMS[0]), part)]
    assert plain == parted
