"""Fitting a prompt: what goes first, what never goes, and what is said about it."""

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.fitting import LASTING, PROSE, WHOLE, anything, documents

from batchway.core.compress import Fitted, Text, fit
from batchway.core.spans import find_spans
from batchway.data.vocabulary import Vocabularies

count = Vocabularies().counter("o200k_base")
QUESTION = "Why was the ferry late?"
STORY = "".join(PROSE[:2]) * 3 + "The ferry was late because its boiler had cracked. " + "".join(PROSE[:4]) * 3


def text(said: str, role: str = "user", turn: int = 1, *, protected: bool = False) -> Text:
    return Text(role=role, text=said, protected=protected, turn=turn)


def prompt(*older: str) -> list[Text]:
    """A system message, older turns, a question."""
    turns = [text(said, "assistant" if at % 2 else "user", at // 2 + 1) for at, said in enumerate(older)]
    return [
        text("Be brief.", "system", 0, protected=True),
        *turns,
        text(QUESTION, turn=len(older) // 2 + 1, protected=True),
    ]


def steps(fitted: Fitted) -> list[str]:
    return [removal.step for removal in fitted.removed]


def counted(fitted: Fitted) -> int:
    return sum(map(count, fitted.texts))


def test_what_fits_stays_as_it_is() -> None:
    texts = prompt("Trailing  spaces \n\n\n\n stay.", "Yes.")
    whole = sum(count(each.text) for each in texts)
    assert fit(texts, whole, count) == Fitted(
        texts=tuple(each.text for each in texts), tokens_before=whole, tokens_after=whole, fits=True
    )


def test_clean_up_is_enough_where_it_is_enough() -> None:
    dirty = "One sentence here.   \n\n\n\n\n\nAnother   one   there.\u200b \nThe end.\n\n\n\n\nReally."
    fitted = fit(prompt(dirty), sum(count(each.text) for each in prompt(dirty)) - 2, count)
    assert fitted.fits and steps(fitted) == ["clean-up"]
    assert fitted.texts[1] == "One sentence here.\n\nAnother one there.\nThe end.\n\nReally."


def test_repetitions_go_before_anything_is_condensed() -> None:
    paragraph = "A long paragraph about the harbour that somebody pasted into the chat more than once. It says little."
    texts = prompt(paragraph, "I see.", f"Again:\n\n{paragraph}")
    fitted = fit(texts, sum(count(each.text) for each in texts) - 5, count)
    assert fitted.fits and steps(fitted) == ["repetition"]
    assert fitted.texts[1:4] == (paragraph, "I see.", "Again:\n\n[as above]")


def test_what_the_last_turn_says_again_is_left_out_further_up() -> None:
    paragraph = "A long paragraph about the harbour that somebody pasted into the chat more than once. It says little."
    texts = [text(paragraph), text(f"{paragraph}\n\nIs it true?", turn=2, protected=True)]
    fitted = fit(texts, count(texts[1].text) + 8, count)
    assert fitted.texts == ("[as below]", texts[1].text)


def test_condensing_keeps_what_the_question_is_about() -> None:
    texts = prompt(STORY)
    fitted = fit(texts, sum(count(each.text) for each in texts) // 3, count)
    assert fitted.fits and steps(fitted)[-1] == "extraction"
    assert "The ferry was late because its boiler had cracked." in fitted.texts[1]


def test_a_line_without_sentences_loses_its_middle() -> None:
    line = " ".join(f"item{number}" for number in range(600))
    texts = prompt(line)
    fitted = fit(texts, 400, count)
    assert fitted.fits and set(steps(fitted)) <= {"extraction", "truncation"} and "truncation" in steps(fitted)
    assert fitted.texts[1].startswith("item0 item1 ") and fitted.texts[1].endswith("item598 item599")
    assert re.search(r" \[… \d+ tokens left out …\] ", fitted.texts[1])


def test_later_turns_outlast_earlier_ones_and_none_is_left_empty() -> None:
    things = ("bread", "salt", "milk", "wine", "iron", "glass")
    texts = prompt(*(f"They talked about {thing} for a while." for thing in things))
    fitted = fit(texts, sum(count(each.text) for each in texts) - 18, count)
    older = fitted.texts[1:-1]
    kept = [thing in each for thing, each in zip(things, older, strict=True)]
    by_turn = [sum(kept[at : at + 2]) for at in (0, 2, 4)]
    assert fitted.fits and by_turn == [0, 1, 2]
    assert older[:2] == ("[…]", "[…]")


def test_too_much_that_is_protected_is_said_and_nothing_is_changed() -> None:
    texts = prompt(STORY)
    fitted = fit(texts, 5, count)
    assert not fitted.fits
    assert fitted.texts == tuple(each.text for each in texts) and fitted.removed == ()
    assert fitted.tokens_after == fitted.tokens_before
    assert re.search(r"never altered takes \d+ of \d+ tokens, and the budget is 5: shorten the system", fitted.reason)


def test_too_much_code_is_said_and_nothing_is_changed() -> None:
    texts = prompt(STORY + "\n\n" + LASTING[0] * 10)
    fitted = fit(texts, 80, count)
    assert not fitted.fits and fitted.texts == tuple(each.text for each in texts)
    assert "code and JSON" in fitted.reason


@pytest.mark.parametrize("budget", [0, -1])
def test_no_budget_is_no_crash(budget: int) -> None:
    assert not fit(prompt(STORY), budget, count).fits
    assert fit([], 0, count).fits


def test_removals_add_up_and_name_the_text() -> None:
    texts = prompt(STORY + "  \n\n\n\n" + STORY, "Well   then. \n", STORY * 2)
    fitted = fit(texts, 150, count)
    assert fitted.fits
    for where, each in enumerate(texts):
        gone = sum(removal.tokens for removal in fitted.removed if removal.where == where)
        assert gone == count(each.text) - count(fitted.texts[where])
    assert all(removal.tokens > 0 and removal.reason for removal in fitted.removed)
    assert fitted.tokens_before - fitted.tokens_after == sum(removal.tokens for removal in fitted.removed)


@pytest.mark.parametrize("ratio", [1.2, 2, 3, 5, 8])
@pytest.mark.parametrize("part", PROSE)
def test_most_of_the_budget_is_used(part: str, ratio: float) -> None:
    story = "".join(f"{number}: {part}" for number in range(150))
    texts = prompt(story)
    budget = int(sum(count(each.text) for each in texts) / ratio)
    assert 0.85 * budget <= counted(fit(texts, budget, count)) <= budget


def test_counting_is_done_little() -> None:
    seen: list[int] = []

    def counting(said: str) -> int:
        seen.append(len(said))
        return count(said)

    story = "".join(f"{number}: {part}" for number in range(100) for part in PROSE)
    texts = prompt(story)
    fit(texts, count(story) // 3, counting)
    assert sum(seen) < 3 * len(story), "a few counts of whole texts, none of each sentence"
    assert len(seen) < 20


TEXTS = st.lists(
    st.builds(
        Text,
        role=st.sampled_from(["system", "user", "assistant", "tool"]),
        text=anything,
        protected=st.booleans(),
        turn=st.integers(0, 3),
    ),
    max_size=6,
)
COUNTERS: list[Callable[[str], int]] = [
    count,
    len,
    lambda said: len(said.split()),
    lambda said: len(said.encode("utf-8", "surrogatepass")) // 3,
]


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.floats(0, 1.2), st.sampled_from(COUNTERS))
def test_whatever_the_input_protected_texts_code_and_json_come_out_as_they_went_in(
    texts: list[Text], share: float, count: Callable[[str], int]
) -> None:
    before = sum(count(each.text) for each in texts)
    budget = int(before * share)
    fitted = fit(texts, budget, count)
    assert fitted == fit(texts, budget, count), "the same for the same"
    assert len(fitted.texts) == len(texts)
    assert fitted.tokens_before == before
    assert fitted.tokens_after == sum(map(count, fitted.texts))
    assert fitted.fits is (fitted.tokens_after <= budget)
    for given_, out in zip(texts, fitted.texts, strict=True):
        if given_.protected or not fitted.fits:
            assert out == given_.text
        at = 0
        for span in find_spans(given_.text):
            if span.lasting:
                code = given_.text[span.start : span.end]
                at = out.index(code, at) + len(code)


@settings(deadline=None, max_examples=300)
@given(st.lists(documents, min_size=1, max_size=3), st.floats(0.05, 1))
@example(["He wrote 1 000 000 on the wall.  \n" * 40], 0.5)
def test_quotations_numbers_and_urls_are_never_changed_and_never_cut(older: list[str], share: float) -> None:
    texts = prompt(*older)
    fitted = fit(texts, int(sum(count(each.text) for each in texts) * share), count)
    for before, after in zip(older, fitted.texts[1:-1], strict=True):
        for span in (*WHOLE, *LASTING):
            assert after.count(span) <= before.count(span)
        rest = after
        for span in sorted((*WHOLE, *LASTING), key=len, reverse=True):
            rest = rest.replace(span, "")
        rest = re.sub(r"\[… \d+ tokens left out …\]", "", rest)
        assert not re.search(r"[0-9\"“”«»「」`{}]|://", rest), "a part of one without the whole"
