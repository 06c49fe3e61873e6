"""Sending: one connection kept open, bodies of any size, and every way in which a provider may end it."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import pytest

from batchway.core.errors import Theirs
from batchway.ports import Outgoing
from batchway.providers.exchange import LARGE, USER_AGENT
from batchway.providers.http import HttpSender

Talk = Callable[["Line"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
BOUND = 4 << 20


class Line:
    """One connection as the provider has it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> dict[str, str]:
        """The next request's head, its first line as `""`."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return {"": first} | {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    async def request(self) -> tuple[dict[str, str], bytes]:
        """The next request."""
        head = await self.head()
        return head, await self.reader.readexactly(int(head.get("content-length", "0")))

    async def hung_up(self) -> bool:
        """Whether the other side closes without another byte."""
        try:
            async with asyncio.timeout(5):
                return await self.reader.read() == b""
        except ConnectionError:
            return True


class Provider:
    """A server that talks as its test says. `seen`: the requests that were read whole."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.lines = 0
        self.failures: list[BaseException] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        try:
            await self._talk(Line(self.lines, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except BaseException as failure:
            self.failures.append(failure)
            raise
        finally:
            writer.close()


@asynccontextmanager
async def provider(talk: Talk, **bounds: Any) -> AsyncIterator[tuple[HttpSender, str, Provider]]:
    """A sender, the URL of a provider that talks like this, and what the provider saw."""
    served = Provider(talk)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with HttpSender(**({"connect_timeout": 5, "request_timeout": 5, "max_body": BOUND} | bounds)) as sender:
            yield sender, f"http://127.0.0.1:{port}/v1/chat%2Fcompletions?a=b", served
    finally:
        server.close()
        await server.wait_closed()
    assert not served.failures


def post(url: str, body: bytes = b"{}") -> Outgoing:
    """A request with a key."""
    headers = (("content-type", "application/json"), ("authorization", "Bearer sk-1"))
    return Outgoing(method="POST", url=url, headers=headers, body=body)


def get(url: str) -> Outgoing:
    """A request without a body."""
    return Outgoing(method="GET", url=url, headers=(), body=b"")


async def echo(line: Line) -> None:
    """Answer every request with its body."""
    while True:
        _, body = await line.request()
        line.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def test_requests_go_out_as_they_are_and_share_a_connection() -> None:
    heads = []

    async def talk(line: Line) -> None:
        while True:
            head, _ = await line.request()
            heads.append(head)
            line.writer.write(OK)

    async with provider(talk) as (sender, url, served):
        for outgoing in (post(url), post(url, b'{"a":1}'), get(url)):
            incoming = await sender.send(outgoing)
            assert (incoming.status, incoming.body) == (200, b"hi")
        assert served.lines == 1
    first, second, third = heads
    assert first[""] == "POST /v1/chat%2Fcompletions?a=b HTTP/1.1"
    assert first["host"] == url.split("/")[2]
    assert (first["content-type"], first["authorization"]) == ("application/json", "Bearer sk-1")
    assert first["user-agent"] == USER_AGENT[1]
    assert "gzip" in first["accept-encoding"]
    assert (first["content-length"], second["content-length"]) == ("2", "7")
    assert third[""].startswith("GET ")
    assert "content-length" not in third


async def test_calls_at_one_time_have_connections_of_their_own() -> None:
    together = asyncio.Barrier(8)

    async def talk(line: Line) -> None:
        _, body = await line.request()
        await together.wait()
        line.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async with provider(talk) as (sender, url, _):
        bodies = [b"%d" % number for number in range(8)]
        answers = await asyncio.gather(*(sender.send(post(url, body)) for body in bodies))
        assert [answer.body for answer in answers] == bodies


async def test_large_bodies_and_files_arrive_whole() -> None:
    body = bytes(range(256)) * (LARGE // 256) + b"end"
    async with provider(echo) as (sender, url, served):
        assert (await sender.send(post(url, body))).body == body
        assert (await sender.send_file(post(url, b""), BytesIO(body), len(body))).body == body
        assert served.lines == 1


async def test_an_early_refusal_of_a_large_body_is_heard() -> None:
    async def talk(line: Line) -> None:
        await line.head()
        line.writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await line.writer.drain()
        # What still comes is taken, as servers do, so that no reset overtakes the answer.
        await line.reader.read()

    async with provider(talk) as (sender, url, served):
        for _ in range(2):
            incoming = await sender.send(post(url, b"x" * (32 << 20)))
            assert (incoming.status, incoming.body) == (413, b"big")
        assert served.lines == 2, "a connection on which a body was given up is not used again"


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\nhi"
PACKED = gzip.compress(b"hi", mtime=0)  # It names tests, the same ones in every process.
COMPRESSED = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED) + PACKED


@pytest.mark.parametrize("answer", [OK, INTERIM + OK, CHUNKED, UNTIL_CLOSED, COMPRESSED])
async def test_every_framing_of_an_answer_is_read(answer: bytes) -> None:
    async def talk(line: Line) -> None:
        kept_open = True
        while kept_open:
            await line.request()
            for at in range(len(answer)):
                line.writer.write(answer[at : at + 1])
                await line.writer.drain()
            kept_open = answer != UNTIL_CLOSED

    async with provider(talk) as (sender, url, _):
        incoming = await sender.send(post(url))
        assert (incoming.status, incoming.body) == (200, b"hi")
        async with sender.stream(post(url)) as stream:
            assert b"".join([piece async for piece in stream.chunks()]) == b"hi"


async def test_an_answer_without_a_body_ends_at_once() -> None:
    async def talk(line: Line) -> None:
        while True:
            await line.request()
            line.writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with provider(talk) as (sender, url, served):
        for _ in range(2):
            incoming = await sender.send(post(url))
            assert (incoming.status, incoming.body) == (204, b"")
        assert served.lines == 1


BROKEN: dict[str, tuple[bytes, str]] = {
    "silence": (b"", "upstream_cut"),
    "cut head": (b"HTTP/1.1 200 OK\r\ncontent-le", "upstream_cut"),
    "cut body": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", "upstream_cut"),
    "cut chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhi", "upstream_cut"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "upstream_malformed"),
    "no gzip": (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi", "upstream_cut"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_a_fault_that_may_be_billed(name: str) -> None:
    answer, code = BROKEN[name]

    async def talk(line: Line) -> None:
        await line.request()
        line.writer.write(answer)

    async with provider(talk) as (sender, url, served):
        with pytest.raises(Theirs) as caught:
            await sender.send(post(url))
        assert (caught.value.fault.code, caught.value.fault.billed) == (code, "unknown")
        assert served.lines == 1, "it is not sent again"


async def test_what_a_compressed_body_unpacks_to_is_bounded() -> None:
    bomb = gzip.compress(b"0" * (BOUND + 1))
    assert len(bomb) < BOUND / 100

    async def talk(line: Line) -> None:
        await line.request()
        line.writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb)
        await line.hung_up()

    async with provider(talk) as (sender, url, _):
        with pytest.raises(Theirs) as caught:
            await sender.send(post(url))
        assert caught.value.fault.code == "upstream_too_large"


async def test_only_what_may_be_repeated_is_sent_again_where_a_kept_connection_was_closed() -> None:
    async def talk(line: Line) -> None:
        await line.request()
        line.writer.write(OK)
        await line.request()

    async with provider(talk) as (sender, url, served):
        await sender.send(get(url))
        assert (await sender.send(get(url))).body == b"hi"
        assert served.lines == 2
        with pytest.raises(Theirs) as caught:
            await sender.send(post(url))
        assert (caught.value.fault.code, served.lines) == ("upstream_cut", 2)


async def test_whoever_is_not_waited_for_is_hung_up_on() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        asked.set()
        assert await line.hung_up()
        gone.set()

    async with provider(talk) as (sender, url, _):
        sending = asyncio.create_task(sender.send(post(url)))
        await asked.wait()
        sending.cancel()
        await asyncio.wait_for(gone.wait(), 5)
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_a_stream_that_is_left_is_hung_up_on() -> None:
    gone = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        line.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        assert await line.hung_up()
        gone.set()

    async with provider(talk) as (sender, url, _):
        async with sender.stream(post(url)) as stream:
            assert await anext(stream.chunks()) == b"hi"
        await asyncio.wait_for(gone.wait(), 5)


async def test_each_answer_has_its_own_time() -> None:
    async def talk(line: Line) -> None:
        while True:
            _, body = await line.request()
            await asyncio.sleep(float(body))
            line.writer.write(OK)

    async with provider(talk, request_timeout=0.5) as (sender, url, _):
        late = [asyncio.create_task(sender.send(post(url, b"9"))) for _ in range(2)]
        early = asyncio.create_task(sender.send(post(url, b"9"), timeout=0.1))
        for _ in range(3):
            assert (await sender.send(post(url, b"0.2"))).body == b"hi"
            late.append(asyncio.create_task(sender.send(post(url, b"9"))))
        for waiting in (early, *late):
            with pytest.raises(Theirs) as caught:
                await waiting
            assert (caught.value.fault.code, caught.value.fault.billed) == ("upstream_timeout", "unknown")
        assert (await sender.send(post(url, b"0"))).body == b"hi", "the clock goes on for those who come later"


async def test_silence_is_bounded_while_a_body_is_sent_and_while_an_answer_comes() -> None:
    async def talk(line: Line) -> None:
        if line.number == 2:
            await line.request()
            line.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi")
        await asyncio.sleep(5)

    async with provider(talk, request_timeout=0.3) as (sender, url, _):
        with pytest.raises(Theirs) as unread:
            await sender.send_file(post(url, b""), BytesIO(b"x" * (32 << 20)), 32 << 20)
        assert unread.value.fault.code == "upstream_timeout"
        with pytest.raises(Theirs) as halfway:
            async with sender.stream(post(url)) as stream:
                assert await anext(stream.chunks()) == b"hi"
                await stream.body()
        assert halfway.value.fault.code == "upstream_timeout"


async def test_nothing_was_sent_where_nobody_listens() -> None:
    async with provider(echo) as (sender, url, _):
        pass
    async with HttpSender(connect_timeout=5, request_timeout=5, max_body=BOUND) as sender:
        for outgoing in (post(url), get(url)):
            with pytest.raises(Theirs) as caught:
                await sender.send(outgoing)
            assert (caught.value.fault.code, caught.value.fault.billed) == ("upstream_unreachable", "no")


async def test_a_header_cannot_smuggle_another() -> None:
    async with provider(echo) as (sender, url, served):
        smuggled = Outgoing(method="POST", url=url, headers=(("authorization", "Bearer x\r\nhost: evil"),), body=b"")
        with pytest.raises(ValueError, match="control character"):
            await sender.send(smuggled)
        assert served.lines == 0
