"""POST /v1/messages: what the pretended model says, what it cost, whole or as events."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from batchway.sandbox.anthropic import conversation
from batchway.sandbox.anthropic.body import (
    Adaptive,
    Block,
    Body,
    Document,
    Enabled,
    Image,
    Message,
    Text,
    Tool,
    ToolResult,
    read,
)
from batchway.sandbox.anthropic.caching import Piece, PromptCache, Spared
from batchway.sandbox.anthropic.events import events
from batchway.sandbox.contract import Bill, Part, Plan, Refused, Visit
from batchway.sandbox.model import Question, Said, identify, ramble
from batchway.sandbox.model import Tool as Forced
from batchway.sandbox.openai.parameters import EVENTS, JSON
from batchway.sandbox.state import Sandbox
from batchway.sandbox.together import say

PICTURE = 1600
"""Input tokens of a picture or document, whatever its size: about those of a full-sized picture."""

THOUGHT = 8
"""Words of a thought."""

_encode = msgspec.json.Encoder().encode


class Reply(Struct):
    """What the model says: blocks of content, why it stopped, and what of it is billed."""

    content: list[dict[str, Any]]
    stop_reason: str
    stop_sequence: str | None
    thought: int
    """Tokens of thinking."""
    tokens: int
    """All output tokens."""


def create(sandbox: Sandbox, visit: Visit, cache: PromptCache, tier: str = "standard") -> Plan:
    """Answer a message, served at this tier."""
    body = read(visit.body, visit.header(b"anthropic-version") or "")
    if not knows(sandbox, body.model):
        raise Refused(404, f"model: {body.model}")
    conversation.check(body)
    pieces = list(_pieces(body, sandbox))
    marks = sum(piece.ttl is not None for piece in pieces)
    if marks > conversation.MARKS:
        raise Refused(400, f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")
    question = _question(body)
    reply = _reply(body, question, visit, sandbox)
    spared = cache.use(f"{visit.key}/{body.model}", pieces, visit.at)
    total = sum(piece.tokens for piece in pieces)
    message = {
        "id": identify("msg_", question.canonical, visit.number),
        "type": "message",
        "role": "assistant",
        "model": body.model,
        "content": reply.content,
        "stop_reason": reply.stop_reason,
        "stop_sequence": reply.stop_sequence,
        "usage": _usage(body, total, spared, reply) | {"service_tier": tier},
    }
    bill = Bill(
        model=body.model,
        tier=tier,
        input=total,
        output=reply.tokens,
        cached=spared.read,
        written=spared.written,
        written_hour=spared.hour,
    )
    if body.stream:
        return Plan(headers=EVENTS, parts=events(message), streaming=True, bill=bill)
    return Plan(headers=JSON, parts=(Part(_encode(message)),), bill=bill)


def knows(sandbox: Sandbox, model: str) -> bool:
    """Whether a model exists here: a strict sandbox knows those that it lists."""
    return sandbox.knows(model) or (sandbox.strict and model in MODELS)


MODELS = (
    "claude-fable-5-1",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-opus-4-5",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
)
"""Models of Anthropic's that are listed beside those that the sandbox was told."""


def _question(body: Body) -> Question:
    tool = _forced(body)
    wanted = body.output_config.format if body.output_config else None
    return Question(
        canonical=_encode((body.model, body.system, body.messages, tool, wanted)),
        prompt=next((_words(turn) for turn in reversed(body.messages) if turn.role == "user"), ""),
        sampled=body.sampled,
        schema=wanted.schema if wanted else None,
        tool=tool,
    )


def _alone(body: Body, text: str) -> Question:
    """The question that one item of a packed prompt is: the same conversation with its text as the last message."""
    content = text if isinstance(body.messages[-1].content, str) else [Text(text=text)]
    last = msgspec.structs.replace(body.messages[-1], content=content)
    return _question(msgspec.structs.replace(body, messages=[*body.messages[:-1], last]))


def _forced(body: Body) -> Forced | None:
    """The tool that the model is made to call: a named one, or with `any` the first."""
    choice = body.tool_choice
    if choice is None or choice.type not in ("any", "tool"):
        return None
    tool = next(tool for tool in body.tools if choice.name in (None, tool.name))
    return Forced(name=tool.name, schema=tool.input_schema or {"type": "object"})


def _words(message: Message) -> str:
    return " ".join(text for block in message.blocks for text in _texts(block))


def _texts(block: Block) -> list[str]:
    """The words in a block."""
    if isinstance(block, Text):
        return [block.text]
    if not isinstance(block, ToolResult):
        return []
    if isinstance(block.content, str):
        return [block.content]
    return [inner.text for inner in block.content if isinstance(inner, Text)]


def _reply(body: Body, question: Question, visit: Visit, sandbox: Sandbox) -> Reply:
    thoughts = _thoughts(body, question)
    thought = sum(sandbox.count(text) for text in thoughts)
    room = max(0, body.max_tokens - thought)
    alone = partial(_alone, body) if body.messages[-1].role == "user" else None
    (said,) = say(msgspec.structs.replace(question, limit=room), alone, visit, sandbox)
    said, stopped = _stop(said, body.stop_sequences, sandbox)
    content = [_thinking_block(body, text) for text in thoughts]
    if said.text:
        content.append(_block(said, question, visit.number))
    return Reply(
        content=content,
        stop_reason=_reason(said, stopped),
        stop_sequence=stopped,
        thought=thought,
        tokens=thought + said.tokens,
    )


def _thoughts(body: Body, question: Question) -> list[str]:
    if not isinstance(body.thinking, Enabled | Adaptive):
        return []
    return ["Let me think: " + ramble(question.canonical.hex() + "thought", THOUGHT)]


def _thinking_block(body: Body, text: str) -> dict[str, Any]:
    shown = isinstance(body.thinking, Enabled | Adaptive) and body.thinking.display != "omitted"
    return {"type": "thinking", "thinking": text if shown else "", "signature": conversation.sign(text)}


def _stop(said: Said, sequences: list[str], sandbox: Sandbox) -> tuple[Said, str | None]:
    """Cut the words before the first stop sequence in them."""
    found = [(at, sequence) for sequence in sequences if (at := said.text.find(sequence)) >= 0]
    if not found or said.tool:
        return said, None
    at, sequence = min(found)
    text = said.text[:at]
    return Said(text=text, tokens=sandbox.count(text) if text else 0), sequence


def _block(said: Said, question: Question, number: int) -> dict[str, Any]:
    if said.tool is None:
        return {"type": "text", "text": said.text}
    identity = identify("toolu_", question.canonical, number)
    return {"type": "tool_use", "id": identity, "name": said.tool, "input": {} if said.cut else json.loads(said.text)}


def _reason(said: Said, stopped: str | None) -> str:
    if said.cut:
        return "max_tokens"
    if stopped is not None:
        return "stop_sequence"
    return "tool_use" if said.tool else "end_turn"


def _usage(body: Body, total: int, spared: Spared, reply: Reply) -> dict[str, Any]:
    usage = {
        "input_tokens": total - spared.read - spared.written,
        "cache_creation_input_tokens": spared.written,
        "cache_read_input_tokens": spared.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": spared.written - spared.hour,
            "ephemeral_1h_input_tokens": spared.hour,
        },
        "output_tokens": reply.tokens,
        "output_tokens_details": {"thinking_tokens": reply.thought},
    }
    return usage if body.speed is None else usage | {"speed": body.speed}


def _pieces(body: Body, sandbox: Sandbox) -> Iterator[Piece]:
    """The prompt as it is read: tools, system, messages, and three tokens for the answer's start, which no mark spans.

    A mark at the top level stands at the end of the last block.
    """
    found = [*_tool_pieces(body.tools, sandbox), *_system_pieces(body, sandbox), *_message_pieces(body, sandbox)]
    if body.cache_control is not None:
        found[-1] = msgspec.structs.replace(found[-1], ttl=body.cache_control.ttl)
    yield from found
    yield Piece(b"", 3)


def _tool_pieces(tools: list[Tool], sandbox: Sandbox) -> Iterator[Piece]:
    for tool in tools:
        content = _encode(msgspec.structs.replace(tool, cache_control=None))
        yield Piece(content, sandbox.count(content.decode()), tool.cache_control.ttl if tool.cache_control else None)


def _system_pieces(body: Body, sandbox: Sandbox) -> Iterator[Piece]:
    blocks: list[Text] = body.system if isinstance(body.system, list) else []
    if isinstance(body.system, str) and body.system:
        blocks = [Text(text=body.system)]
    for block in blocks:
        yield _piece("system", block, sandbox)


def _message_pieces(body: Body, sandbox: Sandbox) -> Iterator[Piece]:
    for message in body.messages:
        for block in message.blocks:
            yield _piece(message.role, block, sandbox)


def _piece(role: str, block: Block, sandbox: Sandbox) -> Piece:
    """A block of a role: three tokens for its frame, and its words; what holds none counts as JSON."""
    bare = _encode((role, msgspec.structs.replace(block, cache_control=None)))
    if isinstance(block, Image | Document):
        tokens = PICTURE
    else:
        words = _texts(block)
        tokens = sum(map(sandbox.count, words)) if words else sandbox.count(bare.decode())
    return Piece(bare, 3 + tokens, block.cache_control.ttl if block.cache_control else None)
