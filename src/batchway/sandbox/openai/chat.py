"""POST /v1/chat/completions: whole and streamed, tools, JSON, choices (shapes: OpenAI SDK 3.52 types/chat)."""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, structs

from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.model import Question, Said, identify
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
from batchway.sandbox.together import say

_PARAMETERS = """
audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
web_search_options
"""

KNOWN = frozenset(_PARAMETERS.split())
"""Every parameter of the endpoint. Those that the body below does not name are accepted and have no effect."""

FINGERPRINT = "fp_sandbox"


class Message(Struct, omit_defaults=True):
    """One turn."""

    role: str
    content: Content = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Function(Struct):
    """A tool: only its function matters here."""

    function: dict[str, Any] = {}


class StreamOptions(Struct):
    """How to stream."""

    include_usage: bool | None = None


class Body(Struct):
    """What an answer depends on."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: int | None = None
    max_tokens: OutputLimit | None = None
    max_completion_tokens: OutputLimit | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Function] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    service_tier: Tier | None = None


_decoder = msgspec.json.Decoder(Body)
_encode = msgspec.json.Encoder().encode


def complete(sandbox: Sandbox, visit: Visit) -> Plan:
    """Answer a chat completion."""
    body = read(visit.body, _decoder, KNOWN, sandbox)
    require_model(body.model, sandbox)
    if body.stream_options is not None and not body.stream:
        raise Refused(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    question = _question(body)
    said = say(question, partial(_alone, body) if body.messages[-1].role == "user" else None, visit, sandbox)
    cost = bill(body.model, body.service_tier, _prompt_tokens(body, sandbox), said)
    head = {
        "id": identify("chatcmpl-", question.canonical, visit.number),
        "object": "chat.completion.chunk" if body.stream else "chat.completion",
        "created": int(visit.at),
        "model": body.model,
        "service_tier": served(body.service_tier),
        "system_fingerprint": FINGERPRINT,
    }
    usage = _usage(cost.input, cost.output)
    if body.stream:
        return Plan(headers=EVENTS, parts=_frames(head, said, usage, body), streaming=True, bill=cost)
    whole = head | {"choices": [_choice(head, index, each) for index, each in enumerate(said)], "usage": usage}
    return Plan(headers=JSON, parts=(Part(_encode(whole)),), bill=cost)


def _alone(body: Body, text: str) -> Question:
    """The question that one item of a packed prompt is: the same conversation with its text as the last message."""
    last = structs.replace(body.messages[-1], content=text)
    return _question(structs.replace(body, messages=[*body.messages[:-1], last]))


def _question(body: Body) -> Question:
    tool = wanted_tool([each.function for each in body.tools or ()], body.tool_choice)
    schema = _schema(body.response_format)
    return Question(
        canonical=_encode((body.model, [_plain(m) for m in body.messages], body.seed, body.response_format, tool)),
        prompt=next((" ".join(texts(m.content)) for m in reversed(body.messages) if m.role == "user"), ""),
        sampled=sampled(body.temperature, body.seed),
        seed=body.seed,
        schema=schema,
        tool=tool,
        limit=body.max_completion_tokens or body.max_tokens,
        choices=body.n or 1,
    )


def _plain(message: Message) -> Message:
    """A message of one text part is the text: the model reads the same."""
    content = message.content
    if isinstance(content, list) and len(content) == 1 and isinstance(text := content[0].get("text"), str):
        return structs.replace(message, content=text)
    return message


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return {}
    wrapped = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(wrapped, dict):
        raise Refused(400, f"Invalid value for 'response_format': '{kind}'.", param="response_format")
    return as_schema(wrapped.get("schema"), "response_format")


def _prompt_tokens(body: Body, sandbox: Sandbox) -> int:
    """As OpenAI's cookbook counts: three tokens a message, its role and texts, three for the answer's start."""
    tokens = 3
    for message in body.messages:
        tokens += 4 + PICTURE * pictures(message.content) + sum(map(sandbox.count, texts(message.content)))
        if message.name:
            tokens += 1 + sandbox.count(message.name)
        if message.tool_calls:
            tokens += sandbox.count(_encode(message.tool_calls).decode())
    return tokens + (sandbox.count(_encode(body.tools).decode()) if body.tools else 0)


def _choice(head: dict[str, Any], index: int, said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None, "annotations": []}
    if said.tool:
        message |= {"content": None, "tool_calls": [_tool_call(head, index, said.tool, said.text)]}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": _reason(said)}


def _reason(said: Said) -> str:
    return "length" if said.cut else "tool_calls" if said.tool else "stop"


def _tool_call(head: dict[str, Any], index: int, name: str, arguments: str) -> dict[str, Any]:
    identity = f"call_{head['id'].removeprefix('chatcmpl-')}{index}"
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _frames(head: dict[str, Any], said: tuple[Said, ...], usage: dict[str, Any], body: Body) -> tuple[Part, ...]:
    wants_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    shared = head | {"usage": None} if wants_usage else head
    frames = [frame for index, each in enumerate(said) for frame in _choice_frames(shared, index, each)]
    if wants_usage:
        frames.append(Part(frame(head | {"choices": [], "usage": usage}), place="finish"))
    return (*frames, Part(b"data: [DONE]\n\n", place="done"))


def _choice_frames(head: dict[str, Any], index: int, said: Said) -> list[Part]:
    def part(delta: dict[str, Any], text: str = "", reason: str | None = None) -> Part:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return Part(frame(head | {"choices": [choice]}), text, "finish" if reason else "body")

    opening: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    if said.tool:
        opening = {"role": "assistant", "content": None}
        opening["tool_calls"] = [{"index": 0, **_tool_call(head, index, said.tool, "")}]
    body = [
        part({"tool_calls": [{"index": 0, "function": {"arguments": text}}]} if said.tool else {"content": text}, text)
        for text in chunks(said.text)
    ]
    return [part(opening), *body, part({}, reason=_reason(said))]


def frame(value: object) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + _encode(value) + b"\n\n"
