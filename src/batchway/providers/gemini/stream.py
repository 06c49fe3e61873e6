"""A stream of Gemini's as OpenAI's chunks, one fragment at a time; a whole answer is one fragment, and one object."""

from collections.abc import Sequence
from typing import Any

import msgspec

from batchway.core.types import Answer, Usage
from batchway.providers.gemini import replies
from batchway.providers.gemini.replies import Candidate, Reply, Voice
from batchway.wire import chat, sse
from batchway.wire.body import given
from batchway.wire.sse import Frame

_encode = msgspec.json.Encoder().encode


class StreamReader:
    """Makes chunks of fragments. What they add up to (usage, wholeness, the folded answer) `wire.chat` says of them.

    Gemini sends no end mark: a stream is whole when every candidate that began has its finish reason.
    """

    def __init__(self, *, fold: bool, identity: str, model: str, created: int, tier: str | None = None) -> None:
        """`identity` and `model` stand in where a fragment names none; `created` is in seconds since the epoch;
        `tier`: the service tier, if the headers named one."""
        self._chunks = chat.StreamReader(fold=fold)
        self._identity = identity
        self._model = model
        self._created = created
        self._tier = _tier(tier)
        self._voices: dict[int, Voice] = {}
        self._counts: replies.Usage | None = None
        self.done = False
        self.error: bytes | None = None

    @property
    def usage(self) -> Usage | None:
        """Tokens as last reported."""
        return self._chunks.usage

    @property
    def whole(self) -> bool:
        """Every candidate that began has ended."""
        return self._chunks.whole

    def answer(self, now: float) -> Answer:
        """The chat.completion that it added up to."""
        return self._chunks.answer(now)

    def read(self, frame: bytes, data: bytes) -> Sequence[Frame]:  # noqa: ARG002 - its data is all there is in it
        """Take one fragment. Raises msgspec.DecodeError when it is none."""
        pieces = self._take(data)
        frames = [self._chunk([piece]) for piece in pieces]
        if self._counts is not None and self.whole and self.error is None:
            frames.append(self._chunk([], usage=replies.spell_usage(self._counts)))
        return frames

    def read_whole(self, content: bytes) -> bytes:
        """The chat.completion that a whole answer is; not to be used where it is an `error`.

        Raises msgspec.DecodeError when it is no answer.
        """
        choices: dict[int, dict[str, Any]] = {}
        for piece in self._take(content):
            message = {"role": "assistant", "content": None} | piece.pop("delta")
            known = choices.setdefault(piece["index"], {"index": piece["index"], "message": message})
            known["message"] |= {name: value for name, value in message.items() if value is not None}
            known |= piece
        if not choices and self.error is None:
            raise msgspec.DecodeError("there is no candidate in it")
        for choice in choices.values():
            for call in choice["message"].get("tool_calls", ()):
                del call["index"]
        usage = {"usage": replies.spell_usage(self._counts)} if self._counts is not None else {}
        return _encode(self._head("chat.completion") | {"choices": list(choices.values())} | usage)

    def _take(self, data: bytes) -> list[dict[str, Any]]:
        """The pieces of choices in a fragment; none if it is an error. What the fragments repeat is kept, and what one
        of them is the first to say."""
        reply = replies.read_reply(data)
        self.error = given(reply.error) or _failure(reply)
        if self.error is not None:
            return []
        if not self._voices:
            self._identity = reply.response_id or self._identity
        self._model = reply.model_version or self._model
        self._counts = reply.usage_metadata or self._counts
        if self._counts is not None:
            self._tier = _tier(self._counts.service_tier) or self._tier
        return self._choices(reply)

    def _chunk(self, choices: list[dict[str, Any]], **fields: Any) -> Frame:
        data = _encode(self._head("chat.completion.chunk") | {"choices": choices} | fields)
        (frame,) = self._chunks.read(sse.frame(data), data)
        return frame

    def _head(self, kind: str) -> dict[str, Any]:
        head = {"id": self._identity, "object": kind, "created": self._created, "model": self._model}
        return head | ({"service_tier": self._tier} if self._tier is not None else {})

    def _choices(self, reply: Reply) -> list[dict[str, Any]]:
        if reply.block_reason and not (self._voices or reply.candidates):
            return [*self._begin(0), _choice(0, {}, "content_filter", reply.block_reason)]
        choices: list[dict[str, Any]] = []
        for place, candidate in enumerate(reply.candidates):
            choices += self._continue(place if candidate.index is None else candidate.index, candidate)
        return choices

    def _begin(self, index: int) -> list[dict[str, Any]]:
        """The role, alone and once, as OpenAI does: the SDK doubles the logprobs of a choice that they come with."""
        if index in self._voices:
            return []
        self._voices[index] = Voice(self._identity, index)
        return [_choice(index, {"role": "assistant"})]

    def _continue(self, index: int, candidate: Candidate) -> list[dict[str, Any]]:
        choices = self._begin(index)
        voice = self._voices[index]
        delta = voice.say(candidate)
        if delta or candidate.logprobs_result is not None:
            piece = _choice(index, delta)
            if candidate.logprobs_result is not None:
                piece["logprobs"] = replies.spell_logprobs(candidate.logprobs_result)
            choices.append(piece)
        reason = candidate.finish_reason
        if reason is not None and reason != "FINISH_REASON_UNSPECIFIED":
            choices.append(_choice(index, {}, voice.end(reason), reason))
        return choices


def _tier(named: str | None) -> str | None:
    """OpenAI's name of a service tier; None for what is not known to be one."""
    return replies.TIERS.get(named.lower()) if named is not None else None


def _choice(index: int, delta: dict[str, Any], end: str | None = None, native: str | None = None) -> dict[str, Any]:
    """A choice of a chunk; `native` is the reason in Gemini's own word, which says more."""
    choice = {"index": index, "delta": delta, "finish_reason": end}
    return choice | ({"native_finish_reason": native} if native is not None else {})


def _failure(reply: Reply) -> bytes | None:
    """The error object of an answer that is none: its model failed at speaking, and says so as a finish reason."""
    for candidate in reply.candidates:
        if candidate.finish_reason in replies.FAILURES:
            message = candidate.finish_message or "The model did not manage to make an answer."
            return _encode({"message": message, "status": candidate.finish_reason})
    return None
