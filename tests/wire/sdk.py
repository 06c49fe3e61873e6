"""The official SDK as the reader of our streams: its own client, over a transport that answers with given bytes."""

from typing import Any

import httpx2
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseStreamEvent


def _client(stream: bytes) -> OpenAI:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return OpenAI(api_key="sk-test", base_url="http://upstream.test/v1", http_client=http, max_retries=0)


def streamed_chat(stream: bytes) -> ChatCompletion:
    """The completion that the SDK adds the chunks up to, its tools and formats left as text."""
    with _client(stream) as client:
        state: Any = ChatCompletionStreamState()
        for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
            state.handle_chunk(chunk)
        snapshot: ChatCompletion = state.current_completion_snapshot
        return snapshot


def streamed_events(stream: bytes) -> list[ResponseStreamEvent]:
    """The events of a response as the SDK reads them."""
    with _client(stream) as client:
        return list(client.responses.create(model="m", input="x", stream=True))


def streamed_response(stream: bytes) -> tuple[Response, Response]:
    """What the SDK adds the events up to, and the response that it takes as the final one."""
    with _client(stream) as client, client.responses.stream(model="m", input="x") as events:
        built = None
        for event in events:
            if event.type != "response.completed":
                built = events._state._ResponseStreamState__current_snapshot  # type: ignore[attr-defined]
        assert built is not None
        return built, events.get_final_response()
