"""Runs a sandbox as a real HTTP server: inside a running loop (`serve`) or for a command line (`run`)."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from batchway.sandbox.app import Application

IDLE = 75
"""Seconds after which an idle connection is closed. Longer than clients keep theirs, so that no reused one dies."""

GRACE = 1
"""Seconds that a stopping sandbox waits for calls whose clients it has just hung up on."""


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, letting the application at the transport: ASGI itself has no way to hang up."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers and its ten wakes a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self.ready.set()
        await self.stopping.wait()

    def stop(self) -> None:
        """Hang up on every client and end. A provider that goes away owes nobody a graceful end."""
        for connection in self.server_state.connections:
            connection.transport.abort()
        self.stopping.set()


@contextlib.asynccontextmanager
async def serve(application: Application, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve within the running loop; gives the base address (`http://127.0.0.1:43210`). Port 0 is any free one.

    Raises OSError if the address cannot be bound. On leaving, clients are hung up on and all tasks have ended.
    """
    listener = _bind(host, port)
    server = _Server(_config(application))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield _address(listener)
    finally:
        ready.cancel()
        server.stop()
        await serving


def run(
    application: Application,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is told the address once the sandbox listens."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serve(application, host, port) as address:
            announce(address)
            await stop.wait()

    with asyncio.Runner(loop_factory=_config(application).get_loop_factory()) as runner:
        runner.run(main())


def _config(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        cast("uvicorn._types.ASGIApplication", application),
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where a socket says that it is TCP: else a small answer may wait for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
