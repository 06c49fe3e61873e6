"""What the sandbox's tests say to it: chats, fault rules, ledger views."""

import json
from typing import Any

import httpx2


def chat(**fields: Any) -> dict[str, Any]:
    """A chat body that asks for a repeatable answer."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a fjord?"}]
    return {"model": "gpt-4o-mini", "messages": messages, "temperature": 0} | fields


async def ask(client: httpx2.AsyncClient, path: str = "/v1/chat/completions", **fields: Any) -> httpx2.Response:
    """Send a chat."""
    return await client.post(path, json=chat(**fields))


async def switch_on(client: httpx2.AsyncClient, *rules: dict[str, Any]) -> httpx2.Response:
    """Add fault rules."""
    answer = await client.post("/sandbox/faults", json=list(rules))
    assert answer.status_code == 200, answer.text
    return answer


async def ledger(client: httpx2.AsyncClient, **where: Any) -> dict[str, Any]:
    """The ledger, filtered."""
    view: dict[str, Any] = (await client.get("/sandbox/ledger", params=where)).json()
    return view


async def last_line(client: httpx2.AsyncClient) -> dict[str, Any]:
    """The newest line."""
    line: dict[str, Any] = (await ledger(client))["lines"][-1]
    return line


def frames(text: str) -> list[Any]:
    """The data of a stream of server-sent events; `[DONE]` as it is."""
    data = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def content(found: list[Any]) -> str:
    """The words of a streamed chat with one choice."""
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk != "[DONE]" and chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
