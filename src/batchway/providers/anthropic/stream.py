"""Anthropic's named events as chunks of a chat completion (providers.md §10.3)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchway.core.types import Answer
from batchway.core.types import Usage as Billed
from batchway.providers.anthropic.answer import THINKING, call
from batchway.providers.anthropic.usage import StopDetails, Usage, finish, later, tier, translate
from batchway.wire import chat, sse
from batchway.wire.sse import Frame

PING = sse.comment("ping")
"""What a caller gets for a ping, which keeps a silent connection open."""


class _Message(Struct):
    id: str = ""
    model: str = ""
    usage: Usage = Usage()


class _Block(Struct):
    type: str
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    data: Raw = Raw(b'""')
    text: str = ""
    thinking: str = ""


class _Delta(Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class _Event(Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta = msgspec.field(default_factory=_Delta)
    usage: Usage | None = None
    error: Raw = Raw(b"{}")


class _Open:
    """A block of the answer that is being written."""

    def __init__(self, block: _Block, number: int) -> None:
        self.block = block
        self.number = number
        """Among the tool calls, or among the thoughts: what a chunk numbers them by."""
        self.arguments = False
        """Some of the call's arguments have come."""
        self.thinking = block.thinking
        self.signature = ""


_event = msgspec.json.Decoder(_Event)
_encode = msgspec.json.Encoder().encode


class EventReader:
    """Follows the events of one message. The chunks that it makes of them are what its caller gets, and what the
    reader of chat streams adds up to an answer."""

    def __init__(self, model: str, created: int, *, fold: bool) -> None:
        self._chunks = chat.StreamReader(fold=fold)
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": model}
        self._blocks: dict[int, _Open] = {}
        self._numbers = {"tool_use": 0, "thinking": 0}
        self._usage = Usage()
        self._finished = False
        self.done = False
        self.error: bytes | None = None

    @property
    def usage(self) -> Billed | None:
        """What is billed, once the message has ended."""
        return self._chunks.usage

    @property
    def whole(self) -> bool:
        """The message has said why it ended."""
        return self._chunks.whole

    def answer(self, now: float) -> Answer:
        """The answer."""
        return self._chunks.answer(now)

    def read(self, _frame: bytes, data: bytes) -> Sequence[Frame]:
        """Take one event. Raises msgspec.DecodeError when it is none; an event of a kind not known says nothing."""
        event = _event.decode(data.decode(errors="replace"))
        take = _EVENTS.get(event.type)
        return take(self, event) if take else ()

    def _begin(self, event: _Event) -> Sequence[Frame]:
        message = event.message or _Message()
        self._head |= {"id": message.id, "model": message.model or self._head["model"]}
        self._usage = message.usage
        return self._chunk({"role": "assistant"})

    def _open(self, event: _Event) -> Sequence[Frame]:
        block = event.content_block
        if block is None:
            raise msgspec.ValidationError("a content_block_start without its content_block")
        kind = "thinking" if block.type in THINKING else block.type
        opened = self._blocks[event.index] = _Open(block, self._numbers.get(kind, 0))
        if kind in self._numbers:
            self._numbers[kind] += 1
        if block.type == "tool_use":
            return self._chunk({"tool_calls": [{"index": opened.number, **call(block.id, block.name, "")}]})
        return self._chunk({"content": block.text}) if block.text else ()

    def _go_on(self, event: _Event) -> Sequence[Frame]:
        write = _DELTAS.get(event.delta.type)
        if write is None:
            return ()
        if event.index not in self._blocks:
            raise msgspec.ValidationError(f"a content_block_delta for block {event.index}, which was never started")
        return write(self, self._blocks[event.index], event.delta)

    def _write_text(self, _: _Open, delta: _Delta) -> Sequence[Frame]:
        return self._chunk({"content": delta.text})

    def _write_arguments(self, opened: _Open, delta: _Delta) -> Sequence[Frame]:
        if opened.block.type != "tool_use" or not delta.partial_json:
            return ()
        opened.arguments = True
        return self._arguments(opened, delta.partial_json)

    def _write_thinking(self, opened: _Open, delta: _Delta) -> Sequence[Frame]:
        opened.thinking += delta.thinking
        return self._chunk({"reasoning_content": delta.thinking}) if delta.thinking else ()

    def _sign(self, opened: _Open, delta: _Delta) -> Sequence[Frame]:
        opened.signature += delta.signature
        return ()

    def _arguments(self, opened: _Open, text: str) -> Sequence[Frame]:
        return self._chunk({"tool_calls": [{"index": opened.number, "function": {"arguments": text}}]})

    def _close(self, event: _Event) -> Sequence[Frame]:
        opened = self._blocks.pop(event.index, None)
        if opened is None:
            return ()
        if opened.block.type == "tool_use" and not opened.arguments:
            return self._arguments(opened, bytes(opened.block.input).decode())
        if opened.block.type in THINKING:
            return self._chunk({"thinking_blocks": [{"index": opened.number, **_thought(opened)}]})
        return ()

    def _end(self, event: _Event) -> Sequence[Frame]:
        """The finish reason, and with it the usage: a stream that ends without `message_stop` is billed too."""
        self._usage = later(self._usage, event.usage or Usage())
        if event.delta.stop_reason is None and not self._finished:
            return ()
        counted = self._emit({"choices": [], "usage": translate(self._usage), **tier(self._usage)})
        if self._finished:
            return counted
        self._finished = True
        details = event.delta.stop_details
        said = {"refusal": details.explanation} if details and details.explanation else {}
        return (*self._chunk(said, finish(event.delta.stop_reason)), *counted)

    def _stop(self, _: _Event) -> Sequence[Frame]:
        self.done = True
        return ()

    def _fail(self, event: _Event) -> Sequence[Frame]:
        self.error = bytes(event.error)
        return ()

    def _ping(self, _: _Event) -> Sequence[Frame]:
        return ((PING, False),)

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> Sequence[Frame]:
        return self._emit({"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]})

    def _emit(self, said: dict[str, Any]) -> Sequence[Frame]:
        data = _encode({**self._head, **said})
        return self._chunks.read(sse.frame(data), data)


def _thought(opened: _Open) -> dict[str, Any]:
    """The block as it must be handed back, unchanged."""
    if opened.block.type == "redacted_thinking":
        return {"type": "redacted_thinking", "data": opened.block.data}
    return {"type": "thinking", "thinking": opened.thinking, "signature": opened.signature}


_EVENTS: Mapping[str, Callable[[EventReader, _Event], Sequence[Frame]]] = {
    "message_start": EventReader._begin,
    "content_block_start": EventReader._open,
    "content_block_delta": EventReader._go_on,
    "content_block_stop": EventReader._close,
    "message_delta": EventReader._end,
    "message_stop": EventReader._stop,
    "error": EventReader._fail,
    "ping": EventReader._ping,
}

_DELTAS: Mapping[str, Callable[[EventReader, _Open, _Delta], Sequence[Frame]]] = {
    "text_delta": EventReader._write_text,
    "input_json_delta": EventReader._write_arguments,
    "thinking_delta": EventReader._write_thinking,
    "signature_delta": EventReader._sign,
}
