"""Stored completions (`store: true`) and responses (unless `store: false`): listed, shown, changed, deleted
(shapes: OpenAI SDK 3.52 resources/chat/completions, resources/responses)."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, structs

from batchway.sandbox.contract import Plan, Refused, Route, Visit
from batchway.sandbox.openai.paging import answer, page, query
from batchway.sandbox.openai.reading import explain

COMPLETIONS = "/v1/chat/completions"
RESPONSES = "/v1/responses"

MOST = 10_000
"""Objects that are kept; beyond it the oldest is forgotten."""


class Kept(Struct, kw_only=True):
    """A stored answer; only its owner, an API key, sees it."""

    key: str
    root: str
    whole: dict[str, Any]
    inside: list[dict[str, Any]]
    """The messages of a completion, the input items of a response."""


class _Asked(Struct):
    """What matters here of a request."""

    store: bool | None = None
    stream: bool | None = None
    metadata: dict[str, str] | None = None
    messages: list[dict[str, Any]] = []
    input: str | list[dict[str, Any]] = []


class _Change(Struct):
    metadata: dict[str, str] | None


class _Listing(Struct):
    model: str | None = None
    order: Literal["asc", "desc"] = "asc"
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: str | None = None


_asked = msgspec.json.Decoder(_Asked)
_change = msgspec.json.Decoder(_Change)
_fields = msgspec.json.Decoder(dict[str, Raw])


class Stored:
    """The stored answers of one provider."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def keeping(self, make: Callable[[Visit], Plan], again: Callable[[Visit], Plan]) -> Callable[[Visit], Plan]:
        """The same answers, kept where that was asked for. `again` makes them without being counted."""

        def made(visit: Visit) -> Plan:
            plan = make(visit)
            asked = _asked.decode(visit.body)
            if asked.store or (asked.store is None and visit.path == RESPONSES):
                # A stream once more, whole: its words depend on the visit's number alone.
                whole = again(_unstreamed(visit)) if asked.stream else plan
                self._keep(visit, asked, msgspec.json.decode(whole.parts[0].data))
            return plan

        return made

    def _keep(self, visit: Visit, asked: _Asked, whole: dict[str, Any]) -> None:
        if visit.path == COMPLETIONS:
            whole |= {"metadata": asked.metadata or {}}
            inside = asked.messages
        else:
            inside = asked.input if isinstance(asked.input, list) else [_said(asked.input)]
        named = [{"id": f"{whole['id']}-{number}", **each} for number, each in enumerate(inside)]
        self._kept[whole["id"]] = Kept(key=visit.key, root=visit.path, whole=whole, inside=named)
        if len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def routes(self) -> dict[tuple[str, str], Route]:
        """What can be done with them."""
        completion, response = f"{COMPLETIONS}/{{id}}", f"{RESPONSES}/{{id}}"
        return {
            ("GET", COMPLETIONS): Route("completions.list", self.list),
            ("GET", completion): Route("completions.retrieve", self.show),
            ("POST", completion): Route("completions.update", self.change),
            ("DELETE", completion): Route("completions.delete", self.delete),
            ("GET", f"{completion}/messages"): Route("completions.messages", self.read),
            ("GET", response): Route("responses.retrieve", self.show),
            ("DELETE", response): Route("responses.delete", self.delete),
            ("POST", f"{response}/cancel"): Route("responses.cancel", self.cancel),
            ("GET", f"{response}/input_items"): Route("responses.input_items", self.read),
        }

    def list(self, visit: Visit) -> Plan:
        """GET /v1/chat/completions."""
        wanted = query(visit, _Listing)
        own = [kept.whole for kept in self._kept.values() if (kept.key, kept.root) == (visit.key, COMPLETIONS)]
        found = [whole for whole in own if wanted.model in (None, whole["model"])]
        return page(found if wanted.order == "asc" else found[::-1], wanted.after, wanted.limit)

    def show(self, visit: Visit) -> Plan:
        """GET …/{id}."""
        return answer(self._named(visit).whole)

    def change(self, visit: Visit) -> Plan:
        """POST /v1/chat/completions/{id}: its metadata."""
        kept = self._named(visit)
        try:
            kept.whole["metadata"] = _change.decode(visit.body).metadata or {}
        except msgspec.ValidationError as error:
            raise explain(str(error)) from error
        return answer(kept.whole)

    def delete(self, visit: Visit) -> Plan:
        """DELETE …/{id}."""
        kept = self._named(visit)
        name = kept.whole["id"]
        del self._kept[name]
        kind = "chat.completion.deleted" if kept.root == COMPLETIONS else "response"
        return answer({"object": kind, "id": name, "deleted": True})

    def cancel(self, visit: Visit) -> Plan:
        """POST /v1/responses/{id}/cancel."""
        self._named(visit)
        raise Refused(400, "Cannot cancel a synchronous response.")

    def read(self, visit: Visit) -> Plan:
        """GET …/messages and …/input_items."""
        return page(self._named(visit).inside, None, 100)

    def _named(self, visit: Visit) -> Kept:
        root = COMPLETIONS if visit.path.startswith(COMPLETIONS) else RESPONSES
        name = visit.path.removeprefix(f"{root}/").partition("/")[0]
        kept = self._kept.get(name)
        if kept is None or (kept.key, kept.root) != (visit.key, root):
            raise Refused(404, f"No stored object with the id '{name}'.", param="id")
        return kept


def _unstreamed(visit: Visit) -> Visit:
    fields = _fields.decode(visit.body)
    rest = {name: value for name, value in fields.items() if name not in ("stream", "stream_options")}
    return structs.replace(visit, body=msgspec.json.encode(rest))


def _said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
