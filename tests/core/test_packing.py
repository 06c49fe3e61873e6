"""Packed prompts: what is composed comes back under its id, and whatever is uncertain comes back as missing."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.core.packing import FORMATS, MARGIN, Format, Missing, bisect, make_nonces
from batchway.data.vocabulary import Vocabularies
from batchway.sandbox import packed

A, B, C = (f"{number:020d}" for number in (11, 22, 33))
UNKNOWN = f"{99:020d}"
FORMS = tuple(FORMATS.values())
XML, JSON = FORMATS["xml"], FORMATS["json"]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def drawn(seed: int = 0) -> Callable[[], str]:
    """Ids as the planner draws them."""
    dice = random.Random(seed)
    return lambda: f"{dice.getrandbits(66):020d}"


def answer(identity: str, text: str) -> str:
    return f'<answer id="{identity}">{text}</answer>'


def split(form: Format, text: str, *, cut: bool = False) -> list[str | None]:
    """The answers of A, B and C; None where missing."""
    return [each if isinstance(each, str) else None for each in form.split(text, (A, B, C), cut=cut)]


def mirrored(form: Format, items: Sequence[str]) -> list[str | Missing]:
    """What comes back from a model that repeats every item."""
    nonces = make_nonces(items, drawn())
    understood = packed.understand(form.compose(items, nonces))
    assert understood is not None
    assert [item.text for item in understood.items] == list(items)
    return form.split(packed.say(understood.shape, understood.items), nonces, cut=False)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(items=st.lists(texts, min_size=1, max_size=8))
def test_any_text_that_does_not_resemble_the_format_comes_back_whole(form: Format, items: list[str]) -> None:
    plain = [item for item in items if not form.resembles(item) and item.strip()]
    trimmed = [item.removeprefix("\n").removesuffix("\n") if form is XML else item for item in plain]
    kept = [item for item in trimmed if item.strip()]
    if kept == trimmed and kept:
        assert mirrored(form, plain) == trimmed


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_awkward_texts_come_back_whole(form: Format) -> None:
    items = [
        "{}",
        "a < b && c > d",
        '"',
        "\\",
        "]",
        "a\u2028b\u0085c",
        "<b>x</b>",
        "[1] {2}",
        "```",
        "你好",
        "&lt;b&gt;",
        "\\u0041",
    ]
    assert mirrored(form, items) == items


def test_the_line_breaks_of_a_tag_are_trimmed_and_no_others() -> None:
    assert split(XML, f"{answer(A, chr(10) + ' x' + chr(10) * 2)}\n{answer(B, 'b ')}{answer(C, 'c')}") == [
        " x\n",
        "b ",
        "c",
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"{answer(C, 'c')} {answer(A, 'a')}\n\n{answer(B, 'b')}", ["a", "b", "c"]),
        (f"Sure:\n```xml\n{answer(A, 'a')}{answer(B, 'b')}{answer(C, 'c')}\n```\n", ["a", "b", "c"]),
        # Twice: neither is certain. The others are.
        (f"{answer(A, 'a')}{answer(B, 'b')}{answer(B, 'b')}{answer(C, 'c')}", ["a", None, "c"]),
        # Passed over, or under an unknown id: it may have been merged into either neighbour.
        (f"{answer(A, 'a')}{answer(C, 'c')}", [None, None, None]),
        (f"{answer(A, 'a')}{answer(B, 'b')}", ["a", None, None]),
        (f"{answer(A, 'a')}{answer(B, 'b')}{answer(UNKNOWN, 'c')}", ["a", None, None]),
        (f"{answer(A, 'a')}{answer(B, ' ')}{answer(C, 'c')}", [None, None, None]),
        # Words outside belong to nobody, and the answer before them may go on in them.
        (f"{answer(A, 'a')} and more{answer(B, 'b')}{answer(C, 'c')}", [None, "b", "c"]),
        (f"{answer(A, 'a')}{answer(B, 'b')}{answer(C, 'c')} That was it.", ["a", "b", None]),
        (f"{answer(A, 'a')}</answer>{answer(B, 'b')}{answer(C, 'c')}", [None, "b", "c"]),
        # Nested, unclosed, quoted, misspelt.
        (f'<answer id="{A}">a {answer(B, "b")}</answer>{answer(C, "c")}', [None, None, "c"]),
        (f'<answer id="{A}">a {answer(B, "b")}{answer(C, "c")}', [None, None, "c"]),
        (f"{answer(A, f'see {B}')}{answer(C, 'c')}", [None, None, "c"]),
        (f"{answer(A, 'a <item>')}{answer(B, 'b')}{answer(C, 'c')}", [None, "b", "c"]),
        (f"<answer id='{A}'>a</answer>{answer(B, 'b')}{answer(C, 'c')}", [None, "b", "c"]),
        (f'<answer id="{A}, {B}">ab</answer>{answer(C, "c")}', [None, None, "c"]),
        (f'<ANSWER ID="{A}">a</ANSWER>{answer(B, "b")}{answer(C, "c")}', [None, "b", "c"]),
        ("a b c", [None, None, None]),
        ("", [None, None, None]),
        ("\ud800" + answer(A, "a"), [None, None, None]),
    ],
)
def test_only_what_is_certain_is_an_answer(said: str, expected: list[str | None]) -> None:
    assert split(XML, said) == expected


ESCAPED, HALF_A_PAIR = r"a\"]\u00e9", r"\ud800"


def element(identity: str, text: str) -> str:
    return f'{{"id": "{identity}", "answer": "{text}"}}'


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"[{element(C, 'c')}, {element(A, 'a')},\n{element(B, 'b')}]", ["a", "b", "c"]),
        (f"```json\n[{element(A, 'a')},{element(B, 'b')},{element(C, 'c')}]\n```", ["a", "b", "c"]),
        (f'{{"answers": [{element(A, "a")},{element(B, "b")},{element(C, "c")}]}}', ["a", "b", "c"]),
        (f"[{element(A, ESCAPED)},{element(B, 'b')},{element(C, 'c')}]", ['a"]é', "b", "c"]),
        (f"[{element(A, 'a')},{element(B, 'b')},{element(B, 'b')},{element(C, 'c')}]", ["a", None, "c"]),
        (f"[{element(A, 'a')},{element(B, '')},{element(C, 'c')}]", [None, None, None]),
        (f"[{element(A, B)},{element(C, 'c')}]", [None, None, "c"]),
        (f"[{element(A, HALF_A_PAIR)},{element(B, 'b')},{element(C, 'c')}]", [None, "b", "c"]),
        # Broken anywhere: nothing of it is certain, and nothing is mended.
        (f"[{element(A, 'a')},{element(B, 'b')},{element(C, 'c')}", [None, None, None]),
        (f"[{element(A, 'a')},{element(B, 'b')} {element(C, 'c')}]", [None, None, None]),
        (f"[{element(A, 'a' + chr(10))},{element(B, 'b')},{element(C, 'c')}]", [None, None, None]),
        (f'[{{"id": "{A}", "x": 1, "answer": "a"}},{element(B, "b")},{element(C, "c")}]', [None, None, None]),
        (f"[{element(A, 'a')}]\n[{element(B, 'b')},{element(C, 'c')}]", ["a", None, None]),
        (f'[{{"id": "{A}", "answer": ["a"]}}]', [None, None, None]),
        ("[]", [None, None, None]),
    ],
)
def test_only_what_is_certain_in_json_is_an_answer(said: str, expected: list[str | None]) -> None:
    assert split(JSON, said) == expected


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_of_a_cut_answer_what_was_closed_is_kept(form: Format) -> None:
    whole = packed.say(
        "xml" if form is XML else "json", [packed.Item(A, "a"), packed.Item(B, "b"), packed.Item(C, "c")]
    )
    found = [split(form, whole[:end], cut=True) for end in range(len(whole))]
    kept = [sum(each is not None for each in answers) for answers in found]
    assert kept == sorted(kept)
    assert {tuple(answers) for answers in found} <= {(None,) * 3, ("a", None, None), ("a", "b", None), ("a", "b", "c")}
    assert ("a", "b", None) in {tuple(answers) for answers in found}
    assert found[whole.index(C) - 1] == ["a", "b", None]
    # A hole before the cut is no work of the cut.
    holed = whole.replace(B, UNKNOWN)
    assert split(form, holed[: holed.index(C) + len(C)], cut=True) == [None, None, None]


def test_reasons_are_said() -> None:
    said = f'{answer(A, "a")}{answer(A, "a")}<answer id="{B}">'
    reasons = [each.reason if isinstance(each, Missing) else each for each in XML.split(said, (A, B, C), cut=False)]
    assert reasons == [
        "its id came more than once",
        "its answer is not well-formed or not whole",
        "no answer came with its id",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<item>",
        "x </Answer >",
        "< / item",
        '<ANSWER id="1">',
        "<answers>",
        "&lt;answer&gt;",
        "&#60;item",
        "&#x3C; item",
        "＜item＞",
        "<\u200banswer",
    ],
)
def test_what_looks_like_our_tags_resembles(text: str) -> None:
    assert XML.resembles(text)


@pytest.mark.parametrize("text", ['{"id": 1}', "{'answer' : 2}", '\\"text\\":', "```json\n{}", "``` [1]", "“id”:"])
def test_what_looks_like_our_json_resembles(text: str) -> None:
    assert JSON.resembles(text)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("text", ["What is an item?", "a < b", "The answer is 4.", "<b>", "id: 4", "{}", '{"name": 1}'])
def test_ordinary_texts_do_not(form: Format, text: str) -> None:
    assert not form.resembles(text)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_ids_must_be_safe(form: Format) -> None:
    for items, nonces in (
        (["a", "b"], [A, A]),
        (["a"], [A, B]),
        (["a"], ["short"]),
        (["a"], ['"' + A]),
        ([f"x{A}"], [A]),
    ):
        with pytest.raises(ValueError, match=r"ids|the id"):
            form.compose(items, nonces)


def test_ids_that_occur_in_a_text_are_drawn_again() -> None:
    draws = iter([A, B, B, C, UNKNOWN])
    assert make_nonces([f"about {A}", "y", "z"], lambda: next(draws)) == (B, C, UNKNOWN)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_overheads_are_not_underestimated(form: Format, encoding: str) -> None:
    count = Vocabularies().counter(encoding)
    for text in ("What is a fjord?", "x", "42", "Zürich?", "\n\n-"):
        for size in (1, 2, 6, 10):
            items = [text] * size
            nonces = make_nonces(items, drawn(size))
            composed = count(form.compose(items, nonces)) - size * count(text)
            assert composed <= form.overhead + size * form.per_item
            shape: packed.Shape = "xml" if form is XML else "json"
            said = count(packed.say(shape, [packed.Item(nonce, text) for nonce in nonces])) - size * count(text)
            assert said <= size * form.per_answer + 2


def test_budgets_leave_room_for_the_tags() -> None:
    assert XML.output_budget([10, 10]) == 20 + 2 * XML.per_answer + MARGIN


@pytest.mark.parametrize("count", range(1, 40))
def test_bisecting_ends_with_each_item_alone(count: int) -> None:
    def alone(places: range) -> list[int]:
        if len(places) == 1:
            return list(places)
        return [place for half in bisect(len(places)) for place in alone(places[half.start : half.stop])]

    assert alone(range(count)) == list(range(count))


MEGABYTE = 1_000_000
HOSTILE = [
    "<answer ",
    "<",
    "< ",
    "</answer>",
    f'<answer id="{A}">',
    answer(A, "x"),
    "[",
    '[{"id"',
    '"',
    "\\",
    " ",
    A,
    "0",
    "`",
    f'{{"id": "{A}", "answer": "x"}},',
]


PIECES = [
    "<",
    "/",
    "answer",
    " id=",
    A,
    B,
    ">",
    "</answer>",
    "x",
    "[{",
    answer(A, "a"),
    answer(B, "b"),
    element(A, "a"),
    "]",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_hostile_texts_take_linear_time(form: Format) -> None:
    """Quadratic time would be minutes for each megabyte; the whole takes about a second."""
    for seed in HOSTILE:
        for text in (seed * (MEGABYTE // len(seed)), f'[{{"id": "{A}", "answer": "' + seed * (MEGABYTE // len(seed))):
            assert form.split(text, (A, B, C), cut=True).count(Missing("no answer came with its id")) >= 1
            form.resembles(text)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(pieces=st.lists(st.sampled_from(PIECES)))
def test_nothing_that_is_said_breaks_the_splitting(form: Format, pieces: list[str]) -> None:
    said = "".join(pieces)
    for cut in (False, True):
        for each in form.split(said, (A, B), cut=cut):
            assert isinstance(each, Missing) or (each.strip() and A not in each and B not in each)
