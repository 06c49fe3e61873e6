"""Google's Files API as batches use it: resumable uploads, showing, downloading and deleting (providers.md §5.1)."""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, parse_qsl

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.blobs import Blob, Blocks
from batchway.sandbox.contract import Headers, Part, Plan, Refused, Visit
from batchway.sandbox.gemini.reading import JSON, read
from batchway.sandbox.offers import DAY
from batchway.sandbox.state import Sandbox

KEPT = 2 * DAY
"""Seconds that a file is kept."""

LONGEST_NAME = 40
"""Characters that a name may have where a file is deleted. Names of results have more (failures.md #17)."""

LINES: Headers = ((b"content-type", b"application/jsonl"),)


class Asked(Struct, rename="camel"):
    """What is said of a file before it is uploaded."""

    display_name: str | None = None
    mime_type: str | None = None
    name: str | None = None


class _Start(Struct):
    file: Asked = msgspec.field(default_factory=Asked)


class Listing(Struct, rename="camel"):
    """How to list."""

    page_size: Annotated[int, Meta(ge=1, le=1000)] = 50
    page_token: str | None = None


class File(Struct, kw_only=True):
    """A stored file; only its owner, an API key, sees it."""

    name: str
    key: str
    display_name: str | None
    mime_type: str
    created_at: float
    content: Blob
    generated: bool = False
    """It holds results: it can be downloaded, what was uploaded cannot."""


class _Upload(Struct, kw_only=True):
    """An upload under way. Whoever has its id may go on with it, without a key."""

    key: str
    asked: Asked
    kind: str
    size: int | None
    content: Blob


class Files:
    """The files of one provider."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._files: dict[str, File] = {}
        self._uploads: dict[str, _Upload] = {}

    def upload(self, visit: Visit) -> Plan:
        """POST /upload/{version}/files: begins an upload, or goes on with one."""
        identity = parse_qs(visit.query.decode("latin-1")).get("upload_id")
        if identity is None:
            return self._start(visit)
        upload = self._uploads.get(identity[0])
        if upload is None:
            raise Refused(404, "Upload session not found.")
        return self._go_on(identity[0], upload, visit)

    def _start(self, visit: Visit) -> Plan:
        said = [visit.header(name) for name in (b"x-goog-upload-protocol", b"x-goog-upload-command")]
        if said != ["resumable", "start"]:
            raise Refused(400, "The sandbox takes resumable uploads only.")
        length = visit.header(b"x-goog-upload-header-content-length") or ""
        size = int(length) if length.isdecimal() else None
        most = self._sandbox.offer(visit.provider).most_bytes
        if size is not None and size > most:
            raise Refused(413, f"The file is too large: {size} bytes. The maximum is {most}.")
        asked = read(_whole(visit), _Start, frozenset({"file"})).file
        kind = visit.header(b"x-goog-upload-header-content-type") or asked.mime_type or "application/octet-stream"
        identity = f"{visit.number:024x}"
        self._uploads[identity] = _Upload(key=visit.key, asked=asked, kind=kind, size=size, content=Blob())
        query = f"upload_id={identity}&upload_protocol=resumable"
        url = f"http://{visit.header(b'host')}/{visit.provider}{visit.path}?{query}"
        return Plan(headers=(*JSON, (b"x-goog-upload-url", url.encode()), _status("active")), parts=(Part(b""),))

    def _go_on(self, identity: str, upload: _Upload, visit: Visit) -> Plan:
        commands = [each.strip() for each in (visit.header(b"x-goog-upload-command") or "").split(",")]
        if visit.header(b"x-goog-upload-offset") != str(upload.content.size) or commands[0] != "upload":
            raise Refused(400, f"The upload goes on at offset {upload.content.size}.")
        for block in visit.bulk.blocks() if visit.bulk is not None else ():
            upload.content.append(block)
        if "finalize" not in commands:
            return Plan(headers=(*JSON, _status("active")), parts=(Part(b""),))
        if upload.size is not None and upload.content.size != upload.size:
            raise Refused(400, f"{upload.content.size} bytes were uploaded where {upload.size} were announced.")
        del self._uploads[identity]
        file = File(
            name=upload.asked.name or f"files/{visit.number:012x}",
            key=upload.key,
            display_name=upload.asked.display_name,
            mime_type=upload.kind,
            created_at=visit.at,
            content=upload.content,
        )
        self._files[file.name] = file
        body = msgspec.json.encode({"file": _shown(file, visit)})
        return Plan(headers=(*JSON, _status("final")), parts=(Part(body),))

    def store(self, key: str, content: Blob, at: float) -> str:
        """Make a file of results; its name."""
        name = f"files/batch-{self._sandbox.next_number():036x}"
        self._files[name] = File(
            name=name,
            key=key,
            display_name=None,
            mime_type="application/jsonl",
            created_at=at,
            content=content,
            generated=True,
        )
        return name

    def find(self, name: str, visit: Visit) -> File:
        """The visitor's file of that name. Raises Refused."""
        file = self._files.get(name)
        if file is None or file.key != visit.key or visit.at >= file.created_at + KEPT:
            # As Google has it: what is not there and what is another's are not told apart.
            shown = name.removeprefix("files/")
            raise Refused(403, f"You do not have permission to access the File {shown} or it may not exist.")
        return file

    def list(self, visit: Visit) -> Plan:
        """GET files: the newest first."""
        own = [file for file in reversed(self._files.values()) if file.key == visit.key]
        shown = [_shown(file, visit) for file in own if visit.at < file.created_at + KEPT]
        return page("files", shown, visit)

    def show(self, name: str, visit: Visit) -> Plan:
        """GET files/{id}."""
        return answer(_shown(self.find(name, visit), visit))

    def download(self, name: str, visit: Visit) -> Plan:
        """GET files/{id}:download?alt=media."""
        file = self.find(name, visit)
        if not file.generated:
            raise Refused(400, f"The file {name} was uploaded and cannot be downloaded.")
        if b"alt=media" not in visit.query.split(b"&"):
            raise Refused(400, "The sandbox downloads media only: ask with ?alt=media.")
        return Plan(headers=LINES, parts=Blocks(file.content))

    def delete(self, name: str, visit: Visit) -> Plan:
        """DELETE files/{id}."""
        self.find(name, visit)
        if len(name.removeprefix("files/")) > LONGEST_NAME:
            message = (
                "* DeleteFileRequest.name: File ID (name excluding the 'files/' prefix) cannot exceed 40 characters"
            )
            raise Refused(400, message)
        del self._files[name]
        return answer({})


def page(field: str, shown: list[dict[str, Any]], visit: Visit) -> Plan:
    """A page of a list; the token is the place where the next one begins. Raises Refused."""
    try:
        wanted = msgspec.convert(dict(parse_qsl(visit.query.decode())), Listing, strict=False)
        start = int(wanted.page_token or "0")
    except (msgspec.ValidationError, ValueError) as error:
        raise Refused(400, f"Request contains an invalid argument: {error}") from error
    end = start + wanted.page_size
    more = {"nextPageToken": str(end)} if end < len(shown) else {}
    return answer({field: shown[start:end], **more} if shown[start:end] else more)


def answer(value: object) -> Plan:
    """A JSON answer."""
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(value)),))


def instant(at: float) -> str:
    """As Google writes times."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _whole(visit: Visit) -> bytes:
    return b"".join(visit.bulk.blocks()) if visit.bulk is not None else visit.body


def _status(word: str) -> tuple[bytes, bytes]:
    return b"x-goog-upload-status", word.encode()


def _shown(file: File, visit: Visit) -> dict[str, Any]:
    version = visit.path.removeprefix("/upload").split("/")[1]
    uri = f"http://{visit.header(b'host')}/{visit.provider}/{version}/{file.name}"
    shown = {
        "name": file.name,
        "displayName": file.display_name,
        "mimeType": file.mime_type,
        "sizeBytes": str(file.content.size),
        "createTime": instant(file.created_at),
        "updateTime": instant(file.created_at),
        "expirationTime": instant(file.created_at + KEPT),
        "sha256Hash": _sha256(file.content),
        "uri": uri,
        "downloadUri": f"{uri}:download?alt=media" if file.generated else None,
        "state": "ACTIVE",
        "source": "GENERATED" if file.generated else "UPLOADED",
    }
    return {name: value for name, value in shown.items() if value is not None}


def _sha256(content: Blob) -> str:
    found = hashlib.sha256()
    for block in content.blocks():
        found.update(block)
    return base64.b64encode(found.digest()).decode()
