"""POST /v1/responses: whole and as named events (shapes: OpenAI SDK 3.52 types/responses). Nothing is stored."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.model import Question, Said, answer, identify
from batchway.sandbox.openai.parameters import (
    EVENTS,
    JSON,
    PICTURE,
    Content,
    OutputLimit,
    Temperature,
    Tier,
    TopP,
    as_schema,
    bill,
    chunks,
    pictures,
    sampled,
    served,
    texts,
    wanted_tool,
)
from batchway.sandbox.openai.reading import read, require_model
from batchway.sandbox.state import Sandbox

_PARAMETERS = """
access_programs background context_management conversation image include input instructions max_output_tokens
max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options
temperature text tool_choice tools top_logprobs top_p truncation user
"""

KNOWN = frozenset(_PARAMETERS.split())


class Item(Struct, omit_defaults=True):
    """One item of the input: a message, a function call or its output, or a reference without text."""

    type: str = "message"
    role: str | None = None
    content: Content = None
    arguments: str | None = None
    output: Content = None


class Text(Struct):
    """How the text is to look."""

    format: dict[str, Any] | None = None


class Body(Struct):
    """What an answer depends on, and what it repeats."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | Annotated[list[Item], Meta(min_length=1)]
    instructions: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: OutputLimit | None = None
    stream: bool | None = None
    text: Text | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    service_tier: Tier | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    previous_response_id: str | None = None
    background: bool | None = None


_decoder = msgspec.json.Decoder(Body)
_encode = msgspec.json.Encoder().encode


def respond(sandbox: Sandbox, visit: Visit) -> Plan:
    """Answer a Responses request."""
    body = read(visit.body, _decoder, KNOWN, sandbox)
    require_model(body.model, sandbox)
    _refuse_state(body)
    question = _question(body)
    (said,) = answer(question, visit.number, sandbox.words, sandbox.count)
    cost = bill(body.model, body.service_tier, _input_tokens(body, sandbox), (said,))
    response = _response(identify("resp_", question.canonical, visit.number), int(visit.at), body)
    item = _item(response["id"].removeprefix("resp_"), said)
    done = response | _ending(item, said, int(visit.at), cost.input, cost.output)
    if body.stream:
        return Plan(headers=EVENTS, parts=_events(response, item, said, done), streaming=True, bill=cost)
    return Plan(headers=JSON, parts=(Part(_encode(done)),), bill=cost)


def _refuse_state(body: Body) -> None:
    if body.previous_response_id is not None:
        message = f"Previous response with id '{body.previous_response_id}' not found."
        raise Refused(400, message, param="previous_response_id", code="previous_response_not_found")
    if body.background:
        raise Refused(400, "The sandbox runs nothing in the background.", param="background", code="unsupported_value")


def _items(body: Body) -> list[Item]:
    return [Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input


def _question(body: Body) -> Question:
    items = _items(body)
    functions = [tool for tool in body.tools or () if tool.get("type") == "function"]
    tool = wanted_tool(functions, body.tool_choice)
    wanted = body.text.format if body.text else None
    return Question(
        canonical=_encode((body.model, body.instructions, items, wanted, tool)),
        prompt=next((" ".join(texts(item.content)) for item in reversed(items) if item.role == "user"), ""),
        sampled=sampled(body.temperature, None),
        schema=_schema(wanted),
        tool=tool,
        limit=body.max_output_tokens,
    )


def _schema(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (wanted or {}).get("type", "text")
    if wanted is None or kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise Refused(400, f"Invalid value for 'text.format.type': '{kind}'.", param="text.format.type")
    return as_schema(wanted.get("schema"), "text.format.schema")


def _input_tokens(body: Body, sandbox: Sandbox) -> int:
    """Counted like a chat: three tokens an item and its role, its texts, three for the answer's start."""
    tokens = 3
    for item in _items(body):
        for content in (item.content, item.output, item.arguments):
            tokens += PICTURE * pictures(content) + sum(map(sandbox.count, texts(content)))
        tokens += 4
    tokens += 4 + sandbox.count(body.instructions) if body.instructions else 0
    return tokens + (sandbox.count(_encode(body.tools).decode()) if body.tools else 0)


def _response(identity: str, at: int, body: Body) -> dict[str, Any]:
    """The object as it is when work begins."""
    return {
        "id": identity,
        "object": "response",
        "created_at": at,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "model": body.model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": served(body.service_tier),
        "store": False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": (body.text.format if body.text else None) or {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": body.user,
        "metadata": body.metadata or {},
    }


def _item(tail: str, said: Said) -> dict[str, Any]:
    status = "incomplete" if said.cut else "completed"
    if said.tool:
        call = {"call_id": f"call_{tail}", "name": said.tool, "arguments": said.text}
        return {"id": f"fc_{tail}", "type": "function_call", "status": status, **call}
    content = [{"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}]
    return {"id": f"msg_{tail}", "type": "message", "status": status, "role": "assistant", "content": content}


def _ending(item: dict[str, Any], said: Said, at: int, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """What the object has gained when work ends."""
    return {
        "status": "incomplete" if said.cut else "completed",
        "completed_at": None if said.cut else at,
        "incomplete_details": {"reason": "max_output_tokens"} if said.cut else None,
        "output": [item],
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }


def _events(response: dict[str, Any], item: dict[str, Any], said: Said, done: dict[str, Any]) -> tuple[Part, ...]:
    """The whole sequence, numbered. The last event carries status and usage: it is `done` and `finish` in one."""
    inner = _call_events(item, said) if said.tool else _text_events(item, said)
    steps: list[tuple[str, dict[str, Any], str]] = [
        ("response.created", {"response": response}, ""),
        ("response.in_progress", {"response": response}, ""),
        *inner,
        ("response.output_item.done", {"output_index": 0, "item": item}, ""),
    ]
    last = "response.incomplete" if said.cut else "response.completed"
    parts = [Part(event(name, number, fields), text) for number, (name, fields, text) in enumerate(steps)]
    return (*parts, Part(event(last, len(parts), {"response": done}), place="done"))


def _text_events(item: dict[str, Any], said: Said) -> Iterator[tuple[str, dict[str, Any], str]]:
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield "response.output_item.added", _opened(item, content=[]), ""
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield "response.content_part.added", where | {"part": empty}, ""
    for text in chunks(said.text):
        yield "response.output_text.delta", where | {"delta": text, "logprobs": []}, text
    yield "response.output_text.done", where | {"text": said.text, "logprobs": []}, ""
    yield "response.content_part.done", where | {"part": item["content"][0]}, ""


def _call_events(item: dict[str, Any], said: Said) -> Iterator[tuple[str, dict[str, Any], str]]:
    where = {"item_id": item["id"], "output_index": 0}
    yield "response.output_item.added", _opened(item, arguments=""), ""
    for text in chunks(said.text):
        yield "response.function_call_arguments.delta", where | {"delta": text}, text
    yield "response.function_call_arguments.done", where | {"name": said.tool, "arguments": said.text}, ""


def _opened(item: dict[str, Any], **empty: object) -> dict[str, Any]:
    return {"output_index": 0, "item": item | {"status": "in_progress"} | empty}


def event(name: str, number: int, fields: dict[str, Any]) -> bytes:
    """A server-sent event with its name, type and sequence number."""
    data = _encode({"type": name, "sequence_number": number, **fields})
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
