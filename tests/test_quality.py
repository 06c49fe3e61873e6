"""The quality reports: the documents are fair, a small run has every row, and fitting reaches its goal even there."""

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from quality.documents import KINDS, LANGUAGES, MATERIAL, STYLES, Style, trials
from quality.fitting import GOAL, GOAL_RATIO, RATIOS, WAYS, gain, share, try_ways

from batchway.core.relevance import stems
from batchway.core.spans import find_spans
from batchway.data.vocabulary import Vocabularies

ROOT = Path(__file__).parent.parent
count = Vocabularies().counter("o200k_base")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_documents_are_the_same_for_a_seed_and_hold_their_fact(kind: str, style: Style) -> None:
    one, other = (list(trials(kind, style, 3, 30, seed=5)) for _ in range(2))
    assert one == other != list(trials(kind, style, 3, 30, seed=6))
    for trial in one:
        assert any(trial.fact.text in text.text for text in trial.texts[:-1])
        assert trial.texts[-1].protected and not any(text.protected for text in trial.texts[:-1])


@pytest.mark.parametrize("language", LANGUAGES)
def test_far_questions_share_no_content_word_with_their_answers(language: str) -> None:
    """Content: words of four letters or more; in Chinese any two characters."""
    material = MATERIAL[language]
    for statement, _, far in material.items:
        shared = stems(re.sub(r"\{\w+\}", " ", statement)) & stems(far)
        assert not {stem for stem in shared if len(stem) > 3 or language == "zh"}, far


def test_facts_stand_anywhere() -> None:
    places = [
        trial.texts[0].text.index(trial.fact.text) / len(trial.texts[0].text)
        for trial in trials("en", "far", 60, 40, 1)
    ]
    assert min(places) < 0.2 and max(places) > 0.8
    assert 0.35 < sum(places) / len(places) < 0.65


def test_code_and_json_documents_hold_what_lasts() -> None:
    for kind in ("code", "json"):
        texts = chain.from_iterable(trial.texts for trial in trials(kind, "near", 5, 60, 1))
        assert any(span.lasting for text in texts for span in find_spans(text.text))


def test_fitting_keeps_more_than_any_truncation() -> None:
    outcomes = [
        outcome
        for language in LANGUAGES
        for style in ("near", "word")
        for trial in trials(language, style, 4, 60, seed=77)
        for outcome in try_ways(trial, count)
        if outcome.ratio == GOAL_RATIO
    ]
    assert gain(outcomes) >= GOAL
    assert share(outcomes, "fit") > 0.9


def test_truncations_are_what_they_are_called_and_keep_to_their_room() -> None:
    outcomes = [
        outcome
        for trial in trials("en", "far", 150, 40, seed=3)
        for outcome in try_ways(trial, count)
        if outcome.ratio == 2
    ]
    for way in WAYS[1:]:
        assert 0.38 < share(outcomes, way) < 0.6
    early = [each for each in outcomes if each.trial.texts[0].text.index(each.trial.fact.text) < 300]
    assert share(early, "head") == share(early, "ends") == 1 and share(early, "tail") == 0


@pytest.fixture(scope="module")
def small_run() -> str:
    command = [sys.executable, "-m", "quality", "--small"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=110)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_small_run_has_a_row_for_every_kind_and_ratio(small_run: str) -> None:
    for kind in KINDS:
        for ratio in RATIOS:
            assert f"| {kind}, near or word | {ratio}x |" in small_run
    for style in STYLES:
        assert f"| all, {style} | {GOAL_RATIO}x |" in small_run
    assert re.search(r"Goal: at 3x, 1\.5 times .*: near questions [\d.]+ \((reached|NOT REACHED)\)", small_run)
    assert re.search(r"- 3x shorter: [\d.]+ ms", small_run)
