"""Outlines: what is kept of a request when its texts go, and the prompt that decisions are made on then."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.core.asking import request

from batchway.core.types import Request
from batchway.wire import chat
from batchway.wire.outlines import Traits, prompt_of, traits_of


def asked(*texts: str, **fields: Any) -> Request:
    roles = ["system", *["user", "assistant"] * len(texts)]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    body = json.dumps({"model": "m", "messages": messages} | fields).encode()
    return structs.replace(request(), body=body, prompt=chat.read(body).prompt)


def test_requests_that_differ_in_their_last_text_alone_are_kin() -> None:
    one, other = (
        traits_of(asked("Sort letters.", "a", max_tokens=5)),
        traits_of(asked("Sort letters.", "b", max_tokens=5)),
    )
    assert one.kin == other.kin != ""
    assert (one.item, one.text) == (1, 14)


@pytest.mark.parametrize(
    "other",
    [
        asked("Sort parcels.", "a"),
        asked("Sort letters.", "a", temperature=0),
        asked("Sort letters.", "a", max_tokens=9),
        asked("Sort letters.", "a", seed=1),
        asked("Sort letters.", "before", "said", "a"),
        asked("Sort letters.", "a", model="other"),
    ],
)
def test_any_other_difference_parts_them(other: Request) -> None:
    assert traits_of(other).kin != traits_of(asked("Sort letters.", "a")).kin


def test_a_text_that_comes_twice_is_taken_out_once() -> None:
    assert traits_of(asked("x", "x")).kin == traits_of(asked("x", "y")).kin


def test_without_a_last_user_text_there_are_no_kin() -> None:
    found = traits_of(asked("Sort letters.", "a", "said"))
    assert (found.kin, found.item) == ("", 0)
    assert prompt_of(found, "m", tokens=10, answer=5).outline.item is None  # type: ignore[union-attr]


def test_what_was_said_cannot_be_read_in_what_is_kept() -> None:
    kept = msgspec.json.encode(traits_of(asked("a secret of the system", "a secret of the user")))
    assert b"secret" not in kept
    assert msgspec.json.decode(kept, type=Traits) == traits_of(asked("a secret of the system", "a secret of the user"))


def test_a_prompt_is_made_of_it_that_keeps_all_that_is_no_text() -> None:
    whole = asked("s" * 90, "u" * 10, temperature=0.5, max_tokens=7, stream=True, seed=3, tools=[])
    prompt = prompt_of(traits_of(whole), "m", tokens=200, answer=4)
    for name in ("model", "stream", "temperature", "seed", "n", "max_output", "features"):
        assert getattr(prompt, name) == getattr(whole.prompt, name)
    assert prompt.outline is not None
    assert (prompt.outline.item, prompt.outline.answer, prompt.outline.tolerance) == (20, 4, "low")
    assert prompt.texts == () and prompt.last_user is None and prompt.system == ""


def test_a_conversation_is_known_by_its_turns() -> None:
    talk = prompt_of(traits_of(asked("s", "one", "two", "three")), "m", tokens=9, answer=1)
    question = prompt_of(traits_of(asked("s", "one")), "m", tokens=9, answer=1)
    assert (talk.outline and talk.outline.tolerance, question.outline and question.outline.tolerance) == (
        "low",
        "medium",
    )


def test_what_a_request_asked_of_the_gateway_is_kept() -> None:
    found = traits_of(request(reuse="all", packing="always", optimize="fit"))
    assert (found.reuse, found.packing, found.optimize) == ("all", "always", "fit")
    assert msgspec.json.encode(Traits()) == b"{}"
