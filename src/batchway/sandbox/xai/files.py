"""xAI's /v1/files: OpenAI's without purposes, listed by tokens (providers.md §6; field order: github vercel/ai)."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.openai.files import File, Form, lifetime
from batchway.sandbox.openai.files import Files as OpenAIFiles
from batchway.sandbox.openai.paging import answer, query

EXPIRY = "expires_after"


class Listing(Struct):
    """How to list."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    pagination_token: str | None = None


class Files(OpenAIFiles):
    """The files of xAI."""

    def identify(self, number: int) -> str:
        """As xAI names files."""
        return f"file_{number:024x}"

    def purpose(self, _form: Form) -> str:
        """None is kept, whatever is given."""
        return ""

    def expiry(self, form: Form, at: float) -> float | None:
        """`expires_after` is in seconds, and must come before the file."""
        seconds = form.fields.get(EXPIRY)
        if seconds is None:
            return None
        if EXPIRY in form.late:
            raise Refused(400, f"'{EXPIRY}' must come before the file.", param=EXPIRY)
        if not seconds.isdecimal():
            raise Refused(400, f"'{EXPIRY}' must be a number of seconds.", param=EXPIRY)
        return at + lifetime(int(seconds), EXPIRY)

    def list(self, visit: Visit) -> Plan:
        """GET /v1/files: the newest first."""
        found = [self.shown(file) for file in reversed(self.own(visit))]
        rows, token = page(found, query(visit, Listing), "id")
        return answer({"data": rows, "pagination_token": token})

    def shown(self, file: File) -> dict[str, Any]:
        """As xAI describes it."""
        kept = ("id", "object", "bytes", "created_at", "filename", "purpose", "expires_at")
        described = super().shown(file)
        return {name: described[name] for name in kept}


def page(rows: list[dict[str, Any]], wanted: Listing, name: str) -> tuple[list[dict[str, Any]], str | None]:
    """Those after the row that the token names, and the token of the next page if there is one. Raises Refused."""
    names = [str(row[name]) for row in rows]
    if wanted.pagination_token is not None and wanted.pagination_token not in names:
        raise Refused(400, "Invalid pagination token.", param="pagination_token")
    start = 0 if wanted.pagination_token is None else names.index(wanted.pagination_token) + 1
    end = start + wanted.limit
    return rows[start:end], names[end - 1] if end < len(rows) else None
