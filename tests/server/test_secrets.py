"""Keys go to their provider and nowhere else: not into logs, numbers, errors or what `batchway config` prints."""

import asyncio
import base64
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import httpx2
from tests.gate import CHAT, open_gate
from tests.server.process import Process, batchway, body

PROVIDER_KEY = "sk-proj-Pl4nted+Provider/Key0123456789"
BEARER = "sk-user-Pl4nted+Caller/Key9876543210"
PROMPT = "a-prompt-nobody-else-should-read"


def spellings(secret: str) -> list[str]:
    """What it may hide as."""
    given = secret.encode()
    return [secret, base64.b64encode(given).decode(), quote(secret, safe=""), sha256(given).hexdigest()]


async def test_no_secret_leaves(tmp_path: Path) -> None:
    async with open_gate(sandbox={"keys": [PROVIDER_KEY]}) as provider:
        environment = {
            "OPENAI_BASE_URL": f"{provider.upstream}/v1",
            "OPENAI_API_KEY": PROVIDER_KEY,
            # Without a key: here the caller's own is forwarded, and refused by the provider with its own words.
            "XAI_BASE_URL": f"{provider.upstream}/grok/v1",
            "BATCHWAY_REQUEST_TIMEOUT": "1",
        }
        arguments = ("start", "--port", "0", "--log-level", "debug")
        async with batchway(*arguments, environment=environment, folder=str(tmp_path)) as gateway:
            await gateway.ready()
            seen = await _mixed_load(gateway, provider.fault)
            gateway.stop()
            assert await gateway.ended() == 0
        assert provider.lines[0].outcome == "completed", "the key reached its provider"
        assert {line.key for line in provider.lines if line.provider == "grok"} == {BEARER[-4:]}
        async with batchway("config", environment=environment, folder=str(tmp_path)) as config:
            assert await config.ended() == 0
        seen += [gateway.said, config.said, config.printed]
        assert "OPENAI_API_KEY" in config.printed
        assert "call failed" in gateway.said
        for secret in (PROVIDER_KEY, BEARER):
            for spelling in spellings(secret):
                assert not [text for text in seen if spelling in text], spelling
        assert PROMPT not in gateway.said, "bodies are not logged"


async def _mixed_load(gateway: Process, fault: "object") -> list[str]:
    """Answers and errors of all kinds, with a bearer. Everything that the gateway answered."""
    assert callable(fault)
    quoting = {"kind": "status", "status": 401, "message": f"Incorrect API key provided: {PROVIDER_KEY} {BEARER}"}
    headers = {"authorization": f"Bearer {BEARER}"}
    async with httpx2.AsyncClient(base_url=gateway.address, timeout=30, headers=headers) as client:
        answers = [await client.post(CHAT, content=body(PROMPT)), await client.post(CHAT, content=b"{")]
        answers.append(await client.post(CHAT, content=body(PROMPT, provider="grok")))
        for rule in (
            quoting,
            {"kind": "error_frame", "message": f"key {PROVIDER_KEY} Bearer {BEARER}"},
            {"kind": "drop", "accepted": True},
            {"kind": "malformed_body", "text": f"not JSON: {PROVIDER_KEY}"},
            {"kind": "delay", "seconds": 3},
        ):
            fault(rule)
            answers.append(await client.post(CHAT, content=body(PROMPT, stream=rule["kind"] == "error_frame")))
        answers += await asyncio.gather(*(client.get(path) for path in ("/metrics", "/stats", "/health", "/v1/models")))
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 502, 504}
    return [answer.text + str(answer.headers) for answer in answers]
