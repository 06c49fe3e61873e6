"""Mistral's /v1/files: uploads with hours to live, lists by page numbers (shapes: SDK mistralai 3.7, FileSchema)."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.offers import HOUR
from batchway.sandbox.openai.files import File, Form
from batchway.sandbox.openai.files import Files as OpenAIFiles
from batchway.sandbox.openai.paging import answer, query

PURPOSES = frozenset({"fine-tune", "batch", "ocr", "agentic_safety"})

_SAMPLES = {"input": "batch_request", "output": "batch_result", "errors": "batch_error"}


class Listing(Struct):
    """How to list files."""

    page: Annotated[int, Meta(ge=0)] = 0
    page_size: Annotated[int, Meta(ge=1)] = 100
    purpose: str | None = None
    search: str | None = None
    include_total: bool = True


class Files(OpenAIFiles):
    """The files of Mistral."""

    def identify(self, number: int) -> str:
        """A UUID."""
        return identify("file", number)

    def purpose(self, form: Form) -> str:
        """Fine-tuning, if nothing is said."""
        purpose = form.fields.get("purpose", "fine-tune")
        if purpose not in PURPOSES:
            raise Refused(422, f"Input should be one of {sorted(PURPOSES)}", param="purpose", code="enum")
        return purpose

    def expiry(self, form: Form, at: float) -> float | None:
        """`expiry` is in hours."""
        hours = form.fields.get("expiry")
        if hours is None:
            return None
        if not hours.isdecimal() or not int(hours):
            raise Refused(422, "Input should be a valid integer", param="expiry", code="int_parsing")
        return at + int(hours) * HOUR

    def list(self, visit: Visit) -> Plan:
        """GET /v1/files: the newest first."""
        wanted = query(visit, Listing)
        found = [
            self.shown(file)
            for file in reversed(self.own(visit))
            if wanted.purpose in (None, file.purpose) and (wanted.search or "") in file.filename
        ]
        start = wanted.page * wanted.page_size
        total = {"total": len(found)} if wanted.include_total else {}
        return answer({"object": "list", "data": found[start : start + wanted.page_size], **total})

    def shown(self, file: File) -> dict[str, Any]:
        """As Mistral describes it."""
        return {
            "id": file.id,
            "object": "file",
            "bytes": file.content.size,
            "created_at": int(file.created_at),
            "filename": file.filename,
            "purpose": file.purpose,
            "sample_type": _SAMPLES[file.role] if file.purpose == "batch" else "instruct",
            "num_lines": sum(1 for _ in file.content.lines()),
            "mimetype": "application/jsonl",
            "source": "upload" if file.role == "input" else "mistral",
            "signature": file.content.digest(),
            "expires_at": None if file.expires_at is None else int(file.expires_at),
            "visibility": "workspace",
            "deleted": False,
        }


def identify(kind: str, number: int) -> str:
    """A UUID that is the same for the same kind and number."""
    return str(UUID(bytes=kind.encode()[:4].ljust(4) + number.to_bytes(12, "big"), version=4))
