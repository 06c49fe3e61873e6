"""xAI's dialect: OpenAI's direct calls, files and batches of its own (providers.md §6)."""

import re

from batchway.sandbox.contract import Route
from batchway.sandbox.openai import ID, OpenAI
from batchway.sandbox.openai.files import CONTENT, FILES
from batchway.sandbox.state import Sandbox
from batchway.sandbox.xai.batches import BATCHES, CANCEL, RESULTS, Batches
from batchway.sandbox.xai.files import Files

_ID = re.compile(rf"^({FILES}|{BATCHES})/[^/:]+")


class XAI(OpenAI):
    """One provider that speaks xAI's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._stored = _batch_routes(sandbox)

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path."""
        if path.startswith((FILES, BATCHES)):
            return self._stored.get((method, _ID.sub(rf"\1/{ID}", path)))
        return super().find(method, path)


def _batch_routes(sandbox: Sandbox) -> dict[tuple[str, str], Route]:
    """Files and batches, with state of their own."""
    files = Files(sandbox)
    batches = Batches(sandbox, files)
    one_file, one_batch = f"{FILES}/{ID}", f"{BATCHES}/{ID}"
    return {
        ("POST", FILES): Route("files.create", files.upload, bulky=True, settled=True),
        ("GET", FILES): Route("files.list", files.list, settled=True),
        ("GET", one_file): Route("files.retrieve", files.show, settled=True),
        ("DELETE", one_file): Route("files.delete", files.delete, settled=True),
        ("GET", one_file + CONTENT): Route("files.content", files.content, settled=True),
        ("POST", BATCHES): Route("batches.create", batches.create, settled=True),
        ("GET", BATCHES): Route("batches.list", batches.list, settled=True),
        ("GET", one_batch): Route("batches.retrieve", batches.show, settled=True),
        ("POST", one_batch + CANCEL): Route("batches.cancel", batches.cancel, settled=True),
        ("GET", one_batch + RESULTS): Route("batches.results", batches.results, settled=True),
    }
