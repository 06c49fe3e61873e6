"""Bounds that are never too low and never far too high, and what bills teach about other tokenizers."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.texts import ORDINARY, strange

from batchway.core.tokens import (
    FOREIGN,
    LONGEST_REMEMBERED,
    PER_PROMPT,
    PER_TEXT,
    TELLING,
    Counter,
    TokenCounts,
    bound,
    known_encoding,
)
from batchway.core.types import Prompt
from batchway.data.vocabulary import Vocabularies

VOCABULARIES = Vocabularies()
MODELS = {"gpt-4o-mini": "o200k_base", "gpt-4-turbo": "cl100k_base", "text-embedding-3-small": "cl100k_base"}


@pytest.fixture(scope="module")
def counts() -> TokenCounts:
    return TokenCounts({name: VOCABULARIES.counter(name) for name in ("o200k_base", "cl100k_base")})


def test_texts_are_long_enough_to_judge_a_ratio() -> None:
    assert {kind: len(text) for kind, text in ORDINARY.items() if len(text) < 200} == {}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ORDINARY)
def test_bound_of_ordinary_text_is_safe_and_within_1_6_times_the_truth(
    counts: TokenCounts, kind: str, model: str
) -> None:
    text = ORDINARY[kind]
    truth = len(VOCABULARIES.encoding(MODELS[model]).encode_ordinary(text))
    assert truth <= counts.bound(Prompt(model=model, texts=(text,))) <= 1.6 * truth


@pytest.mark.parametrize("model", MODELS)
def test_bound_survives_strange_texts(counts: TokenCounts, model: str) -> None:
    encoding = VOCABULARIES.encoding(MODELS[model])
    for text in strange(random.Random(20)):
        truth = len(encoding.encode_ordinary(text))
        assert counts.bound(Prompt(model=model, texts=(text,))) >= truth, text[:80]
        assert bound(text) >= truth, text[:80]


@given(st.text(max_size=300) | st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF), max_size=200))
@settings(deadline=None)
def test_bounds_are_safe_for_any_text(text: str) -> None:
    counts = TokenCounts({name: VOCABULARIES.counter(name) for name in ("o200k_base", "cl100k_base")})
    for model, name in MODELS.items():
        truth = len(VOCABULARIES.encoding(name).encode_ordinary(text))
        assert counts.bound(Prompt(model=model, texts=(text,))) >= truth
        assert bound(text) >= truth


def test_bound_adds_the_wrapping_of_each_message(counts: TokenCounts) -> None:
    assert counts.bound(Prompt(model="gpt-4o", texts=("hello world", "hello"))) == 2 + 1 + 2 * PER_TEXT + PER_PROMPT


def test_without_a_vocabulary_the_bound_is_the_bytes() -> None:
    text = ORDINARY["japanese"]
    assert TokenCounts({}).bound(Prompt(model="gpt-4o", texts=(text,))) == len(text.encode()) + PER_TEXT + PER_PROMPT


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-5.6-sol", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4o:acme::id", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("ft:gpt-3.5-turbo:acme::id", "cl100k_base"),
        ("text-embedding-3-large", "cl100k_base"),
        ("claude-sonnet-4-5", None),
        ("o3x", None),
        ("", None),
    ],
)
def test_encoding_follows_the_name_of_the_model(model: str, encoding: str | None) -> None:
    assert known_encoding(model) == encoding


def spying(seen: list[str]) -> Counter:
    def count(text: str) -> int:
        seen.append(text)
        return len(text)

    return count


def test_a_text_that_returns_is_counted_once_but_a_huge_one_is_not_kept() -> None:
    seen: list[str] = []
    counts = TokenCounts({"o200k_base": spying(seen)})
    huge = "x" * (LONGEST_REMEMBERED + 1)
    for _ in range(2):
        counts.bound(Prompt(model="gpt-4o", texts=("system prompt " * 50, huge)))
    assert seen == ["system prompt " * 50, huge, huge]


def test_before_any_bill_our_models_are_taken_as_bounded_and_others_as_higher() -> None:
    counts = TokenCounts({})
    assert counts.safe("openai", "gpt-4o", 1000) == 1000
    assert counts.safe("anthropic", "claude-sonnet-4-5", 1000) == 1000 * FOREIGN
    assert counts.expected("anthropic", "claude-sonnet-4-5", 1000) == 1000


def test_a_provider_that_bills_more_raises_the_safe_bound_and_the_expectation() -> None:
    counts = TokenCounts({})
    for _ in range(20):
        counts.learn("anthropic", "claude", 1000, 3900)
    assert counts.safe("anthropic", "claude", 1000) == 3900
    assert counts.expected("anthropic", "claude", 1000) == 3900
    assert counts.safe("bedrock", "claude", 1000) == 1000 * FOREIGN, "another provider's bills are its own"


def test_a_provider_that_bills_less_lowers_the_expectation_but_never_the_safe_bound() -> None:
    counts = TokenCounts({})
    for _ in range(5000):
        counts.learn("openai", "gpt-4o", 1000, 800)
    assert counts.expected("openai", "gpt-4o", 1000) == 800
    assert counts.safe("openai", "gpt-4o", 1000) == 1000


def test_one_bill_does_not_undo_the_allowance_for_an_unknown_tokenizer() -> None:
    counts = TokenCounts({})
    counts.learn("anthropic", "claude", 1000, 1100)
    assert counts.safe("anthropic", "claude", 1000) >= 1499
    for _ in range(5000):
        counts.learn("anthropic", "claude", 1000, 1100)
    assert counts.safe("anthropic", "claude", 1000) in (1100, 1101, 1102, 1103)


def test_recent_bills_weigh_more() -> None:
    counts = TokenCounts({})
    for billed in [1000] * 200 + [2000] * 200:
        counts.learn("xai", "grok", 1000, billed)
    assert 1950 <= counts.expected("xai", "grok", 1000) <= 2000


@given(st.lists(st.tuples(st.integers(TELLING, 10_000), st.integers(1, 40_000)), min_size=1, max_size=50))
@settings(deadline=None)
def test_the_safe_bound_covers_the_last_bill_and_the_expectation_lies_among_the_bills(
    bills: list[tuple[int, int]],
) -> None:
    counts = TokenCounts({})
    for bounded, billed in bills:
        counts.learn("anthropic", "claude", bounded, billed)
        assert counts.safe("anthropic", "claude", bounded) >= max(bounded, billed)
    ratios = [billed / bounded for bounded, billed in bills]
    assert min(ratios) * 1000 - 1 <= counts.expected("anthropic", "claude", 1000) <= max(ratios) * 1000 + 1


def test_short_prompts_and_empty_bills_teach_nothing() -> None:
    counts = TokenCounts({})
    counts.learn("anthropic", "claude", TELLING - 1, 10_000)
    counts.learn("anthropic", "claude", 1000, 0)
    assert counts.expected("anthropic", "claude", 1000) == 1000


def test_count_is_exact_for_a_known_tokenizer_and_corrected_for_another(counts: TokenCounts) -> None:
    text = ORDINARY["english"]
    ours, theirs = Prompt(model="gpt-4o", texts=(text,)), Prompt(model="claude-test", texts=(text,))
    counts.learn("openai", "gpt-4o", 1000, 1200)
    counts.learn("anthropic", "claude-test", 1000, 1200)
    assert counts.count("openai", ours) == counts.bound(ours)
    assert counts.count("anthropic", theirs) == round(counts.bound(theirs) * 1.2)


def test_memory_of_models_is_bounded_and_the_longest_unbilled_is_forgotten() -> None:
    counts = TokenCounts({}, kept=2)
    for model in ("a", "b", "a", "c"):
        counts.learn("xai", model, 1000, 2000)
    assert [counts.expected("xai", model, 1000) for model in "abc"] == [2000, 1000, 2000]
