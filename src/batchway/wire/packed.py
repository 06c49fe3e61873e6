"""Packed chat completions: the body that asks several requests at once, and the answers that each of them gets.

What the message says and how its answer is told apart is `core.packing`'s; here are only the bodies around it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchway.core.fingerprint import UNANSWERING
from batchway.core.types import Usage
from batchway.wire import body
from batchway.wire.body import Fields
from batchway.wire.chat import ENDED, ChatUsage, usage_of

_BOUNDS = ("max_completion_tokens", "max_tokens")
_messages = msgspec.json.Decoder(list[Raw])


MEANT_ALIKE = UNANSWERING | {
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
    "seed",
    "service_tier",
    "store",
    "temperature",
    "top_p",
    "verbosity",
}
"""Fields that say the same of a call of several as of each: not `stop`, which would end it at the first answer that has
it, penalties, which count the words of all, or what nobody here knows."""

_UNSAID = frozenset({b"null", b"0", b"0.0", b"false", b"{}", b"[]", b'""'})
"""Values that ask for nothing."""


class Kin(Struct, frozen=True):
    """Who a body can share a call with."""

    key: bytes
    """What it has in common with them: all but its last message, each field as it was spelt. (Who spells the same
    otherwise finds company of its own; one application always spells alike.)"""
    apart: str | None
    """Its first field that may mean something else in a call of several."""


def kin(content: bytes) -> Kin:
    """Read a body, whose messages are not none."""
    fields = body.fields(content)
    shared = [b"\0".join(_messages.decode(fields["messages"])[:-1])]
    odd = None
    for name in sorted(fields):
        value = bytes(fields[name])
        if name in UNANSWERING or name == "messages" or value == b"null":
            continue
        shared += (name.encode(), value)
        if odd is None and name not in MEANT_ALIKE and value not in _UNSAID:
            odd = name
    return Kin(b"\0".join(shared), odd)


class Unpacked(Struct, frozen=True, kw_only=True):
    """What a packed call's answer holds."""

    text: str
    """All that the model said; empty where it said nothing, refused, or said it in parts (which nobody told it to)."""
    cut: bool
    """It did not end by itself: a limit, a filter, or no reason given."""
    usage: Usage | None


def pack(bodies: Sequence[bytes], text: str, max_output: int | None) -> bytes:
    """The first body with `text` as its last message, bounded by `max_output` tokens (None: not at all).

    The bodies have one pack key: they differ in their last text, and in fields that do not change an answer. Of those
    (`user`, `metadata`, …) only what all agree on is sent: no caller answers for another's question.
    """
    all_fields = [body.fields(each) for each in bodies]
    fields = _agreed(all_fields, UNANSWERING)
    turns = [_messages.decode(each["messages"]) for each in all_fields]
    last = _agreed([body.fields(each[-1]) for each in turns], None)
    last["content"] = body.raw(text)
    fields["messages"] = body.raw([*turns[0][:-1], Raw(body.join(last))])
    for name in _BOUNDS:
        if name in fields and max_output is not None:
            fields[name] = body.raw(max_output)
        else:
            fields.pop(name, None)
    return body.join(fields)


def _agreed(objects: Sequence[Fields], asked: frozenset[str] | None) -> Fields:
    """The first object without those of the fields asked about (None: any) that are not the same bytes in all."""
    first = objects[0]
    return {
        name: value
        for name, value in first.items()
        if (asked is not None and name not in asked)
        or all(bytes(other.get(name, b"")) == bytes(value) for other in objects)
    }


class _Message(Struct):
    content: object = None


class _Choice(Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice]
    usage: ChatUsage | None = None
    service_tier: str | None = None


_completion = msgspec.json.Decoder(_Completion)


def unpack(answer: bytes) -> Unpacked:
    """Read the answer of a packed call. Raises msgspec.DecodeError when it is no chat.completion."""
    completion = _completion.decode(answer)
    choice = completion.choices[0] if completion.choices else _Choice()
    content = choice.message.content
    return Unpacked(
        text=content if isinstance(content, str) else "",
        cut=choice.finish_reason not in ENDED,
        usage=usage_of(completion.usage, completion.service_tier) if completion.usage else None,
    )


def parts(answer: bytes) -> Callable[[str, Usage | None, int], bytes]:
    """Makes one item's chat.completion: the packed call's, with an id, a content and a usage of its own.

    It is told the item's text, its share of the usage (None where the provider billed none), and a number that tells
    the parts of the call apart.
    """
    fields = body.fields(answer)
    choice: dict[str, Any] = body.parse(bytes(fields["choices"]))[0]
    identity = body.parse(bytes(fields["id"])) if "id" in fields else None

    def part(text: str, usage: Usage | None, place: int) -> bytes:
        message = {**choice["message"], "content": text}
        own = fields | {
            "id": body.raw(f"{identity or 'chatcmpl'}-{place}"),
            "choices": body.raw([{**choice, "index": 0, "message": message, "finish_reason": "stop"}]),
        }
        own.pop("usage", None)
        if usage is not None:
            own["usage"] = body.raw(_usage(usage))
        return body.join(own)

    return part


def _usage(usage: Usage) -> dict[str, Any]:
    """The usage object in OpenAI's shape, as far as its kinds of tokens are shared out."""
    read = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_written}
    if usage.cache_written_hour:
        read["cache_write_1h_tokens"] = usage.cache_written_hour
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": read,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
