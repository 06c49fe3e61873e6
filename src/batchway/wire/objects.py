"""Objects that OpenAI keeps for its callers: files, batches, stored completions and responses, by path and as JSON.

Paths and fields: OpenAI SDK 3.52 (resources/files, batches, chat/completions, responses).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.wire import body

Kind = Literal["file", "batch", "completion", "response"]
Act = Literal["create", "list", "show", "change", "delete", "read"]
"""What a route does to an object; `read`: what is inside it, which may be large or a stream."""

ROOTS: Mapping[str, Kind] = {
    "/v1/files": "file",
    "/v1/batches": "batch",
    "/v1/chat/completions": "completion",
    "/v1/responses": "response",
}

ROUTES: Mapping[tuple[Kind, str], Mapping[str, Act]] = {
    ("file", ""): {"GET": "list", "POST": "create"},
    ("file", "/{id}"): {"GET": "show", "DELETE": "delete"},
    ("file", "/{id}/content"): {"GET": "read"},
    ("batch", ""): {"GET": "list", "POST": "create"},
    ("batch", "/{id}"): {"GET": "show"},
    ("batch", "/{id}/cancel"): {"POST": "change"},
    # Creating one of these is asking for an answer: `server.openai` does that.
    ("completion", ""): {"GET": "list"},
    ("completion", "/{id}"): {"GET": "show", "POST": "change", "DELETE": "delete"},
    ("completion", "/{id}/messages"): {"GET": "read"},
    ("response", "/{id}"): {"GET": "read", "DELETE": "delete"},
    ("response", "/{id}/cancel"): {"POST": "change"},
    ("response", "/{id}/input_items"): {"GET": "read"},
}
"""What is relayed: by kind and what follows the root of its path, the methods and what each does."""

PAGES: Mapping[Kind, tuple[int, int, str]] = {
    "file": (10_000, 10_000, "desc"),
    "batch": (20, 100, "desc"),
    "completion": (20, 100, "asc"),
}
"""Of a list: how many a page holds unless asked, how many at most, and its order (providers.md §3.1; SDK 3.52).
How many completions at most is a guess: it is not documented."""


class Place(Struct, frozen=True, kw_only=True):
    """Where a path leads to."""

    kind: Kind
    id: str | None
    """None: to all of the kind."""
    acts: Mapping[str, Act]
    """By method."""


def find(path: str) -> Place | None:
    """The place of a path of ours; None: there is none."""
    for root, kind in ROOTS.items():
        rest = path.removeprefix(root)
        if rest != path and (not rest or rest.startswith("/")):
            return _place(kind, rest.split("/")[1:])
    return None


def _place(kind: Kind, steps: Sequence[str]) -> Place | None:
    pattern = "".join(["/{id}", *[f"/{step}" for step in steps[1:]]]) if steps else ""
    acts = ROUTES.get((kind, pattern))
    return None if acts is None or "" in steps else Place(kind=kind, id=steps[0] if steps else None, acts=acts)


class Named(Struct):
    """What matters of an object: its name, when it was made, and the files that a batch has."""

    id: str
    created_at: float | None = None
    created: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def made_at(self) -> float | None:
        """When it was made, as far as it says."""
        return self.created_at if self.created_at is not None else self.created


class Page(Struct):
    """A page of a list."""

    data: list[Raw]
    has_more: bool = False


class _Order(Struct):
    input_file_id: str | None = None


_named = msgspec.json.Decoder(Named)
_page = msgspec.json.Decoder(Page)
_order = msgspec.json.Decoder(_Order)


def named(content: bytes | Raw) -> Named:
    """Read an object. Raises msgspec.DecodeError."""
    return _named.decode(content)


def page(content: bytes | Raw) -> Page:
    """Read a page of a list. Raises msgspec.DecodeError."""
    return _page.decode(content)


def input_file(content: bytes) -> str | None:
    """The file that a batch is to be made of. Raises BadRequest for what cannot be read."""
    try:
        return _order.decode(content).input_file_id
    except msgspec.ValidationError as error:
        raise BadRequest(f"input_file_id: {error}.", param="input_file_id", code="invalid_type") from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error


def files_in(content: bytes) -> frozenset[str]:
    """The files that a request names, wherever in it: `file_id` (of parts), `file_ids` (of tools). Of a field given
    twice both count, since its provider may read either. Raises BadRequest for what cannot be read: whose the files in
    it are could not be told."""
    found: set[str] = set()

    def note(fields: list[tuple[str, object]]) -> None:
        for name, value in fields:
            if name in ("file_id", "file_ids"):
                found.update(each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))

    try:
        json.loads(content, object_pairs_hook=note)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    return frozenset(found)


def join_page(first: bytes, data: Sequence[Raw], *, has_more: bool) -> bytes:
    """A page with this in it, and else what the first of its provider's pages said."""
    fields = body.fields(first)
    ids = [named(each).id for each in data]
    fields["data"] = body.raw(list(data))
    fields["has_more"] = body.raw(has_more)
    fields["first_id"], fields["last_id"] = body.raw(ids[0] if ids else None), body.raw(ids[-1] if ids else None)
    return body.join(fields)


EMPTY_PAGE = b'{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}'
