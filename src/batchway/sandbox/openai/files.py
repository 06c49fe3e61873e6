"""/v1/files: upload, list, show, delete and read (providers.md §3.1; reading a file that still grows: §9)."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, create_form_parser
from python_multipart.multipart import File as Sent

from batchway.sandbox.blobs import Blob, Blocks, Pile
from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.offers import DAY, HOUR
from batchway.sandbox.openai.paging import answer, page, query
from batchway.sandbox.state import Sandbox

FILES = "/v1/files"
CONTENT = "/content"

PURPOSES = frozenset({"assistants", "batch", "evals", "fine-tune", "user_data", "vision"})

KEPT = 30 * DAY
"""Seconds that input files of batches are kept, and results, unless told otherwise."""

LIFETIME = (HOUR, 30 * DAY)
"""Bounds of `expires_after.seconds`."""

OCTETS = ((b"content-type", b"application/octet-stream"),)
LINES = (b"content-type", b"application/x-ndjson")


class File(Struct, kw_only=True):
    """A stored file; only its owner, an API key, sees it."""

    id: str
    key: str
    purpose: str
    filename: str
    created_at: float
    expires_at: float | None
    content: Blob
    pile: Pile | None = None
    """The lines of a file that can be read while it grows."""
    complete: Callable[[], bool] = lambda: True
    role: Literal["input", "output", "errors"] = "input"
    """What it is to a batch."""


class Form(Struct):
    """What an upload holds."""

    fields: dict[str, str]
    filename: str | None = None
    content: Blob | None = None
    late: list[str] = []
    """Fields that came after the file."""


class Listing(Struct):
    """How to list files."""

    purpose: str | None = None
    order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    after: str | None = None


class Excerpt(Struct):
    """Which lines of a growing file."""

    skip: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=101)] | None = None


class Files:
    """The files of one provider. Others who take files have methods of their own for what is theirs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._files: dict[str, File] = {}

    def upload(self, visit: Visit) -> Plan:
        """POST /v1/files."""
        form = read_form(visit)
        if form.content is None:
            raise Refused(400, "Missing required parameter: 'file'.", param="file")
        purpose = self.purpose(form)
        self._check_limits(visit, form.content)
        file = File(
            id=self.identify(visit.number),
            key=visit.key,
            purpose=purpose,
            filename=form.filename or "upload",
            created_at=visit.at,
            expires_at=self.expiry(form, visit.at),
            content=form.content,
        )
        self.add(file)
        return answer(self.shown(file))

    def identify(self, number: int) -> str:
        """The id of the file with a number."""
        return f"file-{number:024x}"

    def purpose(self, form: Form) -> str:
        """What a file is for. Raises Refused."""
        purpose = form.fields.get("purpose")
        if not purpose:
            raise Refused(400, "Missing required parameter: 'purpose'.", param="purpose")
        if purpose not in PURPOSES:
            raise Refused(400, f"Invalid value for 'purpose': '{purpose}'.", param="purpose", code="invalid_value")
        return purpose

    def expiry(self, form: Form, at: float) -> float | None:
        """Until when a file that is uploaded at that moment is kept; None: for ever. Raises Refused."""
        fields = form.fields
        if "expires_after[seconds]" not in fields and "expires_after[anchor]" not in fields:
            return at + KEPT if fields.get("purpose") == "batch" else None
        seconds = fields.get("expires_after[seconds]", "")
        if fields.get("expires_after[anchor]") != "created_at" or not seconds.isdecimal():
            message = "'expires_after' needs the anchor 'created_at' and a number of seconds."
            raise Refused(400, message, param="expires_after", code="invalid_value")
        return at + lifetime(int(seconds), "expires_after[seconds]")

    def shown(self, file: File) -> dict[str, Any]:
        """A file as it is described."""
        return {
            "id": file.id,
            "object": "file",
            "bytes": file.content.size,
            "created_at": int(file.created_at),
            "filename": file.filename,
            "purpose": file.purpose,
            "status": "processed",
            "expires_at": None if file.expires_at is None else int(file.expires_at),
            "status_details": None,
        }

    def add(self, file: File) -> None:
        """Store a file."""
        self._files[file.id] = file

    def find(self, identity: str, visit: Visit) -> File | None:
        """The file of that id, if it is the visitor's and has not expired."""
        file = self._files.get(identity)
        return file if file is not None and file.key == visit.key and _alive(file, visit.at) else None

    def list(self, visit: Visit) -> Plan:
        """GET /v1/files."""
        wanted = query(visit, Listing)
        found = [self.shown(file) for file in self.own(visit) if wanted.purpose in (None, file.purpose)]
        return page(found if wanted.order == "asc" else found[::-1], wanted.after, wanted.limit)

    def show(self, visit: Visit) -> Plan:
        """GET /v1/files/{id}."""
        return answer(self.shown(self._named(visit)))

    def delete(self, visit: Visit) -> Plan:
        """DELETE /v1/files/{id}."""
        file = self._named(visit)
        del self._files[file.id]
        return answer({"id": file.id, "object": "file", "deleted": True})

    def content(self, visit: Visit) -> Plan:
        """GET /v1/files/{id}/content."""
        file = self._named(visit)
        if file.pile is None:
            return Plan(headers=OCTETS, parts=Blocks(file.content))
        wanted = query(visit, Excerpt)
        first = min(wanted.skip, len(file.pile))
        last = len(file.pile) if wanted.limit is None else min(first + wanted.limit, len(file.pile))
        incomplete = last < len(file.pile) or not file.complete()
        headers = (
            LINES,
            (b"x-incomplete", b"true" if incomplete else b"false"),
            (b"x-last-line", str(last).encode()),
        )
        return Plan(headers=headers, parts=Blocks(file.content, file.pile.start(first), file.pile.start(last)))

    def _named(self, visit: Visit) -> File:
        identity = visit.path.removeprefix(f"{FILES}/").removesuffix(CONTENT)
        file = self.find(identity, visit)
        if file is None or (file.pile is not None and not len(file.pile)):
            raise Refused(404, f"No such File object: {identity}", param="id")
        return file

    def own(self, visit: Visit) -> tuple[File, ...]:
        """The visitor's files, oldest first; what has expired is let go of, and what has no line yet is not shown."""
        self._files = {name: file for name, file in self._files.items() if _alive(file, visit.at)}
        return tuple(
            file for file in self._files.values() if file.key == visit.key and (file.pile is None or len(file.pile))
        )

    def _check_limits(self, visit: Visit, content: Blob) -> None:
        offer = self._sandbox.offer(visit.provider)
        if content.size > offer.most_bytes:
            message = f"File is too large: {content.size} bytes. The maximum is {offer.most_bytes}."
            raise Refused(413, message, param="file", code="file_too_large")
        if offer.most_files is not None and len(self.own(visit)) >= offer.most_files:
            message = f"You have reached the limit of {offer.most_files} files. Delete some and try again."
            raise Refused(400, message, code="file_quota_exceeded")


def read_form(visit: Visit) -> Form:
    """The multipart form of an upload, its file kept on disk if it is large. Raises Refused."""
    form = Form({})

    def on_field(field: Field) -> None:
        form.fields[_text(field.field_name)] = _text(field.value)
        if form.content is not None:
            form.late.append(_text(field.field_name))

    def on_file(sent: Sent) -> None:
        content = Blob(sent.file_object, sent.size)
        if sent.field_name == b"file":
            form.filename, form.content = _text(sent.file_name), content

    kind = visit.header(b"content-type") or ""
    if not kind.startswith("multipart/form-data") or visit.bulk is None:
        raise Refused(400, f"Invalid Content-Type: '{kind}'. Files are sent as multipart/form-data.")
    try:
        parser = create_form_parser({"Content-Type": kind.encode("latin-1")}, on_field, on_file)
        for block in visit.bulk.blocks():
            parser.write(block)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, f"Could not parse multipart form: {error}") from error
    return form


def lifetime(seconds: int, param: str) -> int:
    """Checks how long a file is to be kept. Raises Refused."""
    least, most = LIFETIME
    if not least <= seconds <= most:
        raise Refused(400, f"Invalid '{param}': must be {least} to {most} seconds.", param=param, code="invalid_value")
    return seconds


def _alive(file: File, at: float) -> bool:
    return file.expires_at is None or at < file.expires_at


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
