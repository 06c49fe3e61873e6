"""Stopping: what is under way may end, nothing new comes in, nobody is left without a word."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import pytest
from tests.gate import CHAT, PATIENCE, check_fault, frames, open_gate, settings_of, until
from tests.server.process import batchway, body

from batchway.assemble import gateway
from batchway.core.events import Accepted
from batchway.engine.intake import Identity
from batchway.wire.endpoints import FRONTS

SLOW = [
    {"kind": "delay", "seconds": 1, "match": {"text": "slow"}},
    {"kind": "slow_body", "bytes_per_second": 4000, "match": {"text": "stream"}},
]


async def test_sigterm_lets_everybody_end(tmp_path: Path) -> None:
    async with open_gate() as provider:
        provider.fault(*SLOW)
        environment = {"OPENAI_BASE_URL": f"{provider.upstream}/v1", "OPENAI_API_KEY": "sk-x"}
        async with batchway("start", "--port", "0", environment=environment, folder=str(tmp_path)) as gateway:
            await gateway.ready()
            async with httpx2.AsyncClient(base_url=gateway.address, timeout=30) as client:
                whole = asyncio.create_task(client.post(CHAT, content=body("slow")))
                streamed = asyncio.create_task(client.post(CHAT, content=body("stream", stream=True)))
                while (await client.get("/stats")).json()["calls"]["under_way"] < 2:
                    await asyncio.sleep(0.02)
                gateway.stop()
                await until(lambda: not _listens(gateway.address))
                assert not whole.done()
                assert (await whole).status_code == 200
                assert frames((await streamed).text)[-1] == "[DONE]"
            assert await gateway.ended() == 0, gateway.said
        assert provider.outcomes == ["completed", "completed"]


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


async def test_the_sandboxed_process_stops_at_once_when_nothing_is_under_way(tmp_path: Path) -> None:
    async with batchway("start", "--sandbox", "--port", "0", environment={}, folder=str(tmp_path)) as gateway:
        await gateway.ready()
        async with httpx2.AsyncClient(base_url=gateway.address) as client:
            assert (await client.post(CHAT, content=body("hi"))).status_code == 200
        gateway.stop()
        assert await gateway.ended() == 0, gateway.said
        assert "Traceback" not in gateway.said


async def test_who_waits_past_the_grace_is_told() -> None:
    async with open_gate(drain_timeout=0.2) as gate:
        gate.fault({"kind": "delay", "seconds": 2})
        asking = gate.start()
        await until(gate.under_way())
        await gate.gateway.engine.drain()
        answer = await asking
        check_fault(answer, 503, "stopping")
        assert answer.headers["retry-after"] == "1"


async def test_a_stream_past_the_grace_ends_with_an_error() -> None:
    async with open_gate(drain_timeout=0.2) as gate:
        gate.fault({"kind": "slow_body", "bytes_per_second": 1000})
        async with gate.http.stream("POST", CHAT, content=body("slow", stream=True)) as answer:
            read = answer.aiter_text()
            text = await anext(read)
            await gate.gateway.engine.drain()
            text += "".join([piece async for piece in read])
        found = frames(text)
        assert found[-1]["error"]["code"] == "stopping"
        assert "[DONE]" not in found
        await until(lambda: gate.calls)
        assert gate.outcomes == ["aborted"], "its provider is not left writing"


async def test_what_comes_while_stopping_is_refused() -> None:
    async with open_gate() as gate:
        await gate.gateway.engine.drain()
        refused = await gate.ask()
        check_fault(refused, 503, "stopping")
        assert refused.headers["retry-after"] == "1"
        assert (await gate.http.get("/health")).json()["status"] != "healthy"
        assert gate.calls == 0


class _Broken:
    """Raises at the second request of several."""

    def __init__(self) -> None:
        self.hears: Mapping[type, Callable[..., None]] = {Accepted: self._accepted}
        self._first: str | None = None

    def _accepted(self, event: Accepted) -> None:
        self._first = self._first or event.request.id
        if event.request.id != self._first:
            raise ArithmeticError("a defect")


async def test_after_a_defect_among_many_nobody_is_waited_for() -> None:
    settings = settings_of(drain_timeout=20)
    async with open_gate() as gate, gateway(settings, sandbox=gate.upstream, listeners=[_Broken()]) as served:
        take, now = served.intake.take, served.clock.now()
        asked = [take(FRONTS["chat"], body(text), {}, Identity(tenant="t", key="k"), now).request for text in "abc"]
        with pytest.raises(ArithmeticError):
            served.engine.ask_all(asked)
        async with asyncio.timeout(PATIENCE):
            await served.engine.drain()
