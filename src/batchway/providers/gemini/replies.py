"""What Gemini answers, as it is read, and its candidates in the words of OpenAI's deltas."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

REASONS: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "OTHER": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "NO_IMAGE": "content_filter",
}
"""Finish reasons (providers.md §11, [G] FinishReason). One that is not known goes out in lower case: whoever reads it
sees that the answer did not just stop."""

FAILURES: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
"""Finish reasons of an answer that is none: `stop` would pass it off as one."""

TIERS: Final[Mapping[str, str]] = {"standard": "default", "flex": "flex", "priority": "priority"}
"""Gemini's names of service tiers -> OpenAI's."""


class Blob(Struct, rename="camel"):
    """Bytes in base64."""

    data: str = ""
    mime_type: str = "application/octet-stream"


class FunctionCall(Struct):
    """A call, whole: Gemini does not send it in pieces."""

    name: str
    args: Raw | UnsetType = UNSET
    id: str | None = None


class Part(Struct, rename="camel"):
    """A piece of an answer."""

    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None


class _Content(Struct):
    parts: list[Part] = []


class _Token(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Top(Struct):
    candidates: list[_Token] = []


class Logprobs(Struct, rename="camel"):
    """What was said and what was likely, token by token."""

    chosen_candidates: list[_Token] = []
    top_candidates: list[_Top] = []


class Candidate(Struct, rename="camel"):
    """One answer, or a piece of it."""

    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    logprobs_result: Logprobs | None = None


class Usage(Struct, rename="camel"):
    """Tokens. `prompt` includes what was cached; thoughts and tools' inputs are counted apart."""

    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    total_token_count: int | None = None
    service_tier: str | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class Reply(Struct, rename="camel"):
    """A whole GenerateContentResponse, or a fragment of one."""

    candidates: list[Candidate] = []
    usage_metadata: Usage | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Raw | UnsetType = UNSET

    @property
    def block_reason(self) -> str | None:
        """Why the prompt was not answered at all, if it was not."""
        return self.prompt_feedback.block_reason if self.prompt_feedback else None


_reply = msgspec.json.Decoder(Reply)


def read_reply(content: bytes) -> Reply:
    """Raises msgspec.DecodeError where it is none: no candidate, no block, no usage, no error."""
    reply = _reply.decode(content)
    if not (reply.candidates or reply.block_reason or reply.usage_metadata) and reply.error is UNSET:
        raise msgspec.DecodeError("neither candidates nor a reason why there are none")
    return reply


class Voice:
    """One candidate as it goes on: counts its calls, and says what every piece adds to OpenAI's message."""

    def __init__(self, identity: str, index: int) -> None:
        self._identity = identity
        self._index = index
        self._calls = 0
        self._signed = False

    def say(self, candidate: Candidate) -> dict[str, Any]:
        """The delta of this piece; empty if it adds nothing."""
        delta: dict[str, Any] = {}
        for part in candidate.content.parts if candidate.content else ():
            if part.function_call is not None:
                delta.setdefault("tool_calls", []).append(self._call(part, part.function_call))
                continue
            if part.text or (part.text == "" and not self._calls):  # Beside a call, an empty text says nothing.
                name = "reasoning_content" if part.thought else "content"
                delta[name] = delta.get(name, "") + part.text
            if part.inline_data is not None:
                delta.setdefault("images", []).append(_image(part.inline_data))
            if part.thought_signature and not self._signed:
                # One only: whoever adds up a stream joins texts, and two signatures would be none.
                self._signed = True
                delta["extra_content"] = _extra(part.thought_signature)
        return delta

    def _call(self, part: Part, function: FunctionCall) -> dict[str, Any]:
        place, self._calls = self._calls, self._calls + 1
        arguments = "{}" if function.args is UNSET else msgspec.json.format(function.args, indent=-1).decode()
        call = {
            "index": place,
            "id": function.id or f"call_{self._identity}_{self._index}_{place}",
            "type": "function",
            "function": {"name": function.name, "arguments": arguments},
        }
        return call | ({"extra_content": _extra(part.thought_signature)} if part.thought_signature else {})

    def end(self, reason: str) -> str:
        """OpenAI's finish reason for this end."""
        return "tool_calls" if reason == "STOP" and self._calls else REASONS.get(reason, reason.lower())


def _extra(signature: str) -> dict[str, Any]:
    return {"google": {"thought_signature": signature}}


def _image(blob: Blob) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{blob.mime_type};base64,{blob.data}"}}


def spell_logprobs(logprobs: Logprobs) -> dict[str, Any]:
    """OpenAI's `logprobs` of a choice."""
    tops = [top.candidates for top in logprobs.top_candidates]
    tops += [[]] * (len(logprobs.chosen_candidates) - len(tops))
    chosen = zip(logprobs.chosen_candidates, tops, strict=False)
    content = [_token(token) | {"top_logprobs": [_token(each) for each in top]} for token, top in chosen]
    return {"content": content, "refusal": None}


def _token(token: _Token) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(token.token.encode())}


def spell_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage: what tools put in counts as prompt, thoughts as completion (providers.md §11)."""
    prompt = usage.prompt_token_count + usage.tool_use_prompt_token_count
    completion = usage.candidates_token_count + usage.thoughts_token_count
    total = usage.total_token_count
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_content_token_count},
        "completion_tokens_details": {"reasoning_tokens": usage.thoughts_token_count},
    }
