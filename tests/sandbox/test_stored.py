"""Stored completions and responses of the sandbox, as OpenAI's SDK sees them."""

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletion
from tests.sandbox.speaking import ask

QUESTION = "What is a fjord?"


def sdk(client: httpx2.AsyncClient, key: str = "sk-test-9876") -> AsyncOpenAI:
    """The SDK, at the same sandbox."""
    return AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0)


async def stored(client: AsyncOpenAI, text: str = QUESTION, **metadata: str) -> ChatCompletion:
    return await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": text}], store=True, metadata=metadata
    )


async def test_completions_are_kept_where_that_is_asked_for(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as openai:
        await ask(client)
        first, second = await stored(openai, name="a"), await stored(openai, "And a sound?")
        assert [each.id async for each in openai.chat.completions.list()] == [first.id, second.id]
        assert [each.id async for each in openai.chat.completions.list(order="desc", limit=1)] == [second.id, first.id]
        shown = await openai.chat.completions.retrieve(first.id)
        assert shown.choices == first.choices
        assert shown.metadata == {"name": "a"}
        await openai.chat.completions.update(first.id, metadata={"name": "b"})
        assert (await openai.chat.completions.retrieve(first.id)).metadata == {"name": "b"}
        (message,) = (await openai.chat.completions.messages.list(first.id)).data
        assert (message.content, message.id) == (QUESTION, f"{first.id}-0")
        assert (await openai.chat.completions.delete(first.id)).deleted
        with pytest.raises(NotFoundError):
            await openai.chat.completions.retrieve(first.id)


async def test_streams_are_kept_too(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as openai:
        streamed = [
            chunk
            async for chunk in await openai.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": QUESTION}], store=True, stream=True
            )
        ]
        kept = await openai.chat.completions.retrieve(streamed[0].id)
        assert kept.choices[0].message.content == "".join(chunk.choices[0].delta.content or "" for chunk in streamed)


async def test_responses_are_kept_unless_told_otherwise(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as openai:
        kept = await openai.responses.create(model="gpt-4o-mini", input=QUESTION)
        gone = await openai.responses.create(model="gpt-4o-mini", input=QUESTION, store=False)
        assert (await openai.responses.retrieve(kept.id)).output_text == kept.output_text
        (item,) = (await openai.responses.input_items.list(kept.id)).data
        assert item.model_dump()["content"][0]["text"] == QUESTION
        with pytest.raises(BadRequestError):
            await openai.responses.cancel(kept.id)
        await openai.responses.delete(kept.id)
        for name in (kept.id, gone.id):
            with pytest.raises(NotFoundError):
                await openai.responses.retrieve(name)


async def test_another_key_does_not_see_them(client: httpx2.AsyncClient) -> None:
    async with sdk(client) as mine, sdk(client, "sk-other") as other:
        completion = await stored(mine)
        with pytest.raises(NotFoundError):
            await other.chat.completions.retrieve(completion.id)
        assert [each async for each in other.chat.completions.list()] == []
