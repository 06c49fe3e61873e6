"""OpenAI chat completions: reading a request and an answer, folding a stream into an answer and back.

Shapes: providers.md §12 and §14. Only what a decision needs is read; everything else stays the bytes it was.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.core.cost import credible
from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Prompt, Usage
from batchway.wire import sse
from batchway.wire.body import fields, given, join, parse
from batchway.wire.hints import HintFields, from_body, refusal
from batchway.wire.reading import Reading
from batchway.wire.sse import Frame

ENDED = frozenset({"stop", "tool_calls", "function_call"})
"""Finish reasons of an answer that ended by itself."""


class _Part(Struct):
    type: str
    text: str | None = None


class _Message(Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: Raw | UnsetType = UNSET
    function_call: Raw | UnsetType = UNSET


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _ChatBody(HintFields):
    model: str | None = None
    messages: list[_Message] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    tools: Raw | UnsetType = UNSET
    functions: Raw | UnsetType = UNSET
    response_format: Raw | UnsetType = UNSET
    audio: Raw | UnsetType = UNSET
    web_search_options: Raw | UnsetType = UNSET


_body = msgspec.json.Decoder(_ChatBody)
_SYSTEM = frozenset({"system", "developer"})
_MEDIA = {"image_url": "images", "input_audio": "audio", "file": "images"}


def read(body: bytes) -> Reading:
    """Read a request. Raises BadRequest that names the field."""
    try:
        chat = _body.decode(body)
    except msgspec.DecodeError as error:
        raise refusal(error, body) from error
    if not chat.messages:
        raise BadRequest("messages: give at least one message.", param="messages", code="missing_required_parameter")
    if chat.n is not None and chat.n < 1:
        raise BadRequest(f"n: {chat.n}; give at least 1.", param="n")
    hints, ours = from_body(chat)
    texts, system, features = _texts(chat.messages)
    last = chat.messages[-1]
    if chat.logprobs or chat.store or _beside(chat) != _NOTHING_BESIDE:
        _body_features(chat, texts, features)
    options = chat.stream_options
    prompt = Prompt(
        model=chat.model or "",
        texts=tuple(texts),
        system="\n".join(system) if system else "",
        stream=chat.stream is True,
        temperature=chat.temperature,
        top_p=chat.top_p,
        seed=chat.seed,
        n=chat.n or 1,
        max_output=chat.max_completion_tokens or chat.max_tokens,
        last_user=_only_text(last) if last.role == "user" else None,
        features=tuple(sorted(features)) if features else (),
    )
    return Reading(
        prompt=prompt,
        hints=hints,
        ours=ours,
        user=chat.safety_identifier or chat.user,
        include_usage=options is not None and options.include_usage is True,
    )


def _texts(messages: list[_Message]) -> tuple[list[str], list[str], set[str]]:
    """All texts in order, those of system messages, and what else the messages hold."""
    texts: list[str] = []
    system: list[str] = []
    features: set[str] = set()
    for message in messages:
        content = message.content
        if isinstance(content, str):
            said = [content]
        elif content is not None:
            said = [part.text for part in content if part.text is not None]
            features.update(_MEDIA[part.type] for part in content if part.type in _MEDIA)
        else:
            said = []
        texts += said
        if message.role in _SYSTEM:
            system += said
        if message.tool_calls is not UNSET or message.function_call is not UNSET:
            for called in (message.tool_calls, message.function_call):
                if (call := given(called)) is not None:
                    texts.append(call.decode())
                    features.add("tools")
    return texts, system, features


def _only_text(message: _Message) -> str | None:
    """The text of a message that is one text and nothing else."""
    content = message.content
    if isinstance(content, list) and len(content) == 1 and content[0].type == "text":
        return content[0].text
    return content if isinstance(content, str) else None


_BESIDE = ("tools", "functions", "web_search_options", "response_format", "audio")
"""Fields beside the messages that ask for something of the model, and what each asks for."""
_FEATURES = ("tools", "tools", "tools", "response_format", "audio")
_NOTHING_BESIDE = (UNSET,) * len(_BESIDE)
_beside = attrgetter(*_BESIDE)


def _body_features(chat: _ChatBody, texts: list[str], features: set[str]) -> None:
    """Add what the fields beside the messages ask for; schemas of tools and formats are read by the model too."""
    for name, value in zip(_FEATURES, _beside(chat), strict=True):
        if (asked := given(value)) is not None:
            features.add(name)
            texts.append(asked.decode())
    if chat.logprobs:
        features.add("logprobs")
    if chat.store:
        features.add("stateful")


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    """Of those, what is kept for an hour: a field of our own, for providers that bill it apart."""


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class ChatUsage(Struct):
    """The usage object of chat completions and of embeddings (which has no completion tokens)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


def usage_of(usage: ChatUsage, tier: str | None) -> Usage | None:
    """Usage in batchway's words; None where it cannot be."""
    read = usage.prompt_tokens_details
    written = usage.completion_tokens_details
    return credible(
        Usage(
            input=usage.prompt_tokens or 0,
            output=usage.completion_tokens or 0,
            cached=(read.cached_tokens or 0) if read else 0,
            cache_written=(read.cache_write_tokens or 0) if read else 0,
            cache_written_hour=(read.cache_write_1h_tokens or 0) if read else 0,
            reasoning=(written.reasoning_tokens or 0) if written else 0,
            tier=tier,
        )
    )


class _Choice(Struct):
    finish_reason: str | None = None


class _OurFields(Struct):
    """What `wire.native.envelope` says on a completion; a provider's own fields of these names give way to it."""

    request_id: Raw | UnsetType = UNSET
    status: Raw | UnsetType = UNSET
    provider: Raw | UnsetType = UNSET
    routed_via: Raw | UnsetType = UNSET
    batch_id: Raw | UnsetType = UNSET
    completed_at: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    content: Raw | UnsetType = UNSET


OUR_FIELDS = _OurFields.__struct_fields__
_ours = attrgetter(*OUR_FIELDS)
_NONE_OF_OURS = (UNSET,) * len(OUR_FIELDS)


class _Completion(_OurFields, kw_only=True):
    choices: list[_Choice]
    usage: ChatUsage | None = None
    service_tier: str | None = None


_completion = msgspec.json.Decoder(_Completion)


def answer(body: bytes, now: float) -> Answer:
    """Read a chat.completion. Raises msgspec.DecodeError when it is not one."""
    completion = _completion.decode(body)
    if _ours(completion) != _NONE_OF_OURS:
        body = join({name: value for name, value in fields(body).items() if name not in OUR_FIELDS})
    return Answer(
        body=body,
        usage=usage_of(completion.usage, completion.service_tier) if completion.usage else None,
        complete=bool(completion.choices) and ENDED.issuperset([choice.finish_reason for choice in completion.choices]),
        finished_at=now,
    )


class _ReplyMessage(Struct):
    content: str | list[Any] | None = None


class _ReplyChoice(Struct):
    message: _ReplyMessage | None = None


class _Reply(Struct):
    choices: list[_ReplyChoice] = []


_reply = msgspec.json.Decoder(_Reply)


def content(body: bytes) -> str | None:
    """The text of the first choice of a chat.completion; None where it is none, or cannot be read as one."""
    try:
        choices = _reply.decode(body).choices
    except ValueError:
        # A convenience beside the choices: an answer that is paid for is not lost over it.
        return None
    message = choices[0].message if choices else None
    return message.content if message and isinstance(message.content, str) else None


class _ChunkChoice(Struct):
    index: int = 0
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_ChunkChoice] | None = None
    usage: ChatUsage | None = None
    service_tier: str | None = None
    error: Raw | UnsetType = UNSET


_chunk = msgspec.json.Decoder(_Chunk)
_encode = msgspec.json.Encoder().encode


class StreamReader:
    """Follows the chunks of one completion of `n` choices: what it cost, whether it ended, and (with `fold`) the
    answer that they add up to."""

    def __init__(self, *, fold: bool, n: int = 1) -> None:
        self._n = n
        self._kept: list[bytes] | None = [] if fold else None
        self._finished: dict[int, str] = {}
        self._choices: set[int] = set()
        self.usage: Usage | None = None
        self.done = False
        self.error: bytes | None = None

    def read(self, frame: bytes, data: bytes) -> Sequence[Frame]:
        """Take one frame, whose data this is. The caller gets it as it is.

        Raises msgspec.DecodeError when it is not a chunk.
        """
        if data == b"[DONE]":
            self.done = True
            return ()
        chunk = _chunk.decode(data)
        if (error := given(chunk.error)) is not None:
            self.error = error
            return ()
        for choice in chunk.choices or ():
            self._choices.add(choice.index)
            if choice.finish_reason is not None:
                self._finished[choice.index] = choice.finish_reason
        if chunk.usage is not None:
            self.usage = usage_of(chunk.usage, chunk.service_tier)
        if self._kept is not None:
            self._kept.append(data)
        return ((frame, chunk.usage is not None and not chunk.choices),)

    @property
    def whole(self) -> bool:
        """Every choice that began has ended: a stream that stops before that was cut, even if it stops politely.

        Choices may come one after the other, so all that were asked for must have begun. The end mark stands in for
        those that never do: some providers give one choice, whatever `n` asks.
        """
        begun = self._choices
        return bool(begun) and begun <= self._finished.keys() and (self.done or len(begun) >= self._n)

    def answer(self, now: float) -> Answer:
        """The answer. Its body is the folded object, or empty when the chunks were not kept."""
        return Answer(
            body=fold(self._kept) if self._kept is not None else b"",
            usage=self.usage,
            complete=self.whole and all(reason in ENDED for reason in self._finished.values()),
            finished_at=now,
        )


def fold(chunks: list[bytes]) -> bytes:
    """The chat.completion that a stream of chunks adds up to."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for data in chunks:
        chunk = parse(data)
        for piece in chunk.pop("choices", None) or ():
            index = piece.get("index", 0)
            choice = choices.setdefault(index, {"index": index, "message": {}})
            _merge(choice["message"], piece.pop("delta", None) or {})
            if piece.get("logprobs") is not None:
                _merge(choice, {"logprobs": piece.pop("logprobs")})
            _set(choice, piece)
        chunk.pop("obfuscation", None)
        _set(whole, chunk)
    whole["object"] = "chat.completion"
    whole["choices"] = [choices[index] for index in sorted(choices)]
    for choice in whole["choices"]:
        choice["message"].setdefault("role", "assistant")
        choice["message"].setdefault("content", None)
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
    return _encode(whole)


def _set(known: dict[str, Any], said: dict[str, Any]) -> None:
    """What was said last holds; null and the empty text say nothing."""
    known.update({name: value for name, value in said.items() if value not in (None, "") or name not in known})


_NAMING = frozenset({"id", "role", "type"})
"""Texts of a delta that name something: some providers repeat them, whole or empty, with every piece."""


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to the message so far: texts grow, lists are merged by their index, the rest is set."""
    for name, value in delta.items():
        before = message.get(name)
        if isinstance(value, str) and isinstance(before, str) and name not in _NAMING:
            message[name] = before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            _merge(before, value)
        elif isinstance(value, list) and (isinstance(before, list) or before is None):
            message[name] = _merge_items(before or [], value)
        else:
            _set(message, {name: value})


def _merge_items(items: list[Any], pieces: list[Any]) -> list[Any]:
    for piece in pieces:
        known = next((item for item in items if _index(item) == _index(piece) is not None), None)
        if known is None:
            items.append(piece)
        else:
            _merge(known, piece)
    return items


def _index(item: Any) -> int | None:
    return item.get("index") if isinstance(item, dict) else None


def unfold(body: bytes) -> list[Frame]:
    """The frames of a stream that adds up to this chat.completion; True marks the one that only holds the usage.
    The end mark is left to whoever sends them."""
    whole = parse(body)
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    frames: list[Frame] = []
    for position, choice in enumerate(whole["choices"]):
        index = choice.get("index", position)
        message = dict(choice.get("message") or {})
        if message.get("tool_calls"):
            message["tool_calls"] = [{"index": at, **call} for at, call in enumerate(message["tool_calls"])]
        others = {name: value for name, value in choice.items() if name != "message"}
        # As OpenAI does: the role first, alone. The SDK doubles the logprobs of a choice that they come with.
        begin = {"index": index, "delta": {"role": message.pop("role", "assistant")}, "finish_reason": None}
        piece = {**others, "index": index, "delta": message, "finish_reason": None}
        end = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
        frames += [(sse.frame(_encode({**head, "choices": [part]})), False) for part in (begin, piece, end)]
    if whole.get("usage"):
        frames.append((sse.frame(_encode({**head, "choices": [], "usage": whole["usage"]})), True))
    return frames
