"""The endpoints of the OpenAI front as a table: where each lives and how its requests and answers are read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from batchway.core.types import Answer, Endpoint, Prompt, Usage
from batchway.wire import chat, embeddings, responses
from batchway.wire.reading import Reading
from batchway.wire.sse import Frame


class StreamReader(Protocol):
    """Follows the frames of one stream of a provider, and says what its caller gets of each.

    `wire.chat.StreamReader` passes frames on as they are; a dialect that speaks otherwise makes others of them.
    """

    done: bool
    """The mark that ends the stream has come."""
    error: bytes | None
    """The error object that came instead of an answer."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def whole(self) -> bool: ...
    def read(self, frame: bytes, data: bytes) -> Sequence[Frame]:
        """Take one frame and its data (`sse.payload`). The frames that the caller gets for it: none for end marks,
        which the server sends when all is told, and for errors. Raises msgspec.DecodeError where it cannot be read."""
        ...

    def answer(self, now: float) -> Answer: ...


class Front(Struct, frozen=True, kw_only=True):
    """How one endpoint is spoken."""

    endpoint: Endpoint
    path: str
    """Below the provider's base URL, and below `/v1` of ours."""
    read: Callable[[bytes], Reading]
    answer: Callable[[bytes, float], Answer]
    follow: Callable[[Prompt, bool], StreamReader] | None = None
    """Makes a reader for the stream that answers a prompt, told whether to keep what is needed to fold it. None: the
    endpoint does not stream."""
    unfold: Callable[[bytes], list[Frame]] | None = None
    """The frames that an answer is as a stream, and which of them only hold the usage."""
    end_mark: bool = False
    """A stream ends with `data: [DONE]`."""
    enveloped: bool = False
    """Answers carry our fields (`request_id`, `routed_via`, …) beside the provider's."""


FRONTS: Mapping[Endpoint, Front] = {
    "chat": Front(
        endpoint="chat",
        path="/chat/completions",
        read=chat.read,
        answer=chat.answer,
        follow=lambda prompt, fold: chat.StreamReader(fold=fold, n=prompt.n),
        unfold=chat.unfold,
        end_mark=True,
        enveloped=True,
    ),
    "embeddings": Front(endpoint="embeddings", path="/embeddings", read=embeddings.read, answer=embeddings.answer),
    "responses": Front(
        endpoint="responses",
        path="/responses",
        read=responses.read,
        answer=responses.answer,
        follow=lambda _prompt, _fold: responses.StreamReader(),
        unfold=responses.unfold,
    ),
}
