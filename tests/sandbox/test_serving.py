"""Starting and stopping: free ports, taken ports, no task left behind, and a command that ends on SIGTERM."""

import asyncio
import signal
import socket
import sys
import time
from pathlib import Path

import httpx2
import pytest
from tests.sandbox.speaking import ask, switch_on

from batchway.sandbox import Sandbox, app, serve
from batchway.sandbox.delivery import Message, Receive, Send

SOURCES = Path(__file__).parents[2] / "src"


async def test_two_sandboxes_and_no_task_left() -> None:
    before = asyncio.all_tasks()
    async with serve(app(Sandbox(now=time.time, sleep=asyncio.sleep))) as one:
        async with serve(app(Sandbox(now=time.time, sleep=asyncio.sleep))) as two:
            assert one != two
            async with httpx2.AsyncClient(base_url=two) as client:
                assert (await client.get("/")).status_code == 200
        assert asyncio.all_tasks() > before
    assert asyncio.all_tasks() == before
    async with httpx2.AsyncClient(base_url=one) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("/")


async def test_answers_go_out_without_delay() -> None:
    sockets: list[socket.socket] = []

    async def answer(scope: Message, _: Receive, send: Send) -> None:
        sockets.append(scope["state"]["transport"].get_extra_info("socket"))
        assert sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serve(answer) as address, httpx2.AsyncClient(base_url=address) as client:
        assert (await client.get("/")).status_code == 204


async def test_stopping_hangs_up_on_whoever_waits() -> None:
    before = asyncio.all_tasks()
    sandbox = Sandbox(now=time.time, sleep=asyncio.sleep)
    async with httpx2.AsyncClient(headers={"authorization": "Bearer k"}) as client:
        async with serve(app(sandbox)) as address:
            client.base_url = httpx2.URL(address)
            await switch_on(client, {"kind": "delay", "seconds": 3600})
            waiting = asyncio.create_task(ask(client))
            while not sandbox.faults.armed[0].applied:
                await asyncio.sleep(0.01)
        with pytest.raises(httpx2.TransportError):
            await waiting
    assert asyncio.all_tasks() == before
    assert [line.outcome for line in sandbox.ledger.view({}, 10).lines] == ["aborted"]


async def test_a_taken_port_is_an_error() -> None:
    async with serve(app(Sandbox(now=time.time, sleep=asyncio.sleep))) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            async with serve(app(Sandbox(now=time.time, sleep=asyncio.sleep)), port=port):
                pass


COMMAND = """
import asyncio, sys, time
from batchway.sandbox import Sandbox, app, run
run(app(Sandbox(now=time.time, sleep=asyncio.sleep)), announce=lambda address: print(address, flush=True))
print("stopped")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_command_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMMAND,
        env={"PYTHONPATH": str(SOURCES)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    address = (await process.stdout.readline()).decode().strip()
    async with httpx2.AsyncClient(base_url=address) as client:
        assert (await client.get("/")).status_code == 200
    process.send_signal(number)
    output, errors = await process.communicate()
    assert (process.returncode, output, errors) == (0, b"stopped\n", b"")
