"""A planner and the time it is told, for the cases."""

from random import Random

from tests.core.histories import CATALOG, counter

from batchway.core import facts
from batchway.core.commands import Call, Command, Reply
from batchway.core.planner import Planner
from batchway.core.policy import Policy
from batchway.core.router import Offers
from batchway.core.tokens import TokenCounts
from batchway.core.types import Answer, Fault, Prompt, Request, Usage

USAGE = Usage(input=1000, output=100)
OVERLOADED = Fault(whose="theirs", status=429, type="t", code="rate_limited", message="slow down", passing=True)
WRONG = Fault(whose="theirs", status=400, type="t", code="bad", message="no")
LOST = Fault(whose="theirs", status=504, type="t", code="timeout", message="?", passing=True, billed="unknown")


class Desk:
    """Tells one planner facts, and keeps the time."""

    def __init__(
        self, policy: Policy | None = None, counts: TokenCounts | None = None, offers: Offers | None = None
    ) -> None:
        self.now = 100.0
        self.planner = Planner(
            policy or Policy(),
            catalog=CATALOG,
            offers={"one": offers or Offers(), "two": Offers()},
            counts=counts or TokenCounts({}),
            ids=counter("call-"),
            dice=Random(1),
        )
        self._ask = counter("ask-")

    def request(self, **given: object) -> Request:
        ask = self._ask()
        prompt = given.pop("prompt", Prompt(model="m1", texts=("hello",), temperature=0))
        fields = {
            "id": ask,
            "ask": ask,
            "tenant": "t",
            "key": "k",
            "caller": "c",
            "provider": "one",
            "endpoint": "chat",
            "body": b"{}",
            "prompt": prompt,
            "fingerprint": "same",
            "asked_at": self.now,
        }
        return Request(**{**fields, **given})  # type: ignore[arg-type]

    def tell(self, fact: facts.Fact, *, after: float = 0.0) -> list[Command]:
        self.now += after
        return self.planner.receive(fact, self.now)

    def ask(self, **given: object) -> list[Command]:
        return self.tell(facts.Asked(self.request(**given)))

    def finish(self, call: Call, answer: Answer | None = None) -> list[Command]:
        return self.tell(facts.Finished(call.call_id, (answer or self.answer(),)))

    def answer(self, **given: object) -> Answer:
        return Answer(**{"body": b"answer", "usage": USAGE, "finished_at": self.now, **given})  # type: ignore[arg-type]


def only(commands: list[Command], kind: type[Command]) -> Command:
    found = [command for command in commands if isinstance(command, kind)]
    assert len(found) == 1, commands
    return found[0]


def call_of(commands: list[Command]) -> Call:
    call = only(commands, Call)
    assert isinstance(call, Call)
    return call


def reply_of(commands: list[Command]) -> Reply:
    reply = only(commands, Reply)
    assert isinstance(reply, Reply)
    return reply
