"""POST /v1/chat/completions: whole and streamed (shapes: SDK mistralai 3.7, ChatCompletionRequest and its answers)."""

import hashlib
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Bill, Part, Plan, Refused, Visit
from batchway.sandbox.mistral.models import require_model
from batchway.sandbox.mistral.reading import read
from batchway.sandbox.mistral.turns import Assistant, Turn, User, check, pictures, texts
from batchway.sandbox.model import Question, Said, identify, ramble
from batchway.sandbox.openai.chat import frame
from batchway.sandbox.openai.parameters import EVENTS, JSON, PICTURE, as_schema, chunks, sampled, wanted_tool
from batchway.sandbox.state import Sandbox
from batchway.sandbox.together import say

TIER = "standard"
THOUGHT = 8
"""Words of a thought."""


class Function(Struct, forbid_unknown_fields=True):
    """What a tool is."""

    name: str
    parameters: dict[str, Any]
    description: str = ""
    strict: bool = False


class Tool(Struct, forbid_unknown_fields=True):
    """A function that may be called."""

    function: Function
    type: Literal["function"] = "function"


class Schema(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON that is wanted."""

    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool = False


class Format(Struct, frozen=True, forbid_unknown_fields=True):
    """How the answer is to look."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Schema | None = None


class Body(Struct, forbid_unknown_fields=True):
    """Every parameter of the endpoint. Those that the answer below does not read are accepted and have no effect."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Turn], Meta(min_length=1)]
    temperature: Annotated[float, Meta(ge=0, le=1.5)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    stream: bool = False
    stop: str | list[str] | None = None
    random_seed: Annotated[int, Meta(ge=0)] | None = None
    metadata: dict[str, Any] | None = None
    response_format: Format = Format()
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "any", "required"] | dict[str, Any] = "auto"
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    top_k: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    prompt_logprobs: bool | None = None
    top_prompt_logprobs: int | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    prediction: dict[str, str] = {}
    parallel_tool_calls: bool = True
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    prompt_mode: Literal["reasoning"] | None = None
    guardrails: list[dict[str, Any]] | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    safe_prompt: bool = False

    @property
    def thinks(self) -> bool:
        """Whether the answer begins with a thought."""
        return self.prompt_mode is not None or self.reasoning_effort not in (None, "none")


_decoder = msgspec.json.Decoder(Body)
_encode = msgspec.json.Encoder().encode


def complete(sandbox: Sandbox, visit: Visit) -> Plan:
    """Answer a chat completion."""
    body = read(visit.body, _decoder)
    require_model(body.model, sandbox)
    check(body.messages)
    question = _question(body)
    said = say(question, partial(_alone, body) if isinstance(body.messages[-1], User) else None, visit, sandbox)
    thought = ramble(question.canonical.decode(), THOUGHT) if body.thinks and not question.tool else ""
    cost = Bill(
        model=body.model,
        tier=TIER,
        input=_prompt_tokens(body, sandbox),
        output=sum(each.tokens for each in said) + len(said) * sandbox.count(thought),
    )
    identity = identify("", question.canonical, visit.number)
    head: dict[str, Any] = {
        "id": identity,
        "object": "chat.completion.chunk" if body.stream else "chat.completion",
        "created": int(visit.at),
        "model": body.model,
    }
    if body.stream:
        return Plan(headers=EVENTS, parts=_frames(head, said, thought, cost), streaming=True, bill=cost)
    choices = [_choice(identity, index, each, thought) for index, each in enumerate(said)]
    return Plan(headers=JSON, parts=(Part(_encode(head | {"usage": _usage(cost), "choices": choices})),), bill=cost)


def _question(body: Body) -> Question:
    functions = [{"name": tool.function.name, "parameters": tool.function.parameters} for tool in body.tools or ()]
    tool = wanted_tool(functions, "required" if body.tool_choice == "any" else body.tool_choice)
    return Question(
        canonical=_encode((body.model, body.messages, body.random_seed, body.response_format, tool)),
        prompt=next((" ".join(texts(turn.content)) for turn in reversed(body.messages) if isinstance(turn, User)), ""),
        sampled=sampled(body.temperature, body.random_seed),
        seed=body.random_seed,
        schema=_schema(body.response_format),
        tool=tool,
        limit=body.max_tokens,
        choices=body.n or 1,
    )


def _alone(body: Body, text: str) -> Question:
    """The question that one item of a packed prompt is: the same conversation with its text as the last message."""
    last = msgspec.structs.replace(body.messages[-1], content=text)
    return _question(msgspec.structs.replace(body, messages=[*body.messages[:-1], last]))


def _schema(wanted: Format) -> dict[str, Any] | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {}
    if wanted.json_schema is None:
        raise Refused(422, "Field required", param="response_format.json_schema", code="missing")
    return as_schema(wanted.json_schema.schema, "response_format")


def _prompt_tokens(body: Body, sandbox: Sandbox) -> int:
    """Four tokens a message, its words and pictures, and the tools as they were described."""
    tokens = 0
    for turn in body.messages:
        tokens += 4 + PICTURE * pictures(turn.content) + sum(map(sandbox.count, texts(turn.content)))
        if isinstance(turn, Assistant) and turn.tool_calls:
            tokens += sandbox.count(_encode(turn.tool_calls).decode())
    return tokens + (sandbox.count(_encode(body.tools).decode()) if body.tools else 0)


def _usage(cost: Bill) -> dict[str, Any]:
    return {
        "prompt_tokens": cost.input,
        "total_tokens": cost.input + cost.output,
        "completion_tokens": cost.output,
        "prompt_tokens_details": {"cached_tokens": 0},
        "service_tier": TIER,
    }


def _choice(identity: str, index: int, said: Said, thought: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "tool_calls": None, "content": said.text}
    if said.tool:
        message |= {"content": "", "tool_calls": [_tool_call(identity, index, said)]}
    elif thought:
        message["content"] = [_thinking(thought), {"type": "text", "text": said.text}]
    return {"index": index, "finish_reason": _reason(said), "message": message}


def _reason(said: Said) -> str:
    return "length" if said.cut else "tool_calls" if said.tool else "stop"


def _thinking(thought: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}


def _tool_call(identity: str, index: int, said: Said) -> dict[str, Any]:
    call_id = hashlib.blake2b(f"{identity}.{index}".encode(), digest_size=8).hexdigest()[:9]
    return {"id": call_id, "function": {"name": said.tool, "arguments": said.text}, "index": 0}


def _frames(head: dict[str, Any], said: tuple[Said, ...], thought: str, cost: Bill) -> tuple[Part, ...]:
    """The frames: the last of a choice carries its last words too, and the last of all the usage."""
    frames: list[Part] = []
    for index, each in enumerate(said):
        *begin, (delta, words) = _deltas(head["id"], index, each, thought)
        usage = {"usage": _usage(cost)} if index == len(said) - 1 else {}
        frames += [Part(_chunk(head, index, piece, None), text) for piece, text in begin]
        frames.append(Part(_chunk(head | usage, index, delta, _reason(each)), words, "finish"))
    return (*frames, Part(b"data: [DONE]\n\n", place="done"))


def _deltas(identity: str, index: int, said: Said, thought: str) -> list[tuple[dict[str, Any], str]]:
    """What each chunk adds, and the words in it: a call comes whole, thoughts in chunks of their own kind."""
    opening: list[tuple[dict[str, Any], str]] = [({"role": "assistant", "content": ""}, "")]
    if said.tool:
        return [*opening, ({"content": "", "tool_calls": [_tool_call(identity, index, said)]}, said.text)]
    thoughts = [({"content": [_thinking(text)]}, text) for text in chunks(thought)]
    return [*opening, *thoughts, *(({"content": text}, text) for text in chunks(said.text))]


def _chunk(head: dict[str, Any], index: int, delta: dict[str, Any], reason: str | None) -> bytes:
    return frame(head | {"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
