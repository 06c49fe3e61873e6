"""What stands twice is said once."""

from batchway.core.repetition import ABOVE, BELOW, blocks_of, without_repetitions
from batchway.core.sentences import split
from batchway.core.spans import find_spans

LONG = "The same long paragraph is pasted into the conversation once more, as it happens so often. It ends here."
OTHER = "Another paragraph that is long enough to be left out as well if it stood elsewhere in the same prompt."


def once(text: str, where: int, seen: dict[str, int]) -> str:
    return "".join(sentence.text for sentence in without_repetitions(split(text, find_spans(text)), where, seen))


def test_the_first_copy_stays() -> None:
    seen: dict[str, int] = {}
    assert once(f"{LONG}\n\nNew.\n\n{LONG}\n\nEnd.", 0, seen) == f"{LONG}\n\nNew.\n\n{ABOVE}\n\nEnd."
    assert once(f"Again:\n\n{LONG}", 1, seen) == f"Again:\n\n{ABOVE}"


def test_a_copy_further_down_is_pointed_at() -> None:
    assert once(f"{LONG}\n\nNew.", 0, {LONG: 3}) == f"{BELOW}\n\nNew."


def test_a_row_of_repetitions_has_one_mark() -> None:
    seen = {LONG: 0, OTHER: 0}
    assert once(f"{LONG}\n\n{OTHER}\n\nNew.\n\n{OTHER}", 1, seen) == f"{ABOVE}\n\nNew.\n\n{ABOVE}"
    assert once(f"{LONG}\n\n{OTHER}\n\nNew.", 1, {LONG: 0, OTHER: 2}) == f"{ABOVE}\n\n{BELOW}\n\nNew."


def test_short_blocks_and_code_stay() -> None:
    code = "```python\nprint('a long enough line of code')\nprint('and another long enough line of code')\n```"
    for text in (f"Yes.\n\nYes.\n\n{code}\n\n{code}", "- one\n- one\n"):
        assert once(text, 0, {code: 0}) == text


def test_blocks_are_paragraphs_and_lines_that_are_long_enough() -> None:
    assert blocks_of(f"Short.\n\n{LONG}\nIt goes on.") == [f"{LONG}\nIt goes on.", LONG]
