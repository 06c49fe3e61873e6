"""Where sentences and blocks end, in several languages; and that nothing is lost between them."""

import pytest
from hypothesis import given
from tests.core.fitting import anything

from batchway.core.sentences import split
from batchway.core.spans import find_spans


def sentences(text: str) -> list[str]:
    return [sentence.text.strip() for sentence in split(text, find_spans(text))]


@pytest.mark.parametrize(
    "parts",
    [
        ["One ends. ", "Two follows! ", "Three?"],
        ["Mr. J. R. Hale met Dr. Fox, etc. and left. ", "Then it rained."],
        ["Version 3.5 is out. ", "See www.example.com/a.b?c=1 for more."],
        ["Am 3. Mai kam z.B. niemand. ", "Danach alle."],
        ["Он жил на ул. Садовой. ", "Потом уехал."],
        ["他走了。", "“你好。再见。”", "真的！"],
        ["नमस्ते दुनिया। ", "यह दूसरा है।"],
        ["هل هذا صحيح؟ ", "نعم."],
        ["¿Quién es? ", "Nadie."],
        ["Wait... what? ", "Nothing."],
        ["# Heading\n", "- one item\n", "- another. ", "With more\n\n", "A paragraph"],
        ["Ada: come here\n", "Bo: not now\n"],
        ["A line that is wrapped near its seventieth column goes on in the\nnext one. ", "And ends."],
        ["He said “Stop. Now.” and left. ", "She stayed."],
        ['Config {"a": "x. Y"} is read. ', "Then used."],
        ["Line one\r\n", "Line two\r\n"],
    ],
)
def test_sentences_end_where_a_reader_would_say(parts: list[str]) -> None:
    text = "".join(parts)
    assert [sentence.text for sentence in split(text, find_spans(text))] == parts


@given(anything)
def test_sentences_add_up_to_the_text_and_cut_no_span(text: str) -> None:
    spans = find_spans(text)
    found = split(text, spans)
    assert "".join(sentence.text for sentence in found) == text
    at = 0
    for sentence in found:
        inside = [span for span in spans if at <= span.start < at + len(sentence.text)]
        at += len(sentence.text)
        assert all(span.end <= at for span in inside)
        assert sentence.lasting is any(span.lasting for span in inside)
        assert sentence.text.strip() or len(found) == 1


@given(anything)
def test_blocks_are_numbered_in_order(text: str) -> None:
    blocks = [sentence.block for sentence in split(text, find_spans(text))]
    assert blocks == sorted(blocks)


def test_sentences_of_a_paragraph_share_its_block() -> None:
    text = "One ends. Two ends.\n\nThree ends. Four ends.\n- five\n- six"
    assert [sentence.block for sentence in split(text, find_spans(text))] == [0, 0, 1, 1, 2, 3]
