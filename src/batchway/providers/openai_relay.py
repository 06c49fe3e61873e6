"""Calls about OpenAI's own objects, passed on as they are to a provider that has the same."""

from batchway.core.types import Fault
from batchway.ports import Incoming, Outgoing, Relayed
from batchway.providers.openai import OpenAIDialect


class OpenAIRelay:
    """`ports.RelayDialect` for one account. `errors` reads what the provider refuses."""

    def __init__(self, base_url: str, key: str | None, *, errors: OpenAIDialect) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._errors = errors

    def encode_relay(self, relayed: Relayed, authorization: str | None) -> Outgoing:
        """The same method, path, query and body; only the key is ours."""
        query = f"?{relayed.query}" if relayed.query else ""
        bearer = f"Bearer {self._key}" if self._key is not None else authorization
        headers = relayed.headers if bearer is None else (*relayed.headers, ("authorization", bearer))
        url = f"{self._base_url}{relayed.path}{query}"
        return Outgoing(method=relayed.method, url=url, headers=headers, body=relayed.body)

    def fault(self, incoming: Incoming) -> Fault:
        """The provider's own words, scrubbed of keys."""
        return self._errors.fault(incoming)
