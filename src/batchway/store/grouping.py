"""Group commit: many operations, one transaction, one fsync; one that fails on its own does not harm its neighbours.

All run together first, without savepoints, since failures are rare. If one fails, the transaction is undone and each
runs again behind a savepoint of its own. So an operation may run twice, and must do nothing but use its connection.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice, repeat
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Engine

from batchway.store.failures import as_raised, is_down


class Operation(Struct, frozen=True):
    """Something to do with a connection: `do(connection, *given)`; `each`: `do(connection, items)`, `given` being some
    items, so that the items of many operations become one call."""

    do: Callable[..., Any]
    given: tuple[Any, ...]
    each: bool = False

    @property
    def parts(self) -> int:
        """How many of it may fail alone: its items, or all of it."""
        return len(self.given) if self.each else 1


class Outcome(Struct, frozen=True, gc=False):
    """What came of a part of an operation: a result, or the error that its asker gets."""

    result: Any = None
    error: Exception | None = None


Outcomes = list[Outcome]
"""Of one operation, for each of its parts."""


def commit(engine: Engine, operations: Sequence[Operation]) -> list[Outcomes]:
    """Do all in one transaction. Outcomes with a result are on disk when this returns."""
    try:
        with engine.begin() as connection:
            return _together(connection, operations)
    except Exception as error:  # noqa: BLE001  # Whatever it is, it belongs to those who asked.
        if is_down(error):
            return _failed(operations, error)
    try:
        with engine.begin() as connection:
            return [[_alone(connection, part) for part in _parts(operation)] for operation in operations]
    except Exception as error:  # noqa: BLE001
        return _failed(operations, error)


def _failed(operations: Sequence[Operation], error: Exception) -> list[Outcomes]:
    return [[Outcome(error=as_raised(error))] * operation.parts for operation in operations]


def _together(connection: Connection, operations: Sequence[Operation]) -> list[Outcomes]:
    """The outcomes in order. Operations of one kind are done where the first of them stands."""
    outcomes: list[Outcomes] = [[] for _ in operations]
    for (do, each), places in _by_kind(operations).items():
        if not each:
            for place in places:
                outcomes[place] = [Outcome(do(connection, *operations[place].given))]
            continue
        items = [item for place in places for item in operations[place].given]
        results = iter(do(connection, items) or repeat(None))
        for place in places:
            outcomes[place] = list(map(Outcome, islice(results, operations[place].parts)))
    return outcomes


def _by_kind(operations: Sequence[Operation]) -> dict[tuple[Callable[..., Any], bool], list[int]]:
    kinds: dict[tuple[Callable[..., Any], bool], list[int]] = defaultdict(list)
    for place, operation in enumerate(operations):
        kinds[operation.do, operation.each].append(place)
    return kinds


def _parts(operation: Operation) -> list[Operation]:
    if not operation.each:
        return [operation]
    return [Operation(operation.do, (item,), each=True) for item in operation.given]


def _alone(connection: Connection, part: Operation) -> Outcome:
    try:
        with connection.begin_nested():
            return _together(connection, [part])[0][0]
    except Exception as error:
        if is_down(error):
            raise
        return Outcome(error=as_raised(error))
