"""What the pretended model says to a question: to a packed prompt what it would say to each item alone, unless a fault
has it go wrong. All dialects ask here."""

from collections.abc import Callable

from msgspec import structs

from batchway.sandbox import packed
from batchway.sandbox.contract import Visit
from batchway.sandbox.faults import misbehaviour
from batchway.sandbox.model import Question, Said, answer, limited
from batchway.sandbox.state import Sandbox


def say(
    question: Question, alone: Callable[[str], Question] | None, visit: Visit, sandbox: Sandbox
) -> tuple[Said, ...]:
    """One `Said` per choice, and one for all items of a packed prompt. `alone`: the question with this text as its last
    message; None: its last message is not a user's."""
    together = packed.understand(question.prompt) if alone is not None else None
    if together is None or alone is None:
        return answer(question, visit.number, sandbox.words, sandbox.count)
    answers = [packed.Item(item.id, _say_alone(alone(item.text), visit.number, sandbox)) for item in together.items]
    how = misbehaviour(visit.faults)
    if how is None:
        return (limited(packed.say(together.shape, answers), question, sandbox.count),)
    text, cut = packed.misbehave(how, together.shape, answers, visit.request_id)
    said = limited(text, question, sandbox.count)
    return (structs.replace(said, cut=said.cut or cut),)


def _say_alone(question: Question, number: int, sandbox: Sandbox) -> str:
    return answer(structs.replace(question, limit=None), number, sandbox.words, sandbox.count)[0].text
