"""When two requests are the same, and who may share an answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.asking import request

from batchway.core.fingerprint import (
    UNANSWERING,
    adoption_key,
    cacheable,
    fingerprint,
    manner,
    reusable,
    twin_key,
)
from batchway.core.types import Answer
from batchway.wire.body import canonical

NAMES = st.text(alphabet="ab:/01", max_size=6) | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)
PARTS = st.tuples(NAMES, NAMES, st.sampled_from(["chat", "embeddings", "responses"]), st.binary(max_size=6))


@given(PARTS, PARTS)
def test_different_requests_never_collide(one: tuple[str, str, str, bytes], other: tuple[str, str, str, bytes]) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) is (one == other)


@given(NAMES, NAMES, NAMES, st.binary(max_size=8))
def test_tenants_never_share(tenant: str, other: str, provider: str, body: bytes) -> None:
    same = fingerprint(tenant, provider, "chat", body) == fingerprint(other, provider, "chat", body)
    assert same is (tenant == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b", "chat", b""), ("a/1:b", "", "chat", b"")),
        (("1:a", "b", "chat", b""), ("1", "a/1:b", "chat", b"")),
        (("a", "b", "chat", b"x"), ("a", "b/chat", "x", b"")),
        (("", "ab", "chat", b""), ("ab", "", "chat", b"")),
        (("a", "b", "chat", b"x/1:p/chat/{}"), ("a/1:b/chat/x", "p", "chat", b"{}")),
        (("é", "b", "chat", b""), ("e\u0301", "b", "chat", b"")),
    ],
)
def test_no_name_can_pass_for_two(one: tuple[str, str, str, bytes], other: tuple[str, str, str, bytes]) -> None:
    assert fingerprint(*one) != fingerprint(*other)


def of(body: bytes) -> str:
    return fingerprint("t", "openai", "chat", canonical(body, UNANSWERING))


@pytest.mark.parametrize("field", sorted(UNANSWERING))
def test_what_does_not_change_an_answer_is_no_part(field: str) -> None:
    assert of(b'{"model":"m","' + field.encode() + b'":{"a":1}}') == of(b'{"model":"m"}')


@pytest.mark.parametrize("field", ["seed", "n", "tools", "service_tier", "x_new", "store", "temperature", "stop"])
def test_everything_else_is(field: str) -> None:
    assert of(b'{"model":"m","' + field.encode() + b'":1}') != of(b'{"model":"m"}')


def test_an_answer_made_otherwise_is_another() -> None:
    manners = [manner(packing, optimize) for packing in ("never", "auto", "always") for optimize in ("off", "fit")]
    assert manners[0] == ""
    found = {fingerprint("t", "p", "chat", b"{}", each) for each in manners}
    assert len(found) == 6
    assert fingerprint("t", "p", "chat", b"{}") in found


REPEATABLE: dict[str, Any] = {"temperature": 0.0}
STATE = "the request reads or leaves state at the provider"
HOT = "reuse=auto shares only requests with temperature 0"
SEED = "reuse=auto does not share requests with a seed"


@pytest.mark.parametrize(
    ("fields", "why_not"),
    [
        (REPEATABLE | {"reuse": "auto"}, None),
        (REPEATABLE | {"reuse": "all"}, None),
        (REPEATABLE | {"reuse": "off"}, "reuse is off"),
        ({"reuse": "auto"}, HOT),
        ({"reuse": "auto", "temperature": 0.01}, HOT),
        ({"reuse": "all"}, None),
        ({"reuse": "all", "temperature": 1.0, "seed": 5}, None),
        (REPEATABLE | {"reuse": "auto", "seed": 5}, SEED),
        (REPEATABLE | {"reuse": "auto", "seed": 0}, SEED),
        (REPEATABLE | {"reuse": "auto", "features": ("stateful",)}, STATE),
        (REPEATABLE | {"reuse": "all", "features": ("stateful", "tools")}, STATE),
        (REPEATABLE | {"reuse": "auto", "features": ("tools",)}, None),
        ({"reuse": "auto", "endpoint": "embeddings"}, None),
        ({"reuse": "off", "endpoint": "embeddings"}, "reuse is off"),
        (REPEATABLE | {"reuse": "auto", "endpoint": "responses"}, None),
        (REPEATABLE | {"reuse": "auto", "stream": True}, None),
    ],
)
def test_who_may_share_an_answer(fields: dict[str, Any], why_not: str | None) -> None:
    assert reusable(request(**fields)) == why_not


@pytest.mark.parametrize("complete", [True, False])
def test_only_complete_answers_are_kept(complete: bool) -> None:
    assert cacheable(Answer(body=b"{}", complete=complete)) is complete


def test_a_stream_is_no_twin_of_what_is_none() -> None:
    assert twin_key(request(stream=True)) != twin_key(request())
    assert twin_key(request(id="1", ask="1", key="k1")) == twin_key(request(id="2", ask="2", key="k2"))
    assert twin_key(request(fingerprint="g")) != twin_key(request())


@pytest.mark.parametrize("field", ["tenant", "key", "fingerprint"])
def test_only_the_same_key_adopts(field: str) -> None:
    assert adoption_key(request(**{field: "other"})) != adoption_key(request())
    assert adoption_key(request(id="2", ask="2", caller="other", reuse="off")) == adoption_key(request())
