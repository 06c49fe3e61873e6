"""OpenAI's own files, batches and stored answers through the gateway: with its SDK, each about its tenant's own."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, NotFoundError
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.gate import CHAT, PATIENCE, Gate, chat, check_fault, open_gate
from tests.server.lane import ASYNC, ended, open_lane

from batchway.settings import KeyEntry, hash_key

ONE, OTHER = "bw-" + "1" * 43, "bw-" + "2" * 43
KEYS = (KeyEntry(name="one", hash=hash_key(ONE)), KeyEntry(name="other", hash=hash_key(OTHER), scope="admin"))
MESSAGES: Any = [{"role": "user", "content": "What is a fjord?"}]
ENDPOINT: Final = "/v1/chat/completions"
LINE = {"custom_id": "a", "method": "POST", "url": CHAT, "body": chat()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """A gateway with two tenants and one key of the provider's."""
    async with open_lane(tmp_path_factory.mktemp("relay"), keys=KEYS) as gate:
        yield gate


def sdk(gate: Gate, key: str = ONE) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gate.address}/v1", api_key=key, max_retries=0)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def lines(number: int = 1) -> tuple[str, io.BytesIO]:
    """A file of so many rows."""
    rows = [json.dumps(LINE | {"custom_id": f"row-{at}"}) for at in range(number)]
    return "rows.jsonl", io.BytesIO("\n".join(rows).encode())


async def test_a_batch_of_ones_own_from_file_to_file(lane: Gate) -> None:
    async with sdk(lane) as openai:
        file = await openai.files.create(file=lines(2), purpose="batch")
        assert (file.filename, file.purpose, file.object) == ("rows.jsonl", "batch", "file")
        assert (await openai.files.retrieve(file.id)).bytes == file.bytes
        assert (await openai.files.content(file.id)).content == lines(2)[1].read()
        batch = await openai.batches.create(
            input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", metadata={"mine": "yes"}
        )
        async with asyncio.timeout(PATIENCE):
            while batch.status != "completed":
                batch = await openai.batches.retrieve(batch.id)
        assert batch.metadata == {"mine": "yes"} and batch.output_file_id is not None
        results = (await openai.files.content(batch.output_file_id)).text.splitlines()
        assert {json.loads(line)["custom_id"] for line in results} == {"row-0", "row-1"}
        assert [each.id async for each in openai.batches.list()] == [batch.id]
        assert {each.id async for each in openai.files.list()} == {file.id, batch.output_file_id}
        assert [each.id async for each in openai.files.list(purpose="batch")] == [file.id]
        for name in (file.id, batch.output_file_id):
            assert (await openai.files.delete(name)).deleted
            with pytest.raises(NotFoundError):
                await openai.files.retrieve(name)
        assert [each.id async for each in openai.files.list()] == []
    assert {line.key for line in lane.lines} == {"-key"}, "the provider's key is the gateway's own"


async def test_a_batch_is_cancelled(tmp_path: Path) -> None:
    async with open_lane(tmp_path, endless=True) as gate, sdk(gate) as openai:
        file = await openai.files.create(file=lines(), purpose="batch")
        batch = await openai.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
        assert (await openai.batches.cancel(batch.id)).status == "cancelling"
        assert (await gate.http.get("/batches")).json()["batches"] == [], "it is none of the gateway's batches"


@pytest.mark.parametrize("stream", [False, True])
async def test_stored_completions(lane: Gate, stream: bool) -> None:
    async with sdk(lane) as openai:
        name = await _complete(openai, stream)
        await _complete(openai, stream, store=False)
        shown = await openai.chat.completions.retrieve(name)
        assert shown.id == name and shown.choices[0].message.content
        assert name in [each.id async for each in openai.chat.completions.list()]
        await openai.chat.completions.update(name, metadata={"a": "b"})
        assert (await openai.chat.completions.retrieve(name)).metadata == {"a": "b"}
        (message,) = (await openai.chat.completions.messages.list(name)).data
        assert message.content == "What is a fjord?"
        assert (await openai.chat.completions.delete(name)).deleted
        with pytest.raises(NotFoundError):
            await openai.chat.completions.retrieve(name)


async def _complete(openai: AsyncOpenAI, streams: bool, *, store: bool = True) -> str:
    asked: Any = {"model": "gpt-4o-mini", "messages": MESSAGES, "store": store}
    if not streams:
        whole: ChatCompletion = await openai.chat.completions.create(**asked)
        return whole.id
    stream = await openai.chat.completions.create(**asked, stream=True)
    chunks: list[ChatCompletionChunk] = [each async for each in stream]
    return chunks[0].id


@pytest.mark.parametrize("stream", [False, True])
async def test_stored_responses(lane: Gate, stream: bool) -> None:
    asked: Any = {"model": "gpt-4o-mini", "input": "What is a fjord?"}
    async with sdk(lane) as openai:
        if stream:
            *_, last = [event async for event in await openai.responses.create(**asked, stream=True)]
            name = last.response.id
        else:
            name = (await openai.responses.create(**asked)).id
        assert (await openai.responses.retrieve(name)).id == name
        (item,) = (await openai.responses.input_items.list(name)).data
        assert item.model_dump()["content"][0]["text"] == "What is a fjord?"
        unstored = await openai.responses.create(**asked, store=False)
        await openai.responses.delete(name)
        for each in (name, unstored.id):
            with pytest.raises(NotFoundError):
                await openai.responses.retrieve(each)


@pytest.mark.parametrize("fields", [{}, {"priority": "low"}])
async def test_who_did_not_wait_finds_its_response_too(lane: Gate, fields: dict[str, str]) -> None:
    accepted = await lane.http.post(
        "/v1/responses", json={"model": "gpt-4o-mini", "input": "later"} | fields, headers=ASYNC | bearer(ONE)
    )
    if fields:
        async with asyncio.timeout(PATIENCE):
            while not lane.gateway.planner.windows():
                await asyncio.sleep(0.01)
        await lane.http.post("/queue/flush/openai", headers=bearer(OTHER))
    found = await ended(lane, accepted.json()["request_id"], bearer(ONE))
    name = found.json()["response"]["id"]
    shown = await lane.http.get(f"/v1/responses/{name}", headers=bearer(ONE))
    # A batch of the sandbox's stores nothing: the call reaches the provider, which says so.
    assert shown.status_code == (404 if fields else 200)
    assert "There is no response" not in shown.text
    other = await lane.http.get(f"/v1/responses/{name}", headers=bearer(OTHER))
    assert "There is no response" in check_fault(other, 404, "not_found", "id")["message"]


async def test_another_tenants_objects_are_not_there(lane: Gate) -> None:
    async with sdk(lane) as openai:
        file = await openai.files.create(file=lines(), purpose="batch")
        batch = await openai.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
        completion = await _complete(openai, False)
        response = await openai.responses.create(model="gpt-4o-mini", input="mine")
    calls = lane.calls
    check_fault(await lane.http.get("/v1/files/..%2Fbatches", headers=bearer(OTHER)), 404, "not_found")
    for method, path in (
        ("GET", f"/files/{file.id}"), ("DELETE", f"/files/{file.id}"), ("GET", f"/files/{file.id}/content"),
        ("GET", f"/batches/{batch.id}"), ("POST", f"/batches/{batch.id}/cancel"),
        ("GET", f"/chat/completions/{completion}"), ("POST", f"/chat/completions/{completion}"),
        ("DELETE", f"/chat/completions/{completion}"), ("GET", f"/chat/completions/{completion}/messages"),
        ("GET", f"/responses/{response.id}"), ("DELETE", f"/responses/{response.id}"),
        ("POST", f"/responses/{response.id}/cancel"), ("GET", f"/responses/{response.id}/input_items"),
        ("GET", "/files/nope"), ("GET", "/files/%00"),
    ):  # fmt: skip
        check_fault(await lane.http.request(method, f"/v1{path}", headers=bearer(OTHER)), 404, "not_found", "id")
    made = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    stolen = await lane.http.post("/v1/batches", json=made, headers=bearer(OTHER))
    check_fault(stolen, 404, "not_found", "input_file_id")
    follows = await lane.http.get("/v1/files", params={"after": file.id}, headers=bearer(OTHER))
    check_fault(follows, 404, "not_found", "after")
    assert lane.calls == calls, "nothing of it reached the provider"


async def test_nobody_goes_on_from_another_tenants_response(lane: Gate) -> None:
    async with sdk(lane) as openai:
        response = await openai.responses.create(model="gpt-4o-mini", input="my secret")
    calls = lane.calls
    asked = {"model": "gpt-4o-mini", "input": "what did I say?", "previous_response_id": response.id}
    stolen = await lane.http.post("/v1/responses", json=asked, headers=bearer(OTHER))
    check_fault(stolen, 400, "previous_response_not_found", "previous_response_id")
    assert lane.calls == calls
    mine = await lane.http.post("/v1/responses", json=asked, headers=bearer(ONE))
    assert lane.calls == calls + 1, "the provider is asked (the sandbox keeps no conversations)"
    assert mine.status_code == 400


async def test_nobody_has_another_tenants_file_read(lane: Gate) -> None:
    async with sdk(lane) as openai:
        name = (await openai.files.create(file=lines(), purpose="user_data")).id
    calls = lane.calls
    parts: list[tuple[str, dict[str, Any]]] = [
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": name}]}]}),
        ("/v1/responses", {"input": "hi", "tools": [{"type": "code_interpreter", "container": {"file_ids": [name]}}]}),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": name}}]}]},
        ),
    ]
    for path, asked in parts:
        stolen = await lane.http.post(path, json={"model": "gpt-4o-mini"} | asked, headers=bearer(OTHER))
        check_fault(stolen, 400, "file_not_found", "file_id")
        assert lane.calls == calls
    said = f'"input":[{{"role":"user","content":[{{"type":"input_file","file_id":"{name}","file_id":"x"}}]}}]'
    for odd in ("1e999", "123456789" * 30):
        hidden = f'{{"model":"gpt-4o-mini","odd":{odd},{said}}}'
        stolen = await lane.http.post("/v1/responses", content=hidden, headers=bearer(OTHER))
        check_fault(stolen, 400, "file_not_found", "file_id")
    for path, asked in parts:
        await lane.http.post(path, json={"model": "gpt-4o-mini"} | asked, headers=bearer(ONE))
    assert lane.calls == calls + len(parts), "its owner's go to the provider"


async def test_lists_hold_ones_own_alone_page_by_page(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keys=KEYS) as gate, sdk(gate) as one, sdk(gate, OTHER) as other:
        # The gateway's own work at the same account.
        accepted = await gate.ask(headers=ASYNC | bearer(ONE), priority="low")
        await _flush(gate)
        await ended(gate, accepted.json()["request_id"], bearer(ONE))
        made: dict[str, list[str]] = {ONE: [], OTHER: []}
        for number in range(10):
            key, openai = (ONE, one) if number % 3 else (OTHER, other)
            made[key].append((await openai.files.create(file=lines(), purpose="batch")).id)
        for key, openai in ((ONE, one), (OTHER, other)):
            for size in (1, 2, 100):
                found = [each.id async for each in openai.files.list(limit=size)]
                assert found == made[key][::-1], (key, size)
            assert [each.id async for each in openai.files.list(limit=2, order="asc")] == made[key]
        assert [each async for each in one.batches.list()] == []
        page = (await gate.http.get("/v1/files?limit=2", headers=bearer(ONE))).json()
        newest = made[ONE][::-1]
        assert (page["object"], page["has_more"]) == ("list", True)
        assert (page["first_id"], page["last_id"]) == (newest[0], newest[1])
        empty = (await gate.http.get("/v1/chat/completions", headers=bearer(ONE))).json()
        assert (empty["data"], empty["has_more"]) == ([], False)
        for limit in ("0", "x", "-1", "10001", ""):
            listed = await gate.http.get("/v1/files", params={"limit": limit}, headers=bearer(ONE))
            check_fault(listed, 400, "invalid_value", "limit")


async def _flush(gate: Gate) -> None:
    async with asyncio.timeout(PATIENCE):
        while not gate.gateway.planner.windows():
            await asyncio.sleep(0.01)
    await gate.http.post("/queue/flush/openai", headers=bearer(OTHER))


async def test_who_may_not_ask_is_refused_before_anything_is_sent(lane: Gate) -> None:
    calls = lane.calls
    check_fault(await lane.http.get("/v1/files"), 401, "missing_api_key")
    check_fault(await lane.http.get("/v1/files", headers=bearer("bw-x")), 401, "invalid_api_key")
    evil = bearer(ONE) | {"origin": "https://evil.example"}
    check_fault(await lane.http.post("/v1/files", headers=evil, content=b"x"), 403, "origin_not_allowed")
    check_fault(await lane.http.get("/v1/files", headers=bearer(ONE) | {"host": "evil"}), 403, "host_not_allowed")
    for method, path, allowed in (
        ("PUT", "/v1/files", "GET, POST"),
        ("DELETE", "/v1/batches", "GET, POST"),
        ("POST", "/v1/responses/resp_1", "DELETE, GET"),
        ("GET", "/v1/batches/b/cancel", "POST"),
    ):
        answer = await lane.http.request(method, path, headers=bearer(ONE))
        check_fault(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
    check_fault(await lane.http.get("/v1/files/a/b/c", headers=bearer(ONE)), 404, "not_found")
    check_fault(await lane.http.post("/v1/batches", content=b"{", headers=bearer(ONE)), 400, "invalid_json")
    wrong = await lane.http.post("/v1/batches", json={"input_file_id": 5}, headers=bearer(ONE))
    check_fault(wrong, 400, "invalid_type", "input_file_id")
    assert lane.calls == calls


async def test_a_gateway_that_is_not_set_up_for_it_says_so(tmp_path: Path) -> None:
    async with open_gate() as storeless:
        for path in ("/v1/files", "/v1/batches/b", CHAT, "/v1/responses/r"):
            error = check_fault(await storeless.http.get(path), 501, "not_served")
            assert "database_url" in error["message"]
    async with open_lane(tmp_path, default_provider="anthropic") as gate:
        for path in ("/v1/files", "/v1/batches/b", CHAT, "/v1/responses/r"):
            error = check_fault(await gate.http.get(path), 501, "not_served")
            assert "'anthropic'" in error["message"]
        assert gate.calls == 0


async def test_a_forwarded_key_sees_what_its_provider_shows_it() -> None:
    """Without a key of the gateway's own, the provider knows whose what is, and no store is needed."""
    async with open_gate(keyless=True) as gate, sdk(gate, "sk-1") as one, sdk(gate, "sk-2") as two:
        file = await one.files.create(file=lines(), purpose="batch")
        assert [each.id async for each in one.files.list()] == [file.id]
        assert [each.id async for each in two.files.list()] == []
        with pytest.raises(NotFoundError):
            await two.files.retrieve(file.id)
        check_fault(await gate.http.get("/v1/files"), 401, "missing_api_key")
        assert {line.key for line in gate.lines} == {"sk-1", "sk-2"}


async def test_what_the_provider_says_is_passed_back(lane: Gate) -> None:
    form: Any = {"files": {"file": lines()}, "headers": bearer(ONE)}
    refused = await lane.http.post("/v1/files", data={"purpose": "nothing"}, **form)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "purpose"
    assert refused.json()["status"] == "failed"
    lane.fault({"kind": "status", "status": 500, "match": {"endpoint": "files.create"}})
    assert (await lane.http.post("/v1/files", data={"purpose": "batch"}, **form)).status_code == 500
    lane.fault({"kind": "wrong_shape", "match": {"endpoint": "files.create"}})
    form["files"] = {"file": lines()}
    check_fault(await lane.http.post("/v1/files", data={"purpose": "batch"}, **form), 502, "upstream_malformed")
    form["files"] = {"file": lines()}
    lane.fault({"kind": "drop", "match": {"endpoint": "files.create"}})
    check_fault(await lane.http.post("/v1/files", data={"purpose": "batch"}, **form), 502, "upstream_cut")
    lane.sandbox.faults.switch_off()


async def test_a_content_that_breaks_off_is_no_whole_one(lane: Gate) -> None:
    async with sdk(lane) as openai:
        file = await openai.files.create(file=lines(50), purpose="batch")
    lane.fault({"kind": "cut_body", "match": {"endpoint": "files.content"}})
    with pytest.raises(httpx2.RemoteProtocolError):
        await lane.http.get(f"/v1/files/{file.id}/content", headers=bearer(ONE))
    lane.sandbox.faults.switch_off()
    whole = await lane.http.get(f"/v1/files/{file.id}/content", headers=bearer(ONE))
    assert whole.content == lines(50)[1].read()
    assert whole.headers["cache-control"] == "private, no-store"
