"""What Anthropic asks of a conversation beyond the shape of its parts: tools answered, thinking unchanged."""

import hashlib
from collections.abc import Sequence

from batchway.sandbox.anthropic.body import (
    Block,
    Body,
    Enabled,
    Message,
    RedactedThinking,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from batchway.sandbox.contract import Refused

MARKS = 4
"""Cache marks that a request may have."""


def check(body: Body) -> None:
    """Raises Refused for the first thing that is wrong."""
    _check_tools(body)
    _check_thinking(body)
    _check_system(body.messages)
    turns = merge(body.messages)
    for index, turn in enumerate(turns):
        _check_signatures(index, turn.blocks)
        _check_results(index, turn.blocks, turns[index - 1].blocks if index else [])
        _check_answered(index, turn.blocks, turns[index + 1].blocks if index + 1 < len(turns) else None)


def merge(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of the same role as one turn; a system message counts to the user's."""
    turns: list[Message] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1].role == role:
            turns[-1] = Message(role=turns[-1].role, content=[*turns[-1].blocks, *message.blocks])
        else:
            turns.append(Message(role="assistant" if role == "assistant" else "user", content=message.content))
    return turns


def sign(thinking: str) -> str:
    """The signature of a thought."""
    return "sig_" + hashlib.blake2b(thinking.encode(), digest_size=16).hexdigest()


def _check_tools(body: Body) -> None:
    for index, tool in enumerate(body.tools):
        if tool.type in (None, "custom"):
            if tool.input_schema is None:
                raise Refused(400, f"tools.{index}.custom.input_schema: Field required")
            if tool.input_schema.get("type") != "object":
                raise Refused(400, f"tools.{index}.custom.input_schema.type: Input should be 'object'")
    choice = body.tool_choice
    if choice is None:
        return
    if not body.tools:
        raise Refused(400, "tool_choice: may only be specified while providing tools")
    if choice.type == "tool" and choice.name not in {tool.name for tool in body.tools}:
        raise Refused(400, f"Tool '{choice.name}' not found in provided tools")
    if choice.type == "none" and choice.disable_parallel_tool_use:
        raise Refused(400, "tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted")


def _check_thinking(body: Body) -> None:
    if not isinstance(body.thinking, Enabled):
        return
    if body.thinking.budget_tokens >= body.max_tokens:
        raise Refused(400, "`max_tokens` must be greater than `thinking.budget_tokens`")
    if body.tool_choice is not None and body.tool_choice.type in ("any", "tool"):
        raise Refused(400, "Thinking may not be enabled when tool_choice forces tool use.")
    called = _called_since_asked(merge(body.messages))
    if called and not any(isinstance(block, Thinking | RedactedThinking) for block in called):
        message = "Expected `thinking` or `redacted_thinking`, but found `tool_use`: give back what was thought before."
        raise Refused(400, message)


def _called_since_asked(turns: list[Message]) -> list[Block]:
    """The assistant's blocks in the turn of tools that is going on; none if there is none."""
    said: list[Block] = []
    for turn in reversed(turns):
        if turn.role == "user" and not any(isinstance(block, ToolResult) for block in turn.blocks):
            break
        said += turn.blocks if turn.role == "assistant" else []
    return said if any(isinstance(block, ToolUse) for block in said) else []


def _check_system(messages: list[Message]) -> None:
    """Amid the messages: after a user's turn, and text only."""
    for index, message in enumerate(messages):
        if message.role != "system":
            continue
        if index == 0 or messages[index - 1].role != "user":
            raise Refused(400, f"messages.{index}.role: a system message must follow a user message")
        if not all(isinstance(block, Text) for block in message.blocks):
            raise Refused(400, f"messages.{index}.content: a system message holds text only")


def _check_signatures(index: int, blocks: list[Block]) -> None:
    for at, block in enumerate(blocks):
        if isinstance(block, Thinking) and block.thinking and block.signature != sign(block.thinking):
            raise Refused(400, f"messages.{index}.content.{at}: Invalid `signature` in `thinking` block")


def _check_results(index: int, blocks: list[Block], before: list[Block]) -> None:
    called = {block.id for block in before if isinstance(block, ToolUse)}
    others = False
    for at, block in enumerate(blocks):
        if not isinstance(block, ToolResult):
            others = True
            continue
        if block.tool_use_id not in called:
            said = f"unexpected `tool_use_id` found in `tool_result` blocks: {block.tool_use_id}"
            raise Refused(400, f"messages.{index}.content.{at}: {said}")
        if others:
            raise Refused(400, f"messages.{index}.content.{at}: `tool_result` blocks must come first")


def _check_answered(index: int, blocks: list[Block], after: list[Block] | None) -> None:
    answered = {block.tool_use_id for block in after or () if isinstance(block, ToolResult)}
    open_calls = [block.id for block in blocks if isinstance(block, ToolUse) and block.id not in answered]
    if open_calls:
        said = "`tool_use` ids were found without `tool_result` blocks immediately after"
        raise Refused(400, f"messages.{index}: {said}: {', '.join(open_calls)}")
