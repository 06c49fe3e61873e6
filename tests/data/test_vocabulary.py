"""The shipped vocabularies give the ids that OpenAI's tokenizers give, for texts of any length."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.texts import ORDINARY

from batchway.data.vocabulary import PIECE, Vocabularies

VOCABULARIES = Vocabularies()
GOLDEN = {
    "o200k_base": {
        "hello world": [24912, 2375],
        "Grüße aus München!": [3193, 572, 13153, 3976, 61963, 0],
        "Привет, мир": [23881, 131903, 11, 37934],
        "你好，世界": [177519, 979, 28428],
        "नमस्ते दुनिया": [998, 1637, 14681, 628, 64593],
        "👩‍💻🇩🇪 ok": [28823, 102, 2524, 31446, 119, 55506, 102, 55506, 103, 4763],
        "1234567.89": [7633, 19354, 22, 13, 7479],
        "def f(x):\n    return x\n": [1314, 285, 4061, 1883, 271, 622, 1215, 198],
        "  \n\n\ttab": [11691, 119380],
        "don't I'LL": [91418, 3413, 7454],
        "é": [68, 13430],
    },
    "cl100k_base": {
        "hello world": [15339, 1917],
        "Grüße aus München!": [6600, 2448, 24352, 9608, 90366, 0],
        "Привет, мир": [54745, 28089, 8341, 11, 11562, 78746],
        "你好，世界": [57668, 53901, 3922, 3574, 244, 98220],
        "नमस्ते दुनिया": [61196, 88344, 79468, 31584, 97, 35470, 15272, 99, 73753, 61196, 43411, 107, 24810],
        "👩‍💻🇩🇪 ok": [9468, 239, 102, 378, 235, 93273, 119, 9468, 229, 102, 9468, 229, 103, 5509],
        "1234567.89": [4513, 10961, 22, 13, 4578],
        "def f(x):\n    return x\n": [755, 282, 2120, 997, 262, 471, 865, 198],
        "  \n\n\ttab": [19124, 59249],
        "don't I'LL": [15357, 956, 358, 6, 4178],
        "é": [68, 54939],
    },
}
"""Ids as bpe-openai 0.1.4, another implementation with its own copy of the vocabularies, gives them."""


@pytest.mark.parametrize("name", GOLDEN)
def test_ids_are_those_of_the_published_tokenizer(name: str) -> None:
    encoding = VOCABULARIES.encoding(name)
    assert {text: encoding.encode_ordinary(text) for text in GOLDEN[name]} == GOLDEN[name]


@pytest.mark.parametrize(("name", "tokens"), [("o200k_base", 199_998), ("cl100k_base", 100_256)])
def test_every_rank_ships(name: str, tokens: int) -> None:
    encoding = VOCABULARIES.encoding(name)
    assert encoding.n_vocab == tokens
    assert len(set(map(encoding.decode_single_token_bytes, range(tokens)))) == tokens


def test_an_encoding_is_built_once() -> None:
    assert VOCABULARIES.encoding("o200k_base") is VOCABULARIES.encoding("o200k_base")


def test_an_encoding_that_does_not_ship_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"'p50k_base'.*o200k_base, cl100k_base"):
        VOCABULARIES.counter("p50k_base")


def test_special_tokens_and_lone_surrogates_are_counted_as_text() -> None:
    count = VOCABULARIES.counter("o200k_base")
    assert count("<|endoftext|>") == 7
    assert count("\ud800") == count("\ufffd") == 1
    assert count("") == 0


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("kind", ORDINARY)
def test_long_text_counted_in_pieces_gives_the_same_sum(name: str, kind: str) -> None:
    text = f"{ORDINARY[kind]} " * (3 * PIECE // len(ORDINARY[kind]))
    assert VOCABULARIES.counter(name)(text) == len(VOCABULARIES.encoding(name).encode_ordinary(text))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@given(words=st.lists(st.text("ab1_é中.,'!-\n\t  ☃", min_size=1, max_size=12), min_size=1), seed=st.integers())
@settings(deadline=None, max_examples=20)
def test_pieces_never_fall_below_the_truth(name: str, words: list[str], seed: int) -> None:
    text = " ".join(random.Random(seed).choices(words, k=3000))
    truth = len(VOCABULARIES.encoding(name).encode_ordinary(text))
    assert truth <= VOCABULARIES.counter(name)(text) <= truth + 2 * (len(text) // PIECE + 1)


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_a_cut_never_separates_white_space_from_what_follows(name: str) -> None:
    text = "=" * (PIECE - 2) + "  1"
    truth = len(VOCABULARIES.encoding(name).encode_ordinary(text))
    assert truth <= VOCABULARIES.counter(name)(text) <= truth + 2


@pytest.mark.parametrize("character", ["a", "A", " ", "\n", "!", "中", "é"])
@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_a_run_of_a_million_is_counted(name: str, character: str) -> None:
    """tiktoken alone panics on a million spaces and takes 0.8 s for a million newlines."""
    count = VOCABULARIES.counter(name)
    short = count(character * PIECE)
    assert count(character * 1_000_000) == short * 50
