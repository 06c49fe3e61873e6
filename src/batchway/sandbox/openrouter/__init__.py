"""OpenRouter's dialect: OpenAI's direct calls, batches of its own (providers.md §8)."""

from batchway.sandbox.contract import Route
from batchway.sandbox.openai import ID, OpenAI
from batchway.sandbox.openrouter.batches import BATCHES, Batches
from batchway.sandbox.state import Sandbox

STORED = ("/v1/files", BATCHES)
"""Where OpenAI's dialect has files and batches."""


class OpenRouter(OpenAI):
    """One provider that speaks OpenRouter's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        batches = Batches(sandbox)
        self._batches = {
            ("POST", BATCHES): Route("batches.create", batches.create, settled=True),
            ("GET", BATCHES): Route("batches.list", batches.list, settled=True),
            ("GET", f"{BATCHES}/{ID}"): Route("batches.retrieve", batches.show, settled=True),
            ("DELETE", f"{BATCHES}/{ID}"): Route("batches.delete", batches.delete, settled=True),
        }

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path. There are no files, and nothing cancels a batch."""
        if not path.startswith(STORED):
            return super().find(method, path)
        return self._batches.get((method, _without_id(path)))


def _without_id(path: str) -> str:
    return f"{BATCHES}/{ID}" if path.rpartition("/")[0] == BATCHES else path
