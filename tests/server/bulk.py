"""Many requests in one call, and what tests read of what was said of them, of what became of them, and of the bill."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import httpx2
from tests.gate import CHAT, Gate, chat

LINES = {"content-type": "application/x-ndjson"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def row(custom_id: str, text: str = "hi", **fields: Any) -> dict[str, Any]:
    """A line as OpenAI's Batch API takes it."""
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": chat(text, **fields)}


def encoded(rows: Iterable[object]) -> bytes:
    return b"".join([json.dumps(each).encode() + b"\n" for each in rows])


async def submit(gate: Gate, *rows: object, prefix: str = "", headers: dict[str, str] | None = None) -> httpx2.Response:
    query = f"?prefix={prefix}" if prefix else ""
    return await gate.post(encoded(rows), f"/submit{query}", LINES | (headers or {}))


def told(answer: httpx2.Response) -> list[dict[str, Any]]:
    """What was said of each line; the counts in the headers agree with it."""
    said = [json.loads(line) for line in answer.text.splitlines()]
    refused = sum(each["status"] == "refused" for each in said)
    counted = [int(answer.headers[f"x-batchway-{name}"]) for name in ("taken", "refused")]
    assert counted == [len(said) - refused, refused]
    assert answer.headers["content-type"] == "application/x-ndjson" and "no-store" in answer.headers["cache-control"]
    assert all(each.keys() - {"error", "retry_after"} == {"line", "request_id", "status"} for each in said)
    assert all((each["status"] in ("failed", "refused")) is ("error" in each) for each in said)
    return said


def taken(answer: httpx2.Response, status: str = "pending") -> list[str]:
    """The ids of a submission whose every line was taken, and is so far."""
    assert answer.status_code == 202, answer.text[:500]
    said = told(answer)
    assert [(each["line"], each["status"]) for each in said] == [(at, status) for at in range(1, len(said) + 1)]
    return [each["request_id"] for each in said]


def faults(answer: httpx2.Response) -> dict[int, tuple[str | None, str | None]]:
    """Code and param of the lines that were refused, by their numbers."""
    refused = [each for each in told(answer) if each["status"] == "refused"]
    return {each["line"]: (each["error"]["code"], each["error"]["param"]) for each in refused}


async def counts(gate: Gate, prefix: str = "", headers: dict[str, str] | None = None) -> dict[str, int]:
    """How many there are of which status, but for those of which there is none."""
    answer = await gate.http.get("/results/counts", params={"prefix": prefix}, headers=headers)
    counted: dict[str, int] = answer.json()
    assert list(counted) == ["pending", "completed", "failed", "cancelled"]
    return {status: number for status, number in counted.items() if number}


async def settled(gate: Gate, prefix: str, number: int) -> None:
    """Wait until so many of these are completed."""
    async with asyncio.timeout(20):
        while await counts(gate, prefix) != {"completed": number}:
            await asyncio.sleep(0.05)


def billed(gate: Gate) -> dict[str, int]:
    """How often each question was billed."""
    return dict(gate.sandbox.ledger.billed("request_hash", {}).billed)
