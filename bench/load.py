"""The load: keep-alive connections on raw sockets, a closed loop for CPU and an open loop for latency."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from time import perf_counter
from typing import cast

from msgspec import Struct

from bench.response import Reader, Response

ROUTED_VIA = b"x-batchway-routed-via"


class Address(Struct, frozen=True, kw_only=True):
    """Where requests go: a port of this machine, and the bearer that they carry."""

    port: int
    bearer: str
    header: str | None = None
    """One more line for every request."""

    def request(self, body: bytes) -> bytes:
        """A chat request as it goes over the wire."""
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            f"authorization: Bearer {self.bearer}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *([] if self.header is None else [self.header]),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._transport: asyncio.Transport
        self._waiting: asyncio.Future[Response] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        assert self._waiting is not None, f"unasked: {data!r}"
        try:
            response = self._reader.feed(data)
        except ValueError as error:
            self._waiting.set_exception(error)
            return
        if response is not None and not self._waiting.done():
            self._waiting.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("the connection was closed before the answer ended"))

    async def ask(self, request: bytes) -> Response:
        """Send one request, and wait for the whole response."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def connect(port: int) -> Connection:
    """A new connection to a port of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """So many connections, open as long as the block runs."""
    opened = [await connect(port) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


class Run(Struct, kw_only=True):
    """What a closed loop gave. `answered`: how many answers named which `routed_via`; `seconds`: from first to last."""

    requests: int
    seconds: float
    answered: Counter[str]


Check = Callable[[Response], None]
"""Raises for a response that is not what its case expects."""


def expect(marker: bytes) -> Check:
    """A check that a response is a 200 that holds these bytes."""

    def check(response: Response) -> None:
        if response.status != 200 or marker not in response.body:
            raise ValueError(f"expected a 200 with {marker!r}, got {response.status}: {response.body[:400]!r}")

    return check


async def closed_loop(opened: list[Connection], address: Address, bodies: Iterator[bytes], check: Check) -> Run:
    """Every connection asks, waits for its answer and asks again, until the bodies are used up."""
    answered: Counter[str] = Counter()

    async def work(connection: Connection) -> None:
        for body in bodies:
            response = await connection.ask(address.request(body))
            check(response)
            answered[response.header(ROUTED_VIA) or ""] += 1

    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(work(connection))
    return Run(requests=answered.total(), seconds=perf_counter() - started, answered=answered)


async def open_loop(address: Address, bodies: Iterator[bytes], check: Check, *, rate: float, count: int) -> list[float]:
    """Ask at a steady rate, whether earlier requests are answered or not; the seconds that each took, in order.

    A request's time runs from its sending: the loop's own timers are no finer than a millisecond.
    """
    free = [await connect(address.port)]
    times: list[float] = []

    async def ask(body: bytes) -> None:
        connection = free.pop() if free else await connect(address.port)
        request = address.request(body)
        sent = perf_counter()
        response = await connection.ask(request)
        times.append(perf_counter() - sent)
        check(response)
        free.append(connection)

    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, body in enumerate(islice(bodies, count)):
            await asyncio.sleep(started + number / rate - perf_counter())
            group.create_task(ask(body))
    for connection in free:
        connection.close()
    return times
