"""Responses on a connection: the bytes that uvicorn's own cycle writes, whole ones in one piece."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from batchway.server.cycle import LARGE, Cycle

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")


class Wire(asyncio.Transport):
    """Remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def start(headers: Headers, status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def whole(content: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> list[dict[str, Any]]:
    return [start([JSON, *headers, (b"content-length", b"%d" % len(content))], status), piece(content)]


def cycle(kind: type[RequestResponseCycle], *, method: str = "POST", keep_alive: bool = True) -> tuple[Any, Wire]:
    wire = Wire()
    made = kind(
        scope={"type": "http", "method": method},  # type: ignore[typeddict-item]
        transport=wire,
        flow=FlowControl(wire),
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: wire.written.append(b"(complete)"),
    )
    return made, wire


async def said(kind: type[RequestResponseCycle], messages: Sequence[dict[str, Any]], **how: Any) -> list[Any]:
    """The bytes that these messages become, and what the cycle is then."""
    made, wire = cycle(kind, **how)
    for message in messages:
        await made.send(message)
    ended = made.response_started, made.response_complete, made.message_event.is_set()
    return [b"".join(wire.written), wire.closed, ended]


RESPONSES: dict[str, list[dict[str, Any]]] = {
    "whole": whole(b'{"a":1}'),
    "empty": whole(b""),
    "a fault": whole(b"{}", (b"retry-after", b"1"), status=429),
    "a status without a phrase": whole(b"{}", status=599),
    "large": whole(b"x" * LARGE),
    "in pieces": [start([JSON]), piece(b"one", more=True), piece(b"", more=True), piece(b"two")],
    "in pieces of known length": [start([(b"content-length", b"6")]), piece(b"one", more=True), piece(b"two")],
    "of unknown length": [start([JSON]), piece(b"all")],
    "length first": [start([(b"content-length", b"3"), JSON]), piece(b"all")],
    "without a body": [start([], 204), piece(b"")],
    "that closes": [start([(b"connection", b"close"), JSON]), piece(b"all")],
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_the_bytes_are_uvicorns(name: str, keep_alive: bool, method: str) -> None:
    ours, theirs = [
        await said(kind, RESPONSES[name], keep_alive=keep_alive, method=method)
        for kind in (Cycle, RequestResponseCycle)
    ]
    assert ours == theirs


async def test_a_whole_response_is_one_piece() -> None:
    made, wire = cycle(Cycle)
    for message in whole(b"{}"):
        await made.send(message)
    assert len(wire.written) == 2
    assert wire.written[0].endswith(b"\r\n\r\n{}")
    assert wire.written[1] == b"(complete)"


async def test_nothing_is_sent_of_a_head_whose_body_fails_to_come() -> None:
    made, wire = cycle(Cycle)
    await made.send(start([JSON, (b"content-length", b"9")]))
    assert wire.written == []
    for message in whole(b"{}", status=500):
        await made.send(message)
    assert b"".join(wire.written).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("broken", [b"a\r\nset-cookie: x", b"a\nb", b"a\rb", b"a\0b"])
async def test_no_header_can_begin_another(broken: bytes) -> None:
    made, wire = cycle(Cycle)
    for headers in ((b"x-batchway-why", broken), (broken, b"value")):
        with pytest.raises(ValueError, match="line break"):
            for message in whole(b"{}", headers):
                await made.send(message)
    assert wire.written == []
    for message in whole(b"{}", status=500):
        await made.send(message)
    assert wire.written[0].startswith(b"HTTP/1.1 500 ")


async def test_a_response_longer_or_shorter_than_it_says_is_an_error() -> None:
    for content in (b"longer", b"s"):
        made, _ = cycle(Cycle)
        await made.send(start([JSON, (b"content-length", b"3")]))
        with pytest.raises(RuntimeError, match="Content-Length"):
            await made.send(piece(content))
