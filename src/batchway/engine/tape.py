"""A tape: the frames of one stream, written by a call and followed by every caller who waits for it, each at its own
pace. The writer is never more than one step ahead of the fastest reader, so a slow caller slows the provider."""

import asyncio
from collections.abc import AsyncIterator

from batchway.wire.sse import Frame


class Tape:
    """`keep`: the frames stay from the beginning, so that a twin may follow later; else they go once read."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self._frames: list[Frame] = []
        self._dropped = 0
        self._passed_on = 0
        self._ended = False
        self._readers: list[asyncio.Future[None]] = []
        self._writer: asyncio.Future[None] | None = None

    async def write(self, frames: list[Frame]) -> None:
        """Wait until a reader has passed on all there was, then add frames: the provider is read one step ahead."""
        if self._passed_on < self._length:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        self._frames += frames
        self._wake_readers()

    def end(self) -> None:
        """No more frames will come."""
        self._ended = True
        self._wake_readers()

    async def follow(self) -> AsyncIterator[list[Frame]]:
        """All frames in order, as many at once as are there. Asking for more says that the last were passed on."""
        at = 0
        while True:
            while at == self._length and not self._ended:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._readers.append(waiter)
                await waiter
            if at == self._length:
                return
            frames = self._frames[at - self._dropped :]
            at = self._length
            yield frames
            self._pass_on(at)

    @property
    def _length(self) -> int:
        return self._dropped + len(self._frames)

    def _pass_on(self, upto: int) -> None:
        self._passed_on = max(self._passed_on, upto)
        if not self.keep:
            del self._frames[: self._passed_on - self._dropped]
            self._dropped = self._passed_on
        if self._writer is not None and self._passed_on == self._length:
            if not self._writer.done():
                self._writer.set_result(None)
            self._writer = None

    def _wake_readers(self) -> None:
        for waiter in self._readers:
            if not waiter.done():
                waiter.set_result(None)
        self._readers.clear()
