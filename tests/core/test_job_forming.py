"""Requests dealt out to jobs: in order, none lost, no limit broken by more than one request can help."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from batchway.core.job import BatchTerms
from batchway.core.job.forming import FRAMING, Limits, deal, limits_of
from batchway.core.types import Prompt, Request

FREE: dict[str, Any] = {"requests": None, "size": None, "tokens": None}


def request(number: int = 0, size: int = 10, tokens: int = 5, texts: int = 0) -> Request:
    return Request(
        id=f"a-{number}",
        ask=f"a-{number}",
        tenant="t",
        key="k",
        caller="c",
        provider="p",
        endpoint="embeddings" if texts else "chat",
        body=b"x" * size,
        prompt=Prompt(model="m", texts=("text",) * texts),
        fingerprint="f",
        asked_at=0.0,
        tokens=tokens,
    )


def sizes(asked: list[Request], **limits: Any) -> list[int]:
    """Requests of each job."""
    return [len(share.requests) for share in deal(asked, Limits(**(FREE | limits)))]


@pytest.mark.parametrize(
    ("limits", "dealt"),
    [
        ({}, [7]),
        ({"requests": 3}, [3, 3, 1]),
        ({"requests": 1}, [1] * 7),
        ({"size": 2 * (10 + FRAMING)}, [2, 2, 2, 1]),
        ({"tokens": 20}, [4, 3]),
        ({"tokens": 20, "requests": 3}, [3, 3, 1]),
        # Larger than the limit each: their provider judges them.
        ({"size": 1}, [1] * 7),
    ],
)
def test_each_job_is_as_full_as_it_may_be(limits: dict[str, Any], dealt: list[int]) -> None:
    assert sizes([request(number) for number in range(7)], **limits) == dealt


def test_inputs_of_embeddings_are_counted_together() -> None:
    assert sizes([request(number, texts=4) for number in range(5)], inputs=8) == [2, 2, 1]
    assert sizes([request(number) for number in range(5)], inputs=1) == [5]


def test_a_large_one_goes_alone_between_others() -> None:
    requests = [request(0), request(1, size=10_000), request(2), request(3)]

    assert sizes(requests, size=1_000) == [1, 1, 2]


def test_nothing_makes_no_job() -> None:
    assert sizes([]) == []


def test_the_limits_are_the_providers() -> None:
    terms = BatchTerms(endpoints=("chat",), max_requests=9, max_bytes=8, max_inputs=7)

    assert limits_of(terms, 6) == Limits(requests=9, size=8, tokens=6, inputs=7)


@given(
    some.lists(some.tuples(some.integers(0, 3000), some.integers(0, 900), some.integers(1, 5)), max_size=60),
    some.integers(1, 12) | some.none(),
    some.integers(1, 9000) | some.none(),
    some.integers(1, 3000) | some.none(),
    some.integers(1, 20) | some.none(),
)
def test_none_is_lost_and_no_job_breaks_a_limit_but_by_its_only_request(
    drawn: list[tuple[int, int, int]], most: int | None, size: int | None, tokens: int | None, inputs: int | None
) -> None:
    requests = [request(number, *each) for number, each in enumerate(drawn)]

    shares = list(deal(requests, Limits(requests=most, size=size, tokens=tokens, inputs=inputs)))

    assert [each for share in shares for each in share.requests] == requests
    for share in shares:
        assert share.size == sum(each.size + FRAMING for each in share.requests)
        assert share.tokens == sum(each.tokens or 0 for each in share.requests)
        texts = sum(len(each.prompt.texts) for each in share.requests)
        amounts = [(len(share.requests), most), (share.size, size), (share.tokens, tokens), (texts, inputs)]
        assert len(share.requests) == 1 or all(limit is None or amount <= limit for amount, limit in amounts)
