"""Embeddings: unit vectors, their sizes and encodings, and every kind of input."""

import base64
import math
import struct
from typing import Any

import httpx2
import pytest
from tests.sandbox.speaking import last_line


async def embed(client: httpx2.AsyncClient, **fields: Any) -> httpx2.Response:
    return await client.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "a"} | fields)


async def vectors(client: httpx2.AsyncClient, **fields: Any) -> list[list[float]]:
    return [each["embedding"] for each in (await embed(client, **fields)).json()["data"]]


async def test_vectors_are_unit_and_deterministic(client: httpx2.AsyncClient) -> None:
    first, second, third = await vectors(client, input=["a", "b", "a"])
    assert first == third != second
    assert len(first) == 1536
    assert math.isclose(sum(x * x for x in first), 1, rel_tol=1e-5)


async def test_base64_holds_the_same_floats(client: httpx2.AsyncClient) -> None:
    (plain,) = await vectors(client, dimensions=8)
    (coded,) = await vectors(client, dimensions=8, encoding_format="base64")
    assert list(struct.unpack("<8f", base64.b64decode(str(coded)))) == pytest.approx(plain)


async def test_sizes(client: httpx2.AsyncClient) -> None:
    assert len((await vectors(client, model="text-embedding-3-large"))[0]) == 3072
    too_many = await embed(client, dimensions=4000)
    assert (too_many.status_code, too_many.json()["error"]["param"]) == (400, "dimensions")


@pytest.mark.parametrize(
    ("given", "count", "tokens"), [("12345678", 1, 2), (["a", "b"], 2, 2), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)]
)
async def test_inputs(client: httpx2.AsyncClient, given: object, count: int, tokens: int) -> None:
    answer = (await embed(client, input=given, dimensions=4)).json()
    assert [each["index"] for each in answer["data"]] == list(range(count))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    line = await last_line(client)
    assert (line["endpoint"], line["input"], line["output"]) == ("embeddings", tokens, 0)


@pytest.mark.parametrize("given", ["", [], [""], ["a", 1], None])
async def test_wrong_inputs(client: httpx2.AsyncClient, given: object) -> None:
    answer = await embed(client, input=given)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
