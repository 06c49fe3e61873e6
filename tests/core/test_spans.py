"""Which parts of a text are code, JSON or quoted; and what is data as a whole."""

import pytest
from hypothesis import given
from tests.core.fitting import anything

from batchway.core.spans import find_spans, is_data


def spans(text: str, *, lasting: bool) -> list[str]:
    return [text[span.start : span.end] for span in find_spans(text) if span.lasting is lasting]


@pytest.mark.parametrize(
    ("before", "span", "after"),
    [
        ("Look:\n", "```py\nx = 1\n```", "\nDone."),
        ("Look:\n", "````\n```\ninner\n```\n````", "\nDone."),
        ("- item\n", "  ```\n  x\n  ```", "\nmore"),
        ("Tildes:\n", "~~~\nx\n~~~", ""),
        ("Never closed:\n", "```\nx\n\ny. Z.", ""),
        ("The answer is ", '{"a": {"b": "}"}}', " as said."),
        ("Rows: ", '[{"a": 1}, {"a": 2}]', " Two."),
        ("Names: ", '["x", "y]"]', "."),
        ("Numbers: ", "[1, 2.5, -3, 4e9, 5]", "."),
        ("Matrix: ", "[[1, 2], [3, 4]]", "."),
        (
            "Text.\n\n",
            "def first(items):\n    return items[0]",
            "\n\nText that goes on for longer than the code above.",
        ),
        ("Text.\n\n", "int main(void) {\n    return 0;\n}", "\n\nText and more of it.\nAnd more."),
    ],
)
def test_code_and_json_last(before: str, span: str, after: str) -> None:
    assert spans(before + span + after, lasting=True) == [span]


@pytest.mark.parametrize(
    "text",
    [
        "import os\n\ndef read(path):\n    return open(path)\n\n# why\nclass Reader:\n    pass\n",
        "const a = 1;\n\nfunction f() {\n  return a;\n}\n\nf();\n",
        "var a=function(b){return b.c()?1:2};" * 20,
    ],
)
def test_a_text_that_is_mostly_code_is_code(text: str) -> None:
    assert spans(text, lasting=True)[0].startswith(text[:20])
    assert sum(map(len, spans(text, lasting=True))) >= len(text) * 0.9


@pytest.mark.parametrize(
    "text",
    [
        "See [1, 2] and [the list](https://example.com).",
        "He said: go home; eat (something); sleep.",
        "A set {a, b} of letters.",
        "Dear all,\nwe meet at nine;\nbring tea;\nand cups.",
    ],
)
def test_prose_with_brackets_is_neither(text: str) -> None:
    assert spans(text, lasting=True) == []


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('He said "go. Now" and "stay".', ['"go. Now"', '"stay"']),
        ("Er rief „Halt! Wer da“ und «nichts».", ["„Halt! Wer da“", "«nichts»"]),
        ("“One\ntwo” and “three”", ["“One\ntwo”", "“three”"]),
        ("他说「你好。再见。」", ["「你好。再见。」"]),
        ("Call `f(x). Then` or ``a ` b``.", ["`f(x). Then`", "``a ` b``"]),
        ("It's 'quite so' for the dogs' sake.", ["'quite so'"]),
        ('A 5" pipe and a 6" pipe.', []),
        ('Open "quote\n\nof another paragraph" ends.', []),
        ("“““ never closed", []),
    ],
)
def test_quotations_and_inline_code_are_whole(text: str, quoted: list[str]) -> None:
    assert spans(text, lasting=False) == quoted


def test_quoted_lines_are_one_span() -> None:
    assert spans("Ann wrote:\n> Come.  At once.\n> Bring tea.\nI came.", lasting=False) == [
        "> Come.  At once.\n> Bring tea."
    ]


@given(anything)
def test_spans_are_in_order_and_apart(text: str) -> None:
    at = 0
    for span in find_spans(text):
        assert at <= span.start < span.end <= len(text)
        at = span.end


@pytest.mark.parametrize(
    "text",
    ["(" * 200_000, "{[" * 100_000, '{"a":' * 40_000, "“" * 200_000, '"' * 200_000, "`` " * 60_000, "[1," * 60_000],
)
def test_brackets_and_quotes_that_never_close_are_read_in_linear_time(text: str) -> None:
    find_spans(text)  # a quadratic reading of these would outlast the test's time limit


@pytest.mark.parametrize(
    "text",
    [
        '{"status": "ok", "items": []}',
        "2031-01-02 10:00:00 INFO started\n2031-01-02 10:00:01 WARN slow 41\n",
        "id,name,city\n1,Ada,London\n2,Bo,Oslo\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "total 12\ndrwxr-xr-x 2 ada ada 4096 src\n-rw-r--r-- 1 ada ada 120 a.txt\n",
        "Result follows in the next lines, as asked:\n\n```\nx\n```",
        "42",
        "A" * 5000,
    ],
)
def test_data_is_told_from_prose(text: str) -> None:
    assert is_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "The museum was founded in 1903 by two sisters. It holds maps, clocks and letters.\n\nEntry is free.",
        "博物馆由两姐妹创建，收藏地图、钟表和书信，免费向公众开放。",
        "संग्रहालय की स्थापना दो बहनों ने की थी और इसमें नक्शे रखे हैं।",
    ],
)
def test_prose_is_no_data(text: str) -> None:
    assert not is_data(text)
