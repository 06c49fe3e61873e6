"""Who may come in: gateway keys and their scopes, whose key goes to the provider, Host names, origins."""

import asyncio

import pytest
from tests.gate import CHAT, Gate, check_fault, open_gate, settings_of, via

from batchway.core.errors import SettingsError
from batchway.server.serving import check_address
from batchway.settings import KeyEntry, hash_key

INFER, ADMIN = "bw-" + "i" * 43, "bw-" + "a" * 43
KEYS = (
    KeyEntry(name="infer", hash=hash_key(INFER)),
    KeyEntry(name="admin", hash=hash_key(ADMIN), scope="admin"),
)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_gateway_keys() -> None:
    async with open_gate(keys=KEYS) as gate:
        check_fault(await gate.ask(), 401, "missing_api_key")
        check_fault(await gate.http.get("/v1/models"), 401, "missing_api_key")
        for wrong in ("bw-" + "x" * 43, hash_key(INFER), "x", INFER + "x", "sandbox-key"):
            check_fault(await gate.ask(headers=bearer(wrong)), 401, "invalid_api_key")
        check_fault(await gate.ask(headers={"authorization": f"Basic {INFER}"}), 401, "invalid_api_key")
        assert gate.calls == 0
        for key in (INFER, ADMIN):
            assert (await gate.ask(headers=bearer(key))).status_code == 200
            assert (await gate.http.get("/v1/models", headers=bearer(key))).status_code == 200
        for path in ("/stats", "/metrics"):
            check_fault(await gate.http.get(path), 401, "missing_api_key")
            check_fault(await gate.http.get(path, headers=bearer(INFER)), 403, "scope_not_allowed")
            assert (await gate.http.get(path, headers=bearer(ADMIN))).status_code == 200
        assert (await gate.http.get("/health")).status_code == 200, "a load balancer has no key"


async def test_a_key_gives_its_requests_defaults() -> None:
    entry = KeyEntry(name="k", hash=hash_key(INFER), reuse="all")
    async with open_gate(keys=(entry,)) as gate:
        assert [via(await gate.ask(headers=bearer(INFER))) for _ in "12"] == ["direct", "cache"]
        assert via(await gate.ask(headers=bearer(INFER), reuse="off")) == "direct"


async def test_a_callers_bearer_goes_to_the_provider_only_where_the_gateway_has_no_key() -> None:
    async with open_gate() as gate:
        await gate.ask(headers=bearer("sk-caller-0001"))
        assert gate.lines[0].key == "-key", "the gateway's own"
    async with open_gate(keyless=True) as gate:
        await gate.ask(headers=bearer("sk-caller-0001"))
        assert gate.lines[0].key == "0001"
        missing = await gate.ask()
        check_fault(missing, 401, "missing_api_key")
        check_fault(await gate.ask(headers=bearer("invalid")), 401, "invalid_api_key")
        models = await gate.http.get("/v1/models", headers=bearer("sk-caller-0001"))
        assert models.json()["data"]


async def test_each_forwarded_bearer_is_its_own_tenant() -> None:
    async with open_gate(keyless=True) as gate:
        vias = [via(await gate.ask(temperature=0, headers=bearer(key))) for key in ("sk-1", "sk-2", "sk-1", "sk-2")]
        assert vias == ["direct", "direct", "cache", "cache"]
        gate.fault({"kind": "delay", "seconds": 0.2, "count": 2})
        both = [gate.start(text="twin", temperature=0, headers=bearer(key)) for key in ("sk-1", "sk-2")]
        assert [via(answer) for answer in await asyncio.gather(*both)] == ["direct", "direct"]
        assert [line.key for line in gate.lines[:2]] == ["sk-1", "sk-2"]


async def test_with_gateway_keys_no_bearer_is_ever_forwarded() -> None:
    async with open_gate(keyless=True, keys=KEYS) as gate:
        check_fault(await gate.ask(headers=bearer(INFER)), 503, "provider_unconfigured")
        assert gate.calls == 0


async def test_hosts() -> None:
    async with open_gate(allowed_hosts="llm.example.org") as gate:
        port = gate.host.partition(":")[2]
        good = [
            "localhost",
            f"localhost:{port}",
            gate.host,
            "[::1]",
            f"[::1]:{port}",
            "LocalHost",
            "llm.example.org:99",
            "10.0.0.5:8080",
            "[fd00::1]:8080",
        ]
        for host in good:
            assert (await gate.ask(headers={"host": host})).status_code == 200, host
            assert (await gate.http.get("/health", headers={"host": host})).status_code == 200, host
        evil = [
            "evil.example",
            f"evil.example:{port}",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            f"0.0.0.0:{port}",
        ]
        for host in evil:
            for answer in (
                await gate.ask(headers={"host": host}),
                await gate.http.get("/health", headers={"host": host}),
            ):
                check_fault(answer, 403, "host_not_allowed")
        assert gate.calls == len(good)
        looked = await gate.http.head("/health")
        assert (looked.status_code, looked.content) == (200, b""), "load balancers look so"


async def test_pages_of_other_sites_change_nothing() -> None:
    async with open_gate(cors_origins="https://app.example") as gate:
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": f"http://{gate.host}.evil.example"},
            {"origin": "http://app.example"},
            {"sec-fetch-site": "cross-site"},
        ):
            check_fault(await gate.ask(headers=headers), 403, "origin_not_allowed")
        for headers in (
            {"origin": f"http://{gate.host}", "sec-fetch-site": "same-origin"},
            {"origin": "https://app.example", "sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "none"},
        ):
            assert (await gate.ask(headers=headers)).status_code == 200, headers
        assert gate.calls == 3


async def test_cors_is_off_unless_an_origin_is_named(gate: Gate) -> None:
    origin = {"origin": "https://app.example", "access-control-request-method": "POST"}
    for answer in (await gate.http.options(CHAT, headers=origin), await gate.http.get("/health", headers=origin)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    async with open_gate(cors_origins="https://app.example") as opened:
        preflight = await opened.http.options(CHAT, headers=origin)
        assert preflight.status_code == 204
        for answer in (preflight, await opened.http.get("/health", headers=origin), await opened.ask(headers=origin)):
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert answer.headers["vary"] == "origin"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        other = await opened.http.options(CHAT, headers=origin | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "llm.example.org"])
def test_an_open_address_needs_keys(host: str) -> None:
    with pytest.raises(SettingsError, match="batchway keys create"):
        check_address(settings_of(host=host), keyed=False)
    check_address(settings_of(host=host), keyed=True)
    check_address(settings_of(host=host, insecure=True), keyed=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_a_loopback_address_needs_none(host: str) -> None:
    check_address(settings_of(host=host), keyed=False)
