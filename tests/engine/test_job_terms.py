"""What providers taught is laid over what their dialects say, and a lane that closed is tried again."""

import pytest

from batchway.assemble import load_settings
from batchway.assemble.accounts import batch_account
from batchway.core.job.commands import Learnt
from batchway.engine.job_calls import Account
from batchway.engine.job_terms import PROBE, Learning
from batchway.ports import Lesson
from batchway.providers.registry import Account as Configured

NOW = 1_790_000_000.0


@pytest.fixture
def account() -> Account:
    """OpenAI's Batch API."""
    settings = load_settings({}, environment={}).settings
    made = batch_account(Configured(name="openai", base_url="https://api.openai.com/v1", key="k"), settings)
    assert made is not None
    return made


def lesson(name: Learnt, value: float = 1.0, *, model: str = "m", at: float = NOW) -> Lesson:
    return Lesson(provider="openai", model=model, name=name, value=value, at=at)


def test_nothing_learnt_leaves_the_dialects_own_terms(account: Account) -> None:
    assert Learning().terms(account, "m") == account.dialect.terms
    assert Learning().enqueued("openai", "m") is None
    assert Learning().lists("openai")
    assert Learning().lanes(NOW) == []


def test_a_lesson_changes_the_terms_of_its_model_alone(account: Account) -> None:
    learning = Learning([lesson("max_bytes", 500.0), lesson("no_tags"), lesson("enqueued_tokens", 90.0)])

    assert learning.terms(account, "m").max_bytes == 500
    assert learning.terms(account, "m").tagging == "results"
    assert learning.enqueued("openai", "m") == 90
    assert learning.terms(account, "other") == account.dialect.terms
    assert learning.enqueued("openai", "other") is None


def test_who_cannot_list_cannot_tell(account: Account) -> None:
    learning = Learning([lesson("no_tags"), lesson("no_listing")])

    assert learning.terms(account, "m").tagging == "none"
    assert not learning.lists("openai")
    assert learning.lists("another")


def test_the_smaller_limit_holds(account: Account) -> None:
    assert Learning([lesson("max_bytes", 1e12)]).terms(account, "m").max_bytes == account.dialect.terms.max_bytes


def test_the_newer_lesson_holds(account: Account) -> None:
    learning = Learning([lesson("max_bytes", 500.0, at=NOW)])

    learning.adopt([lesson("max_bytes", 900.0, at=NOW - 1)])
    assert learning.terms(account, "m").max_bytes == 500

    learning.adopt([lesson("max_bytes", 300.0, at=NOW + 1)])
    assert learning.terms(account, "m").max_bytes == 300


def test_a_lane_that_closes_is_told_of_once_and_may_be_tried_again_after_a_day() -> None:
    learning = Learning([lesson("no_batch")])

    assert learning.lanes(NOW) == [("openai", "m", "openai has no Batch API for m")]
    assert learning.lanes(NOW + PROBE - 1) == []
    assert learning.lanes(NOW + PROBE) == [("openai", "m", None)]
    assert learning.lanes(NOW + PROBE) == []

    learning.adopt([lesson("no_batch", at=NOW + PROBE)])
    assert learning.lanes(NOW + PROBE) == [("openai", "m", "openai has no Batch API for m")]


def test_what_was_learnt_more_than_a_day_ago_is_tried_from_the_start() -> None:
    assert Learning([lesson("no_batch", at=NOW - PROBE)]).lanes(NOW) == []
