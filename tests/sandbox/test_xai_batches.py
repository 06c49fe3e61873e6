"""xAI's files and batches in the sandbox, asked by hand (its SDK speaks gRPC) and, for files, by OpenAI's SDK."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from tests.sandbox.speaking import ledger, switch_on
from tests.sandbox.submitting import CHAT, START, World, a_world, request, requests

DAY_ONE, DAY_TWO = "1970-01-12", "1970-01-13"
FILES, BATCHES = "/grok/v1/files", "/grok/v1/batches"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a batch of ten lines takes 120 seconds."""
    async with a_world("grok") as made:
        yield made


async def created(world: World, lines: Any = None, name: str = "mine") -> Any:
    file = await world.upload(requests() if lines is None else lines)
    answer = await world.http.post(BATCHES, json={"name": name, "input_file_id": file})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shown(world: World, batch: Any, seconds: float = 0) -> Any:
    world.move(seconds)
    return (await world.http.get(f"{BATCHES}/{batch['batch_id']}")).json()


async def results(world: World, batch: Any, **query: Any) -> Any:
    answer = await world.http.get(f"{BATCHES}/{batch['batch_id']}/results", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counters(batch: Any) -> tuple[int, ...]:
    names = ("num_requests", "num_pending", "num_success", "num_error", "num_cancelled")
    return tuple(batch["state"][name] for name in names)


async def test_a_life_in_counters(world: World) -> None:
    made = await created(world)
    assert made["batch_id"].startswith("batch_")
    assert (made["name"], made["create_time"], made["expire_time"]) == ("mine", DAY_ONE, DAY_TWO)
    assert (made["cancel_time"], made["cancel_by_xai_message"], "status" in made) == (None, None, False)
    seen = [counters(made), *[counters(await shown(world, made, step)) for step in (9, 1, 30, 70)]]
    assert seen == [(0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (10, 10, 0, 0, 0), (10, 7, 3, 0, 0), (10, 0, 10, 0, 0)]
    page = await results(world, made)
    assert page["pagination_token"] is None
    found = {entry["batch_request_id"]: entry["batch_result"] for entry in page["results"]}
    assert sorted(found) == [f"r-{number}" for number in range(10)]
    for name, result in found.items():
        direct = (await world.http.post(f"/grok{CHAT}", json=request(name)["body"])).json()
        body = result["response"]["chat_get_completion"]
        assert (body["choices"], body["usage"]) == (direct["choices"], direct["usage"])
        assert result["error"] == {"code": 0, "message": ""}
    view = await ledger(world.http, lane="batch", provider="grok", endpoint="chat")
    assert (view["totals"]["calls"], view["totals"]["completed"]) == (10, 10)


async def test_results_come_by_the_page_and_at_any_time(world: World) -> None:
    made = await created(world)
    assert await results(world, made) == {"results": [], "pagination_token": None}
    world.move(40)
    early = await results(world, made, limit=2)
    assert len(early["results"]) == 2
    rest = await results(world, made, limit=2, pagination_token=early["pagination_token"])
    assert (len(rest["results"]), rest["pagination_token"]) == (1, None)
    world.move(80)
    seen: list[str] = []
    token = ""
    while token is not None:
        page = await results(world, made, limit=4, **({"pagination_token": token} if token else {}))
        seen += [entry["batch_request_id"] for entry in page["results"]]
        token = page["pagination_token"]
    assert sorted(seen) == [f"r-{number}" for number in range(10)]
    for query in ({"limit": 0}, {"limit": 1001}, {"pagination_token": "x"}):
        answer = await world.http.get(f"{BATCHES}/{made['batch_id']}/results", params=query)
        assert answer.status_code == 400


async def test_rows_fail_with_codes_of_grpc(world: World) -> None:
    lines = [
        request("good"),
        request("bad", body={"temperature": 9}),
        request("gone", body={"model": "does-not-exist"}),
    ]
    made = await created(world, lines)
    assert counters(await shown(world, made, 120)) == (3, 0, 1, 2, 0)
    found = {entry["batch_request_id"]: entry for entry in (await results(world, made))["results"]}
    assert found["bad"]["batch_result"]["error"]["code"] == 3
    assert found["gone"]["batch_result"]["error"]["code"] == 5
    assert "does-not-exist" in found["gone"]["error_message"]
    assert set(await world.billed(by="custom_id")) == {"good"}


async def test_models_may_differ(world: World) -> None:
    made = await created(world, [request("one"), request("two", body={"model": "gpt-4o"})])
    assert counters(await shown(world, made, 120)) == (2, 0, 2, 0, 0)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (requests(2, body={"model": "grok-4.6"}), "Model grok-4.6 is not supported for batch processing."),
        ([request("one", url="/v1/embeddings")], "line 1: The url '/v1/embeddings' is not one of"),
        (b'{"custom_id": "a"', "line 1: This line is not a request"),
        (b"", "The input file holds no requests."),
    ],
)
async def test_a_wrong_file_is_cancelled_by_xai(world: World, lines: Any, reason: str) -> None:
    made = await created(world, lines)
    assert made["cancel_by_xai_message"] is None
    batch = await shown(world, made, 10)
    assert batch["cancel_by_xai_message"].startswith(f"JSONL file validation failed: {reason}")
    assert (batch["cancel_time"], counters(batch)) == (DAY_ONE, (0, 0, 0, 0, 0))
    assert await results(world, made) == {"results": [], "pagination_token": None}


async def test_cancelling_by_a_colon(world: World) -> None:
    made = await created(world)
    world.move(40)
    cancel = f"{BATCHES}/{made['batch_id']}:cancel"
    asked = (await world.http.post(cancel)).json()
    assert (asked["cancel_time"], counters(asked)) == (DAY_ONE, (10, 7, 3, 0, 0))
    batch = await shown(world, made, 10)
    assert counters(batch) == (10, 0, 3, 0, 7)
    codes = [entry["batch_result"]["error"]["code"] for entry in (await results(world, made))["results"]]
    assert sorted(codes) == [0] * 3 + [1] * 7
    assert (await world.http.post(cancel)).json() == batch, "what has ended does not change"
    assert (await world.http.post(f"{BATCHES}/{made['batch_id']}/cancel")).status_code == 404


async def test_what_is_pending_when_it_expires_stays_pending(world: World) -> None:
    await switch_on(world.http, {"kind": "batch_ends", "state": "expired", "lines": 4})
    made = await created(world)
    assert counters(await shown(world, made, 500)) == (10, 6, 4, 0, 0)


async def test_the_newest_first_by_the_page(world: World) -> None:
    names = [(await created(world, requests(1), name=f"n-{n}"))["batch_id"] for n in range(5)]
    page = (await world.http.get(BATCHES, params={"limit": 3})).json()
    assert [batch["name"] for batch in page["batches"]] == ["n-4", "n-3", "n-2"]
    rest = (await world.http.get(BATCHES, params={"pagination_token": page["pagination_token"]})).json()
    assert ([batch["batch_id"] for batch in rest["batches"]], rest["pagination_token"]) == ([names[1], names[0]], None)
    assert (await world.http.get(BATCHES, params={"pagination_token": "x"})).status_code == 400
    stranger = {"authorization": "Bearer sk-other"}
    assert (await world.http.get(BATCHES, headers=stranger)).json()["batches"] == []
    assert (await world.http.get(f"{BATCHES}/{names[0]}", headers=stranger)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"name": "x"}, 400, "input_file_id"),
        ({"input_file_id": "x"}, 400, "name"),
        ({"name": "x", "input_file_id": "file_none"}, 404, "input_file_id"),
    ],
)
async def test_a_wrong_creation_is_told(world: World, body: Any, status: int, param: str) -> None:
    answer = await world.http.post(BATCHES, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_files_by_openais_sdk(world: World) -> None:
    file = await world.sdk.files.create(file=("in.jsonl", b"x\n"), purpose="batch")
    assert (file.id[:5], file.purpose, file.bytes, file.created_at, file.expires_at) == ("file_", "", 2, START, None)
    assert (await world.sdk.files.retrieve(file.id)).filename == "in.jsonl"
    assert await world.content(file.id) == b"x\n"
    await world.upload(b"y")
    page = (await world.http.get(FILES, params={"limit": 1})).json()
    assert page["pagination_token"] is not None
    rest = (await world.http.get(FILES, params={"pagination_token": page["pagination_token"]})).json()
    assert ([each["id"] for each in rest["data"]], rest["pagination_token"]) == ([file.id], None)
    assert (await world.sdk.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await world.sdk.files.retrieve(file.id)


async def test_the_end_of_a_file_is_given_before_it(world: World) -> None:
    parts = [
        b'--b\r\ncontent-disposition: form-data; name="expires_after"\r\n\r\n3600\r\n',
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n',
    ]
    headers = {"content-type": "multipart/form-data; boundary=b"}
    good = await world.http.post(FILES, content=b"".join(parts) + b"--b--\r\n", headers=headers)
    assert (good.status_code, good.json()["expires_at"]) == (200, START + 3_600)
    late = await world.http.post(FILES, content=b"".join(parts[::-1]) + b"--b--\r\n", headers=headers)
    assert (late.status_code, late.json()["error"]["param"]) == (400, "expires_after")
    for wrong in (b"60", b"soon"):
        answer = await world.http.post(
            FILES, content=parts[0].replace(b"3600", wrong) + parts[1] + b"--b--\r\n", headers=headers
        )
        assert answer.status_code == 400


async def test_lines_are_what_openais_are(world: World) -> None:
    """What one uploads is JSON Lines as OpenAI has them; only the answers differ."""
    file = await world.upload(requests(1))
    assert json.loads(await world.content(file))["custom_id"] == "r-0"
