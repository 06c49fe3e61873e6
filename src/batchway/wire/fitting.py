"""Which texts of a chat body may be shortened, and the body with new texts put in: all other values stay as they came.

    texts = fitting.texts(body)
    fitted = compress.fit(texts, budget, count)
    body = fitting.replace(body, fitted.texts)

The texts are those of the prompt (`wire.chat`), in its order, so that what is counted here is what is counted there.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.core.compress import Text
from batchway.core.spans import is_data
from batchway.wire import body as whole
from batchway.wire.body import Fields, given
from batchway.wire.hints import refusal

SYSTEM = frozenset({"system", "developer"})
RESULTS = frozenset({"tool", "function"})
"""Roles of what tools returned."""

READ_BESIDE = ("tools", "functions", "web_search_options", "response_format", "audio")
"""Fields beside the messages that the model reads, in the order of `wire.chat`."""


class _Message(Struct):
    role: str
    content: Raw | UnsetType = UNSET
    tool_calls: Raw | UnsetType = UNSET
    function_call: Raw | UnsetType = UNSET


class _Part(Struct):
    type: str
    text: str | None = None


class _Place(Struct, frozen=True, kw_only=True):
    """Where a text stands: in which message, and in which part of its content."""

    message: int | None
    part: int | None = None


_messages = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_Message)
_content = msgspec.json.Decoder(str | list[Raw])
_part = msgspec.json.Decoder(_Part)


def texts(body: bytes) -> list[Text]:
    """Every text that the model will read, and whether it may be shortened. Raises BadRequest that names the field.

    Protected are system and developer messages, the last user message (with every part of it), calls of tools and
    their definitions, and what tools returned unless it is plain prose. Turns are counted up at each user message.
    """
    return [text for _, text in _read(body)]


def replace(body: bytes, texts: Sequence[str]) -> bytes:
    """The body with these texts in place of those that `texts` gave. ValueError if one is missing, or was protected."""
    changed: dict[int, list[tuple[int | None, str]]] = {}
    for (place, before), text in zip(_read(body), texts, strict=True):
        if text == before.text:
            continue
        if before.protected or place.message is None:
            raise ValueError(f"a protected text of {before.role} was changed")
        changed.setdefault(place.message, []).append((place.part, text))
    if not changed:
        return body
    fields = whole.fields(body)
    messages = _messages.decode(fields["messages"])
    for at, parts in changed.items():
        messages[at] = _with_texts(messages[at], parts)
    fields["messages"] = whole.raw(messages)
    return whole.join(fields)


def _with_texts(message: Raw, parts: Sequence[tuple[int | None, str]]) -> Raw:
    """The message with new texts in these parts of its content (None: the content itself)."""
    fields = whole.fields(bytes(message))
    for number, text in parts:
        if number is None:
            fields["content"] = whole.raw(text)
            continue
        content = _messages.decode(fields["content"])
        part = whole.fields(bytes(content[number]))
        part["text"] = whole.raw(text)
        content[number] = whole.raw(part)
        fields["content"] = whole.raw(content)
    return whole.raw(fields)


def _read(body: bytes) -> list[tuple[_Place, Text]]:
    """Each text with its place."""
    try:
        fields = whole.fields(body)
        messages = [_message.decode(raw) for raw in _messages.decode(given(fields.get("messages", UNSET)) or b"[]")]
        found = list(_said(messages))
    except msgspec.DecodeError as error:
        raise refusal(error) from error
    return found + list(_beside(fields, turn=found[-1][1].turn if found else 0))


def _said(messages: Sequence[_Message]) -> Iterator[tuple[_Place, Text]]:
    asked = [at for at, message in enumerate(messages) if message.role == "user"]
    turn = 0
    for at, message in enumerate(messages):
        turn += message.role == "user"
        settled = message.role in SYSTEM or at in asked[-1:]
        for part, text, plain in _texts_of(message):
            protected = settled or not plain or (message.role in RESULTS and is_data(text))
            yield _Place(message=at, part=part), Text(role=message.role, text=text, protected=protected, turn=turn)
        for called in (message.tool_calls, message.function_call):
            if (call := given(called)) is not None:
                yield _Place(message=at), Text(role=message.role, text=call.decode(), protected=True, turn=turn)


def _texts_of(message: _Message) -> Iterator[tuple[int | None, str, bool]]:
    """Part, text, and whether it is plain text rather than a kind of part that we do not know."""
    content = given(message.content)
    if content is None:
        return
    said = _content.decode(content)
    if isinstance(said, str):
        yield None, said, True
        return
    for number, raw in enumerate(said):
        part = _part.decode(raw)
        if part.text is not None:
            yield number, part.text, part.type == "text"


def _beside(fields: Fields, turn: int) -> Iterator[tuple[_Place, Text]]:
    for name in READ_BESIDE:
        if (asked := given(fields.get(name, UNSET))) is not None:
            yield _Place(message=None), Text(role=name, text=asked.decode(), protected=True, turn=turn)
