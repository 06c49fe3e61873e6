"""Condensing: the sentences worth most, in order, with marks for the rest; the middle of what is too long."""

from batchway.core.extraction import GAP, Condensed, Extraction, Passage
from batchway.core.sentences import split
from batchway.core.spans import find_spans

TEXT = (
    "Bread is sold at the corner. The ferry was repaired by Otto. Nobody liked the lamp.\n\n"
    "Two cats slept there. The wall was tall. Milk was dear.\n\nThe end came soon."
)


def words(text: str) -> int:
    return len(text.split())


def passage(text: str) -> Passage:
    return Passage(sentences=split(text, find_spans(text)), tokens=words(text), recency=1.0)


def condense(text: str, room: int, question: str = "Who repaired the ferry?") -> Condensed:
    return Extraction([passage(text)], question, words).condense(room)[0]


def test_the_answer_stays_and_gaps_are_marked_where_they_are() -> None:
    condensed = condense(TEXT, 10)
    assert condensed.text == f"{GAP} The ferry was repaired by Otto. {GAP}"
    assert condensed.kept == 1


def test_sentences_stay_in_their_order() -> None:
    condensed = condense(TEXT, 25)
    kept = [sentence for sentence in condensed.text.replace(GAP, "").split(".") if sentence.strip()]
    assert [TEXT.index(sentence.strip()) for sentence in kept] == sorted(
        TEXT.index(sentence.strip()) for sentence in kept
    )
    assert words(condensed.text) <= 30


def test_with_room_for_all_nothing_changes() -> None:
    assert condense(TEXT, 100).text == TEXT


def test_with_room_for_nothing_the_number_of_tokens_is_said() -> None:
    assert condense(TEXT * 2, 0).text == f"[… {words(TEXT * 2)} tokens left out …]"
    assert condense(TEXT, 0).text == f"{GAP}", "where the number would cost as much as it tells"


def test_code_stays_without_room() -> None:
    code = "```\nkeep this\n```\n"
    assert condense(f"{TEXT}\n\n{code}", 0).text == f"{GAP}\n\n{code}"


def test_passages_compete() -> None:
    first, second = Extraction(
        [passage("Old talk about bread. And more of it."), passage(TEXT)], "the ferry and Otto", words
    ).condense(12)
    assert "bread" not in first.text
    assert "Otto" in second.text


def test_a_line_without_sentences_keeps_its_beginning_and_end_and_says_what_is_gone() -> None:
    line = " ".join(f"word{number}" for number in range(400))
    condensed = condense(line, 100)
    head, _, rest = condensed.text.partition("[… ")
    number, _, tail = rest.partition(" tokens left out …] ")
    assert line.startswith(head) and line.endswith(tail)
    assert condensed.cut == int(number) == 400 - words(head) - words(tail)
    assert 35 <= words(head) <= 50 and 35 <= words(tail) <= 50


def test_a_cut_goes_through_no_quotation_and_no_number() -> None:
    quotation = "“" + " ".join(["said"] * 180) + "”"
    number = " ".join(["100"] * 180)
    for span in (quotation, number):
        line = " ".join(["a"] * 20) + f" {span} " + " ".join(["z"] * 20)
        condensed = condense(line, 100)
        assert span not in condensed.text
        assert ("said" in condensed.text, "100" in condensed.text) == (False, False)
        assert condensed.cut == 180


def test_what_is_not_worth_a_mark_stays() -> None:
    text = "The ferry was repaired by Otto. Yes. The ferry was repaired by Otto too."
    assert condense(text, 16).text == text
