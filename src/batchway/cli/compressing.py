"""`batchway compress`: what fitting would do to a file, as a diff, with the tokens that each step takes out and why."""

from collections.abc import Iterator, Sequence
from difflib import unified_diff
from pathlib import Path

import msgspec
from msgspec import Struct

from batchway.cli.reading import read_text
from batchway.core.compress import Fitted, Text, fit
from batchway.core.errors import SettingsError
from batchway.core.tokens import DEFAULT_ENCODING
from batchway.data.vocabulary import Vocabularies
from batchway.wire import fitting


class Shown(Struct, frozen=True):
    """What is printed, and whether the prompt can be made to fit."""

    text: str
    fits: bool


def compress(file: str, budget: int, question: str = "") -> Shown:
    """Fit a file into `budget` tokens, and tell what that would change; the file itself is not touched.

    A JSON object with `messages` is taken as the body of a chat; anything else as a document of an earlier turn, with
    `question` as the last one (which the budget does not count).
    """
    if budget < 1:
        raise SettingsError(f"--budget {budget}: give the tokens that the prompt may have, 1 or more.")
    content = read_text(Path(file))
    count = Vocabularies().counter(DEFAULT_ENCODING)
    if _is_chat(content):
        if question:
            raise SettingsError(f"--question: {file} is a chat, which has its own question; leave it out.")
        texts = fitting.texts(content.encode())
        names = [f"{file}: text {at}, {text.role}" for at, text in enumerate(texts)]
    else:
        texts = [Text(role="user", text=content, protected=False, turn=1)]
        names = [file]
        if question:
            texts.append(Text(role="user", text=question, protected=True, turn=2))
            names.append("question")
            budget += count(question)
    fitted = fit(texts, budget, count)
    return Shown("\n".join([*_differences(names, texts, fitted), *_report(names, fitted, budget)]), fitted.fits)


class _Chat(Struct):
    """Enough of a body to know it."""

    messages: list[object]


def _is_chat(content: str) -> bool:
    if not content.lstrip().startswith("{"):
        return False
    try:
        msgspec.json.decode(content, type=_Chat)
    except msgspec.DecodeError:
        return False  # a document that happens to begin with a bracket
    return True


def _differences(names: Sequence[str], texts: Sequence[Text], fitted: Fitted) -> Iterator[str]:
    for name, before, after in zip(names, texts, fitted.texts, strict=True):
        if before.text != after:
            yield from unified_diff(before.text.splitlines(), after.splitlines(), name, f"{name} (fitted)", lineterm="")
            yield ""


def _report(names: Sequence[str], fitted: Fitted, budget: int) -> Iterator[str]:
    if not fitted.fits:
        yield f"Does not fit: {fitted.reason} Nothing would be changed: the request would go as it is."
        return
    yield (
        f"{fitted.tokens_before} tokens before, {fitted.tokens_after} after; the budget is {budget} (counted by"
        f" {DEFAULT_ENCODING})."
    )
    if not fitted.removed:
        yield "It fits as it is: nothing would be changed."
    for removal in fitted.removed:
        yield f"  {removal.step:10}  {removal.tokens:6} tokens  {names[removal.where]}: {removal.reason}"
