"""Embeddings: what is read of a request and of an answer."""

import json
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse
from tests.wire.simulated import vectors

from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Usage
from batchway.wire import embeddings
from batchway.wire.reading import Reading


def read(**fields: Any) -> Reading:
    return embeddings.read(msgspec.json.encode({"model": "m", "input": "hi"} | fields))


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("hi", ("hi",)),
        (["a", "b", ""], ("a", "b", "")),
        ([5, 6, 7], ("\0\0\0",)),
        ([[5], [6, 7]], ("\0", "\0\0")),
        (["a", [6, 7], 8], ("a", "\0\0", "\0")),
    ],
)
def test_inputs(given: object, texts: tuple[str, ...]) -> None:
    assert read(input=given).prompt.texts == texts


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": None}, "input", "input: give a text, a list of texts, or token ids."),
        ({"input": ""}, "input", "input: give a text"),
        ({"input": []}, "input", "input: give a text"),
        ({"input": 5}, "input", "got `int`"),
        ({"input": {}}, "input", "got `object`"),
        ({"input": [1.5]}, "input[0]", "got `float`"),
        ({"input": ["a", None]}, "input[1]", "got `null`"),
        ({"input": [["a"]]}, "input[0][0]", "got `str`"),
        ({"model": []}, "model", "got `array`"),
        ({"user": 5}, "user", "got `int`"),
        ({"strategy": "fast"}, "strategy", "'fast' is not one of auto, direct, flex, batch"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**fields)
    assert (refused.value.fault.status, refused.value.fault.param) == (400, param)
    assert words in refused.value.fault.message


def test_hints_and_user() -> None:
    reading = read(user="u", priority="low", dimensions=8, encoding_format="base64")
    assert (reading.user, reading.hints.priority, reading.ours, reading.prompt.stream) == (
        "u",
        "low",
        ("priority",),
        False,
    )


@pytest.mark.parametrize("form", ["float", "base64"])
def test_what_the_sandbox_answers_is_an_answer(form: str) -> None:
    body = vectors({"model": "text-embedding-3-small", "input": ["a", "b"], "encoding_format": form})
    count = json.loads(body)["usage"]["prompt_tokens"]
    if form == "float":
        CreateEmbeddingResponse.model_validate_json(body, strict=True)
    assert embeddings.answer(body, 5.0) == Answer(body=body, usage=Usage(input=count), finished_at=5.0)
    assert count > 0


def test_no_vectors_are_no_complete_answer_and_usage_may_be_missing() -> None:
    assert embeddings.answer(b'{"data":[]}', 0) == Answer(body=b'{"data":[]}', complete=False)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":null}', b'{"data":5}', b'{"error":{}}'])
def test_what_is_no_list_of_vectors(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        embeddings.answer(body, 0)
