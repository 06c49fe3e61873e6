"""What is taken out because nobody reads it, and what only looks as if."""

import pytest
from hypothesis import given
from tests.core.fitting import anything

from batchway.core.cleaning import clean
from batchway.core.spans import find_spans


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("one \ntwo\t\n", "one\ntwo\n"),
        ("one\n\n\n\ntwo", "one\n\ntwo"),
        ("one\n \n \ntwo", "one\n\ntwo"),
        ("one   two.  Three", "one two. Three"),
        ("wo\u200brd and\ufeff more", "word and more"),
        ("in 1999   the   end", "in 1999 the end"),
    ],
)
def test_what_nobody_reads_goes(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "    indented\n      deeper",
        "1  000 and 2  000",
        "name   age\nAda    36\nBo     41",
        "می\u200cخواهم और क्\u200dष 👩\u200d💻",
        "https://a.example/\u200bb stays",
        "12\u200b34",
        "ภาษา\u200bไทย",
        '"two  spaces", `in  code`, “and  quotes”',
        '{"a":  1,\n\n\n"b": 2}',
        "```\nx  =  1 \n\n\n\ny\n```",
        "already clean\n\ntext",
    ],
)
def test_what_carries_meaning_stays(text: str) -> None:
    assert clean(text) == text


@given(anything)
def test_cleaning_takes_out_only_space_and_leaves_spans(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= len(text)
    gone = str.maketrans("", "", " \t\n\u200b\u2060\ufeff")
    assert cleaned.translate(gone) == text.translate(gone)
    spans = [text[span.start : span.end] for span in find_spans(text)]
    at = 0
    for span in spans:
        at = cleaned.index(span, at) + len(span)
