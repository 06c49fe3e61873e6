"""What prompts are found to ask for: a table of examples in several languages, and what holds for any text at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.core.analysis import (
    GLANCE,
    LEVELS,
    Analysis,
    Reasons,
    analyse,
    analyse_text,
    analysis_json,
    read_analysis,
)
from batchway.core.analysis import (
    LONG as LONG_FROM,
)
from batchway.core.errors import BadRequest
from batchway.core.task_words import FRAGMENTS, SAYS, TASKS
from batchway.core.types import Prompt

LONG = "The harbour was quiet that morning and the ships lay still. " * 100
EXAMPLES = [
    ("", "chat", "low", "low"),
    ("   \n ", "chat", "low", "low"),
    ("Hi!", "chat", "low", "low"),
    ("hello there", "chat", "low", "low"),
    ("Thanks, that was great", "chat", "low", "low"),
    ("Good morning", "chat", "low", "low"),
    ("I feel tired today.", "chat", "low", "low"),
    ("Bonjour !", "chat", "low", "low"),
    ("42", "chat", "low", "low"),
    ("👍", "chat", "low", "low"),
    ("What is the capital of France?", "question", "low", "medium"),
    ("Who wrote Hamlet?", "question", "low", "medium"),
    ("Explain photosynthesis to a child", "question", "low", "medium"),
    ("how tall is mount everest", "question", "low", "medium"),
    ("Wie hoch ist der Mont Blanc?", "question", "low", "medium"),
    ("¿Cuál es la capital de Perú?", "question", "low", "medium"),
    ("Pourquoi le ciel est-il bleu ?", "question", "low", "medium"),
    ("日本の首都はどこですか？", "question", "low", "medium"),
    ("ما هي عاصمة مصر؟", "question", "low", "medium"),
    ("Is it raining? Is it cold? Is it windy?", "question", "medium", "medium"),
    ("Where does this come from? " + LONG, "question", "medium", "medium"),
    ("Summarise this article in three sentences: The harbour was quiet.", "summarise", "low", "medium"),
    ("Summarize the following report.\n\n" + LONG, "summarise", "medium", "high"),
    (LONG + "\n\nPlease summarise the text above.", "summarise", "medium", "high"),
    ("TLDR: " + LONG, "summarise", "medium", "high"),
    ("Can you give me a summary of this email?", "summarise", "low", "medium"),
    ("Fasse den Text zusammen. Zusammenfassung:\n" + LONG, "summarise", "medium", "high"),
    ("请总结以下内容：港口很安静。", "summarise", "low", "medium"),
    ("Extract all dates and names from the following text: Ann met Bob on May 5.", "extract", "low", "medium"),
    ("Identify the named entities in this sentence: Ann lives in Oslo.", "extract", "low", "medium"),
    ("Extract every e-mail address.\n" + LONG, "extract", "medium", "high"),
    ("Extrahiere alle Namen aus diesem Satz: Anna wohnt in Bonn.", "extract", "low", "medium"),
    ("Classify the sentiment of this review: I loved it", "classify", "low", "medium"),
    ("Is this spam? 'You won a prize' Answer with a label: spam or not spam.", "classify", "low", "medium"),
    ("Label this tweet as positive or negative: meh", "classify", "low", "medium"),
    ("Clasifica este texto por categoría: el gato duerme", "classify", "low", "medium"),
    ("Classify the subject of this note: we could not prove it", "classify", "medium", "medium"),
    ("Translate to German: The cat sleeps.", "translate", "low", "medium"),
    ("Translate the following into French:\n" + LONG, "translate", "medium", "high"),
    ("Übersetze ins Englische: Die Katze schläft.", "translate", "low", "medium"),
    ("Traduce al inglés: el gato duerme", "translate", "low", "medium"),
    ("把这句话翻译成英文：猫在睡觉。", "translate", "low", "medium"),
    ("Переведи на английский: кот спит", "translate", "low", "medium"),
    ("How do you say 'good night' in Italian? Give the translation only.", "translate", "low", "medium"),
    ("Rewrite this sentence in a friendlier tone: Send it now.", "rewrite", "low", "medium"),
    ("Proofread my letter: Dear Sir, i writes to you", "rewrite", "low", "medium"),
    ("Please correct the grammar: he go to school", "rewrite", "low", "medium"),
    ("Shorten this paragraph and improve it: " + LONG, "rewrite", "medium", "medium"),
    ("Write a Python function that reverses a list", "code", "medium", "medium"),
    ("Fix this bug:\n```python\nprint('a'\n```", "code", "medium", "medium"),
    ("```js\nlet a = 1\n```\nWhat does this do?", "code", "medium", "medium"),
    (
        "Refactor the following class and discuss its concurrency and design; be thorough:\n```java\nclass A {}\n```"
        + LONG,
        "code",
        "high",
        "medium",
    ),
    ("Write a SQL query that counts users by country", "code", "medium", "medium"),
    ("What does this traceback mean? Traceback (most recent call last): KeyError", "code", "medium", "medium"),
    ("Schreibe eine Python Funktion, die eine Liste sortiert", "code", "medium", "medium"),
    ("Translate this Python script to Rust", "code", "medium", "medium"),
    ("Prove that the square root of 2 is irrational.", "reason", "high", "medium"),
    ("Solve for x: 3x + 5 = 20", "reason", "medium", "medium"),
    ("Think step by step: a train leaves at 3 pm. Calculate when it arrives.", "reason", "medium", "medium"),
    ("Beweise, dass es unendlich viele Primzahlen gibt.", "reason", "medium", "medium"),
    ("证明根号二是无理数", "reason", "medium", "medium"),
    ("Compare these two offers and evaluate which is cheaper over five years", "reason", "medium", "medium"),
    ("Write a short story about a lighthouse", "write", "medium", "medium"),
    ("Write a story about a bug in the code of an AI", "write", "medium", "medium"),
    ("Draft an email to my landlord about the heating", "write", "medium", "medium"),
    ("Compose a poem of 100 words about rain", "write", "medium", "medium"),
    ("Write a detailed essay on trade. Heed:\n- causes\n- effects\n- tariffs\n- growth", "write", "high", "medium"),
    ("Напиши письмо другу", "write", "medium", "medium"),
    ("Escribe un poema sobre el mar", "write", "medium", "medium"),
    ("Convert this table to CSV:\na b\n1 2", "data", "low", "medium"),
    ('{"a": [1, 2, 3], "b": {"c": null}}', "data", "low", "medium"),
    ("[1, 2, 3]", "data", "low", "medium"),
    ("Turn these records into JSON: Ann 5, Bob 6", "data", "low", "medium"),
]


@pytest.mark.parametrize(("text", "task", "complexity", "tolerance"), EXAMPLES, ids=lambda each: str(each)[:30])
def test_examples(text: str, task: str, complexity: str, tolerance: str) -> None:
    found = analyse_text(text)
    assert (found.task, found.complexity, found.latency_tolerance) == (task, complexity, tolerance), found.reasons
    assert 0 < found.output_tokens <= 8_000


def test_every_task_has_an_example() -> None:
    assert {task for _, task, _, _ in EXAMPLES} == set(TASKS)
    assert {complexity for _, _, complexity, _ in EXAMPLES} == set(LEVELS)


def test_words_are_found_as_they_are_looked_for() -> None:
    assert all(word == word.lower() and word.isalpha() for word in SAYS)
    assert not any(fragment.isascii() for fragment in FRAGMENTS)


# Expected length


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Write a 300-word essay about tea", 400),
        ("Schreibe 30 Wörter über Tee", 40),
        ("What is tea? Answer in one word.", 5),
        ("Is tea a plant? yes or no", 5),
        ("Explain tea in one sentence", 40),
        ("Explain tea briefly", 80),
        ("Classify: tea is great", 8),
        ("Hi", 80),
        ("Who drinks tea?", 150),
        ("Write a poem", 500),
        ("Write 99999 words", 133332),
    ],
)
def test_how_long_an_answer_will_be(text: str, tokens: int) -> None:
    assert analyse_text(text).output_tokens == tokens


def test_some_answers_grow_with_what_is_read() -> None:
    for task, least, share in (("Translate to French", 20, 1.1), ("Summarise", 60, 0.15), ("Rewrite", 30, 1.0)):
        assert analyse_text(f"{task}: tea").output_tokens == least
        found = analyse_text(f"{task}:\n{'tea and milk. ' * 200}")
        assert found.output_tokens == int(found.input_tokens * share)
    assert analyse_text("Summarise: " + "tea " * 10**6).output_tokens == 600


def test_the_requests_own_bound_is_kept() -> None:
    asked = ("Write a poem",)
    assert analyse(Prompt(model="m", texts=asked, max_output=7)).output_tokens == 7
    assert analyse(Prompt(model="m", texts=asked, max_output=0)).output_tokens == 1
    assert analyse(Prompt(model="m", texts=asked, max_output=9_999)).output_tokens == 500


def test_tokens_of_other_scripts_weigh_more() -> None:
    latin, greek, chinese = (analyse_text(letter * 1_000).input_tokens for letter in ("a", "α", "茶"))
    assert (latin, greek, chinese) == (250, 500, 750)


# What else a prompt says


def prompt(*texts: str, **fields: Any) -> Prompt:
    return Prompt(model="m", texts=texts, **fields)


def test_the_systems_words_count() -> None:
    system = "You classify the sentiment of reviews."
    assert analyse(prompt(system, "I loved it", system=system)).task == "classify"
    assert analyse(prompt("I loved it")).task == "chat"
    assert analyse(prompt(system, system=system)).task == "classify"


def test_the_last_turn_counts_not_those_before() -> None:
    assert analyse(prompt("Write a Python function", "def f(): ...", "Thanks!")).task == "chat"


@pytest.mark.parametrize("feature", ["tools", "response_format", "audio"])
def test_schemas_behind_the_turns_are_not_what_was_asked(feature: str) -> None:
    schema = '{"type": "json_schema", "name": "summary"}'
    assert analyse(prompt("Who drinks tea?", schema, features=(feature,))).task == "question"
    assert analyse(prompt("Who drinks tea?", schema)).task == "data"


def test_a_stream_and_a_conversation_have_a_reader() -> None:
    bulk = "Summarise:\n" + LONG
    assert analyse(prompt(bulk)).latency_tolerance == "high"
    assert analyse(prompt(bulk, stream=True)).latency_tolerance == "low"
    question = "Who drinks tea?"
    assert analyse(prompt(question)).latency_tolerance == "medium"
    assert analyse(prompt("hi", "Hello!", question)).latency_tolerance == "low"
    assert analyse(prompt("Be kind.", "hi", question, system="Be kind.")).latency_tolerance == "medium"
    short = "Summarise: " + "a" * (LONG_FROM - 12)
    assert analyse(prompt(short)).latency_tolerance == "medium"
    assert analyse(prompt(short + "b")).latency_tolerance == "high"


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({}, "low"),
        ({"features": ("tools",)}, "medium"),
        ({"features": ("images",)}, "medium"),
        ({"features": ("audio", "tools")}, "medium"),
        ({"features": ("audio", "images", "tools")}, "medium"),
        ({"features": ("logprobs",)}, "low"),
    ],
)
def test_tools_and_pictures_make_it_harder(fields: dict[str, Any], level: str) -> None:
    assert analyse(prompt("Who drinks tea?", **fields)).complexity == level


def test_a_book_is_harder_than_a_letter() -> None:
    text = "Who drinks tea? Does anybody? Do you? "
    assert analyse_text(text).complexity == "medium"
    assert analyse_text(text + "a" * 9 * LONG_FROM).complexity == "medium"
    assert analyse_text(text + "a" * 10 * LONG_FROM).complexity == "high"


def test_every_finding_has_its_reason() -> None:
    reasons = analyse_text("Prove this rigorous theorem. " + LONG).reasons
    assert "prove" in reasons.task
    assert "rigorous" in reasons.complexity
    assert "tokens to read" in reasons.complexity
    assert "reason of high complexity" in reasons.output_tokens
    assert reasons.latency_tolerance


# Any text at all


def test_of_a_huge_text_only_the_ends_are_looked_at() -> None:
    begin, end = "Translate this to French.\n", "\nThank you."
    filler = 2**20 - len(begin) - len(end)
    plain = analyse_text(begin + "a" * filler + end)
    loud = analyse_text(begin + "a" * GLANCE + "?" * (filler - 2 * GLANCE) + "a" * GLANCE + end)
    assert plain == loud
    assert (plain.task, plain.latency_tolerance, plain.output_tokens) == ("translate", "high", 8_000)
    assert plain.input_tokens == 2**18


TEXTS = st.text() | st.builds(" ".join, st.lists(st.sampled_from([*SAYS, *FRAGMENTS, "```", "?", "{", "}", "- a\n"])))


@given(
    st.builds(
        Prompt,
        model=st.just("m"),
        texts=st.lists(TEXTS, max_size=5).map(tuple),
        system=TEXTS,
        stream=st.booleans(),
        max_output=st.none() | st.integers(-1, 10),
        features=st.sets(st.sampled_from(("audio", "images", "response_format", "tools"))).map(sorted).map(tuple),
    )
)
def test_it_never_raises_and_always_says_the_same(given_prompt: Prompt) -> None:
    found = analyse(given_prompt)
    assert found == analyse(given_prompt)
    assert found.output_tokens >= 1
    assert all(analysis_json(found)["reasons"].values())  # type: ignore[attr-defined]
    assert read_analysis(analysis_json(found)) == found


# In and out


def test_the_keys_are_documented_ones() -> None:
    assert analysis_json(analyse_text("hi")) == {
        "task": "chat",
        "complexity": "low",
        "input_tokens": 0,
        "output_tokens": 80,
        "latency_tolerance": "low",
        "reasons": {
            "task": "it says hi",
            "complexity": "short and simple",
            "output_tokens": "usual for chat of low complexity",
            "latency_tolerance": "it is a conversation",
        },
    }


def test_what_is_not_given_has_its_default() -> None:
    assert read_analysis({}) == Analysis()
    assert read_analysis({"latency_tolerance": "high"}) == Analysis(latency_tolerance="high")
    assert read_analysis({"reasons": {"task": "mine"}}).reasons == Reasons(task="mine")


def test_what_is_given_is_laid_over_what_was_found() -> None:
    found = analyse_text("Write a poem")
    laid = read_analysis({"task": "chat", "output_tokens": 7}, over=found)
    assert (laid.task, laid.output_tokens) == ("chat", 7)
    assert (laid.complexity, laid.input_tokens) == (found.complexity, found.input_tokens)
    assert (laid.reasons.task, laid.reasons.output_tokens) == ("as given", "as given")
    assert laid.reasons.complexity == found.reasons.complexity
    assert read_analysis({}, over=found) == found
    assert read_analysis({"task": "chat", "reasons": {"task": "mine"}}, over=found).reasons.task == "mine"


@pytest.mark.parametrize(
    ("given_json", "param", "said"),
    [
        ({"latency_tolerance": "none"}, "latency_tolerance", "'none' is not one of low, medium, high"),
        ({"latency_tolerance": None}, "latency_tolerance", "low, medium, high"),
        ({"task": ["chat"]}, "task", "chat, question, summarise"),
        ({"complexity": 2}, "complexity", "'2' is not one of"),
        ({"output_tokens": -1}, "output_tokens", "a whole number of at least 0"),
        ({"output_tokens": True}, "output_tokens", "a whole number"),
        ({"input_tokens": 1.5}, "input_tokens", "a whole number"),
        ({"tolerance": "low"}, "tolerance", "known are task, complexity, input_tokens, output_tokens, latency"),
        ({"reasons": "none"}, "reasons", "an object"),
        ({"reasons": {"task": 1}}, "reasons.task", "a text"),
        ({"reasons": {"x": "y"}}, "reasons.x", "known are task, complexity, output_tokens, latency_tolerance"),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(given_json: dict[str, object], param: str, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_analysis(given_json)
    assert refused.value.fault.param == param
    assert refused.value.fault.message.startswith(f"{param}: ")
    assert said in refused.value.fault.message
