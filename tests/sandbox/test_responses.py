"""The Responses endpoint: the whole object, the sequence of events, tools, JSON, and what needs a memory."""

import json
from typing import Any, get_type_hints

import httpx2
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from tests.sandbox.speaking import frames, last_line

from batchway.sandbox.openai.responses import KNOWN


async def respond(client: httpx2.AsyncClient, **fields: Any) -> httpx2.Response:
    return await client.post(
        "/v1/responses", json={"model": "m", "input": "What is a fjord?", "temperature": 0} | fields
    )


async def test_whole_and_streamed_say_the_same(client: httpx2.AsyncClient) -> None:
    whole = (await respond(client)).json()
    events = frames((await respond(client, stream=True)).text)
    text = whole["output"][0]["content"][0]["text"]
    assert "What is a fjord?" in text
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == text
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    kinds = [e["type"] for e in events if e["type"] != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[-1]["response"]["usage"] == whole["usage"]
    line = await last_line(client)
    assert (line["input"], line["output"]) == (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"])


async def test_a_limit_makes_it_incomplete(client: httpx2.AsyncClient) -> None:
    short = (await respond(client, max_output_tokens=4)).json()
    assert (short["status"], short["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert short["usage"]["output_tokens"] == 4
    events = frames((await respond(client, max_output_tokens=4, stream=True)).text)
    assert events[-1]["type"] == "response.incomplete"


async def test_messages_instructions_and_json(client: httpx2.AsyncClient) -> None:
    turns = [{"role": "user", "content": [{"type": "input_text", "text": "Name a cliff"}]}]
    shape = {"format": {"type": "json_schema", "name": "x", "schema": {"properties": {"ok": {"type": "boolean"}}}}}
    plain = (await respond(client, input=turns)).json()
    told = (await respond(client, input=turns, instructions="Be brief.")).json()
    assert "Name a cliff" in plain["output"][0]["content"][0]["text"]
    assert told["usage"]["input_tokens"] > plain["usage"]["input_tokens"]
    shaped = (await respond(client, input=turns, text=shape)).json()
    assert json.loads(shaped["output"][0]["content"][0]["text"]) == {"ok": True}


async def test_a_function_is_called(client: httpx2.AsyncClient) -> None:
    tools = [{"type": "function", "name": "look", "parameters": {"properties": {"city": {"type": "string"}}}}]
    call = (await respond(client, tools=tools, tool_choice="required")).json()["output"][0]
    assert (call["type"], call["name"], list(json.loads(call["arguments"]))) == ("function_call", "look", ["city"])
    events = frames((await respond(client, tools=tools, tool_choice="required", stream=True)).text)
    deltas = [e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call["arguments"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"previous_response_id": "resp_1"}, "previous_response_id"), ({"background": True}, "background")],
)
async def test_what_needs_a_memory_is_refused(client: httpx2.AsyncClient, fields: dict[str, Any], param: str) -> None:
    answer = await respond(client, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_known_parameters_are_the_sdks() -> None:
    assert set(get_type_hints(ResponseCreateParamsStreaming)) == KNOWN
