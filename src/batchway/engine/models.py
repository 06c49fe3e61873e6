"""The models that callers may name: asked from every configured provider, kept for a minute."""

import asyncio
from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct, structs

from batchway.core.errors import KeyRefused, NotFound, Refusal, UpstreamMalformed, UpstreamRefused
from batchway.ports import Clock, Dialect, Incoming, Sender
from batchway.wire import body

KEEP = 60.0
"""Seconds that a list is kept: enough for a page that asks often, short enough to see a new model."""


class _List(Struct):
    data: list[dict[str, Raw]]


_list = msgspec.json.Decoder(_List)


class Models:
    """Lists and looks up. The default provider's models keep their names, the others' get `provider/` before them."""

    def __init__(
        self,
        dialects: Mapping[str, Dialect],
        default: str,
        sender: Sender,
        clock: Clock,
        *,
        key_settings: Mapping[str, str],
    ) -> None:
        """`key_settings`: where the gateway's own keys are set, by provider."""
        self._dialects = dialects
        self._default = default
        self._sender = sender
        self._clock = clock
        self._key_settings = key_settings
        self._kept: tuple[float, bytes] | None = None

    async def list_all(self, authorization: str | None) -> tuple[bytes, str]:
        """All models in OpenAI's list shape, and which providers did not answer. A forwarded bearer is not kept for."""
        now = self._clock.now()
        if authorization is None and self._kept is not None and self._kept[0] > now:
            return self._kept[1], ""
        asked = [self._models_of(name, authorization) for name in self._dialects]
        found = dict(zip(self._dialects, await asyncio.gather(*asked), strict=True))
        models = [model for listed in found.values() if not isinstance(listed, str) for model in listed]
        silent = "; ".join(f"{name}: {listed}" for name, listed in found.items() if isinstance(listed, str))
        content = body.join({"object": body.raw("list"), "data": body.raw(models)})
        if authorization is None and not silent:
            self._kept = (now + KEEP, content)
        return content, silent

    async def _models_of(self, provider: str, authorization: str | None) -> list[dict[str, Raw]] | str:
        """The models of one provider, or why there are none to show."""
        try:
            dialect = self._dialects[provider]
            incoming = await self._sender.send(dialect.encode_models(None, authorization))
            if incoming.status != 200:
                return f"answered {incoming.status}"
            models = _list.decode(dialect.decode_models(incoming.body)).data
        except Refusal as refusal:
            return refusal.fault.message
        except msgspec.DecodeError as error:
            return f"its list cannot be read ({error})"
        if provider != self._default:
            for model in models:
                name = msgspec.json.decode(model["id"], type=str)
                model["id"] = body.raw(f"{provider}/{name}")
        return models

    async def look_up(self, provider: str, model: str, authorization: str | None) -> Incoming:
        """One model as its provider describes it. Raises NotFound for what is no name (`..` would lead elsewhere), and
        UpstreamRefused."""
        if not {"", ".", ".."}.isdisjoint(model.split("/")):
            raise NotFound(f"'{model[:100]}' is not the name of a model.", param="model", code="model_not_found")
        dialect = self._dialects[provider]
        incoming = await self._sender.send(dialect.encode_models(model, authorization))
        if incoming.status != 200:
            fault = KeyRefused.or_as_it_is(dialect.fault(incoming), provider, self._key_settings.get(provider))
            raise UpstreamRefused(fault)
        try:
            return structs.replace(incoming, body=dialect.decode_models(incoming.body))
        except msgspec.DecodeError as error:
            what = f"'{provider}' described '{model}' in a way that cannot be read ({error})."
            raise UpstreamMalformed(what) from error
