"""generateContent, streamGenerateContent and countTokens (shapes: google-genai 3.4 types.py; providers.md §11)."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Bill, Headers, Part, Plan, Refused, Visit
from batchway.sandbox.gemini.models import require_model
from batchway.sandbox.gemini.reading import JSON, read
from batchway.sandbox.gemini.turns import Content, FunctionCall, Piece, check_calls, count_contents, last_words, sign
from batchway.sandbox.model import Question, Said, Tool, identify, ramble
from batchway.sandbox.openai.parameters import chunks, sampled
from batchway.sandbox.state import Sandbox
from batchway.sandbox.together import say

KNOWN = frozenset(
    {
        "cachedContent",
        "contents",
        "generationConfig",
        "labels",
        "model",
        "safetySettings",
        "serviceTier",
        "systemInstruction",
        "toolConfig",
        "tools",
    }
)
"""Every field of the two methods. Those that the body below does not name are accepted and have no effect."""

EVENTS: Headers = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"))

THOUGHTS = 12
"""Words that are thought where thinking is asked for."""

BLOCKED = "[blocked]"
"""A question with this in it is not answered: how the sandbox shows a blocked prompt."""


class Declaration(Struct, rename="camel"):
    """A function, its parameters in either kind of schema."""

    name: str
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class Tools(Struct, rename="camel"):
    """Functions; Google's own tools are accepted and have no effect."""

    function_declarations: list[Declaration] = []


class Calling(Struct, frozen=True, rename="camel"):
    """Whether a function must be called, and which may."""

    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: list[str] = []


class ToolConfig(Struct, frozen=True, rename="camel"):
    """How tools are used."""

    function_calling_config: Calling = Calling()


class Thinking(Struct, rename="camel"):
    """How much is thought, and whether it is shown."""

    include_thoughts: bool = False
    thinking_budget: Annotated[int, Meta(ge=-1)] | None = None
    thinking_level: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"] | None = None


class Config(Struct, frozen=True, rename="camel"):
    """What an answer depends on beside its turns."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=8)] = 1
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=5)] = []
    seed: int | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    response_logprobs: bool = False
    thinking_config: Thinking | None = None


class Body(Struct, rename="camel"):
    """A question."""

    contents: Annotated[list[Content], Meta(min_length=1)]
    system_instruction: Content | None = None
    generation_config: Config = Config()
    tools: list[Tools] = []
    tool_config: ToolConfig = ToolConfig()
    service_tier: Literal["unspecified", "standard", "flex", "priority"] = "standard"


class _Counted(Struct, rename="camel"):
    contents: list[Content] = []


_encode = msgspec.json.Encoder().encode


def complete(sandbox: Sandbox, model: str, visit: Visit) -> Plan:
    """Answer generateContent, indented as Google does."""
    speech = _Speech(sandbox, model, visit)
    whole = msgspec.json.format(_encode(speech.whole()), indent=2)
    return Plan(headers=(*JSON, speech.tier), parts=(Part(whole),), bill=speech.bill)


def stream(sandbox: Sandbox, model: str, visit: Visit) -> Plan:
    """Answer streamGenerateContent as events; without `alt=sse` Google sends a JSON array, which nobody here reads."""
    if b"alt=sse" not in visit.query.split(b"&"):
        raise Refused(400, "The sandbox streams events only: ask with ?alt=sse.")
    speech = _Speech(sandbox, model, visit)
    return Plan(headers=(*EVENTS, speech.tier), parts=speech.parts(), streaming=True, bill=speech.bill)


def count_tokens(sandbox: Sandbox, model: str, visit: Visit) -> Plan:
    """Answer countTokens, which costs nothing."""
    require_model(sandbox, model)
    counted = read(visit.body, _Counted, frozenset({"contents"}))
    tokens = count_contents(counted.contents, sandbox.count)
    return Plan(headers=JSON, parts=(Part(_encode({"totalTokens": tokens})),), bill=Bill(model=model))


def frame(value: object) -> bytes:
    """An event as Google ends its lines."""
    return b"data: " + _encode(value) + b"\r\n\r\n"


class _Speech:
    """What the model says to one question, whole or in pieces, and what it costs."""

    def __init__(self, sandbox: Sandbox, model: str, visit: Visit) -> None:
        body = read(visit.body, Body, KNOWN)
        require_model(sandbox, model)
        check_calls(model, body.contents)
        self._sandbox = sandbox
        self._config = body.generation_config
        question = _question(model, body)
        self._blocked = BLOCKED in question.prompt
        alone = partial(_alone, model, body) if body.contents[-1].role == "user" else None
        self._said = () if self._blocked else say(question, alone, visit, sandbox)
        self._thought = "" if self._blocked else _thought(question, self._config.thinking_config)
        self._head = {
            "modelVersion": model,
            "responseId": identify("", question.canonical, visit.number),
        }
        turns = [body.system_instruction, *body.contents] if body.system_instruction else body.contents
        declared = _encode(body.tools).decode() if body.tools else ""
        tier = "standard" if body.service_tier == "unspecified" else body.service_tier
        self.tier = (b"x-gemini-service-tier", tier.encode())
        self._thoughts = sandbox.count(self._thought)
        self.bill = Bill(
            model=model,
            lane="flex" if tier == "flex" else "direct",
            tier=tier,
            input=count_contents(turns, sandbox.count) + sandbox.count(declared),
            output=sum(said.tokens for said in self._said) + self._thoughts,
        )

    def whole(self) -> dict[str, Any]:
        """A GenerateContentResponse."""
        if self._blocked:
            return self._refusal()
        candidates = [
            self._candidate(index, self._parts(said), said.text, _reason(said)) for index, said in enumerate(self._said)
        ]
        return {"candidates": candidates, "usageMetadata": self._usage(self.bill.output), **self._head}

    def parts(self) -> tuple[Part, ...]:
        """The same as events: words as they come, a call at once, a reason at the end. The last one is the last word:
        there is no other end mark."""
        if self._blocked:
            return (Part(frame(self._refusal()), place="done"),)
        pieces = [piece for index, said in enumerate(self._said) for piece in self._pieces(index, said)]
        sent, parts = "", []
        for candidate, text in pieces:
            sent += text
            last = candidate is pieces[-1][0]
            usage = self._usage(self.bill.output if last else self._sandbox.count(sent))
            data = frame({"candidates": [candidate], "usageMetadata": usage, **self._head})
            parts.append(Part(data, text, "done" if last else "finish" if "finishReason" in candidate else "body"))
        return tuple(parts)

    def _pieces(self, index: int, said: Said) -> list[tuple[dict[str, Any], str]]:
        """The candidates of a stream, each with the words that it costs."""
        end = self._candidate(index, [{"text": ""}], "", _reason(said))
        if said.tool:
            call = self._candidate(index, self._parts(said), said.text)
            return [(call, self._thought + said.text), (end, "")]
        thought = self._shown_thought()
        first = [(self._candidate(index, thought, ""), self._thought)] if thought else []
        words = [(self._candidate(index, [{"text": text}], text), text) for text in chunks(said.text)]
        return [*first, *words, (end, "")]

    def _parts(self, said: Said) -> list[dict[str, Any]]:
        if said.tool is None:
            return [*self._shown_thought(), {"text": said.text}]
        if said.cut:
            return self._shown_thought()  # Half a call is none.
        call = FunctionCall(said.tool, msgspec.json.decode(said.text))
        used = {"name": call.name, "args": call.args}
        return [*self._shown_thought(), {"functionCall": used, "thoughtSignature": sign(call)}]

    def _shown_thought(self) -> list[dict[str, Any]]:
        thinking = self._config.thinking_config
        shown = thinking is not None and thinking.include_thoughts and self._thought
        return [{"text": self._thought, "thought": True}] if shown else []

    def _candidate(
        self, index: int, parts: list[dict[str, Any]], text: str, reason: str | None = None
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
        if reason is not None:
            candidate["finishReason"] = reason
        if self._config.response_logprobs and text:
            tokens = [{"token": token, "logProbability": -0.25} for token in chunks(text)]
            tops = [{"candidates": [token]} for token in tokens]
            candidate["logprobsResult"] = {"chosenCandidates": tokens, "topCandidates": tops}
        return candidate

    def _refusal(self) -> dict[str, Any]:
        feedback = {"blockReason": "PROHIBITED_CONTENT"}
        return {"promptFeedback": feedback, "usageMetadata": self._usage(0), **self._head}

    def _usage(self, output: int) -> dict[str, Any]:
        thoughts = min(self._thoughts, output)
        usage: dict[str, Any] = {"promptTokenCount": self.bill.input, "candidatesTokenCount": output - thoughts}
        usage |= {"thoughtsTokenCount": thoughts} if thoughts else {}
        details = [{"modality": "TEXT", "tokenCount": self.bill.input}]
        return usage | {"totalTokenCount": self.bill.input + output, "promptTokensDetails": details}


def _question(model: str, body: Body) -> Question:
    config = body.generation_config
    tool = _wanted_tool(body)
    schema = config.response_json_schema or _plain(config.response_schema or {})
    asks_json = config.response_mime_type == "application/json"
    return Question(
        canonical=_encode((model, body.system_instruction, body.contents, config.seed, schema, tool)),
        prompt=last_words(body.contents),
        sampled=sampled(config.temperature, config.seed),
        seed=config.seed,
        schema=schema if asks_json else None,
        tool=tool,
        limit=config.max_output_tokens,
        choices=config.candidate_count,
    )


def _alone(model: str, body: Body, text: str) -> Question:
    """The question that one item of a packed prompt is: the same conversation with its text as the last turn."""
    last = Content(parts=[Piece(text=text)])
    return _question(model, msgspec.structs.replace(body, contents=[*body.contents[:-1], last]))


def _wanted_tool(body: Body) -> Tool | None:
    """The function that mode ANY makes the model call: an allowed one, or the first."""
    calling = body.tool_config.function_calling_config
    if calling.mode != "ANY":
        return None
    declared = [each for tools in body.tools for each in tools.function_declarations]
    allowed = calling.allowed_function_names
    chosen = [each for each in declared if not allowed or each.name in allowed]
    if not chosen:
        raise Refused(400, "Function calling mode ANY needs a declared function.", param="tool_config")
    function = chosen[0]
    schema = function.parameters_json_schema or _plain(function.parameters or {})
    return Tool(name=function.name, schema=schema or {"type": "object"})


def _plain(schema: Any) -> Any:
    """Google's own kind of schema as JSON Schema: its types are in capitals."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items()}
    return plain | ({"type": plain["type"].lower()} if isinstance(plain.get("type"), str) else {})


def _thought(question: Question, thinking: Thinking | None) -> str:
    if thinking is None or thinking.thinking_budget == 0:
        return ""
    return ramble(f"thought {question.prompt}", THOUGHTS)


def _reason(said: Said) -> str:
    return "MAX_TOKENS" if said.cut else "STOP"
