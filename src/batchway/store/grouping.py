"""Group commit: many operations, one transaction, one fsync; one that fails on its own does not harm its neighbours.

All run together first, without savepoints, since failures are rare. If one fails, the transaction is undone and each
runs again behind a savepoint of its own. So an operation may run twice, and must do nothing but use its connection.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Engine

from batchway.store.failures import as_raised, is_down


class Operation(Struct, frozen=True):
    """Something to do with a connection: `do(connection, *given)`; `each`: `do(connection, items)`, `given` being one
    item, so that the items of many operations become one call."""

    do: Callable[..., Any]
    given: tuple[Any, ...]
    each: bool = False


class Outcome(Struct, frozen=True):
    """What came of an operation: a result, or the error that its asker gets."""

    result: Any = None
    error: Exception | None = None


def commit(engine: Engine, operations: Sequence[Operation]) -> list[Outcome]:
    """Do all in one transaction. Outcomes with a result are on disk when this returns."""
    try:
        with engine.begin() as connection:
            return list(map(Outcome, _together(connection, operations)))
    except Exception as error:  # noqa: BLE001  # Whatever it is, it belongs to those who asked.
        if is_down(error):
            return [Outcome(error=as_raised(error)) for _ in operations]
    try:
        with engine.begin() as connection:
            return [_alone(connection, operation) for operation in operations]
    except Exception as error:  # noqa: BLE001
        return [Outcome(error=as_raised(error)) for _ in operations]


def _together(connection: Connection, operations: Sequence[Operation]) -> list[Any]:
    """The results in order. Operations of one kind are done where the first of them stands."""
    results: list[Any] = [None] * len(operations)
    for (do, each), places in _by_kind(operations).items():
        if not each:
            for place in places:
                results[place] = do(connection, *operations[place].given)
        elif (returned := do(connection, [operations[place].given[0] for place in places])) is not None:
            for place, result in zip(places, returned, strict=True):
                results[place] = result
    return results


def _by_kind(operations: Sequence[Operation]) -> dict[tuple[Callable[..., Any], bool], list[int]]:
    kinds: dict[tuple[Callable[..., Any], bool], list[int]] = defaultdict(list)
    for place, operation in enumerate(operations):
        kinds[operation.do, operation.each].append(place)
    return kinds


def _alone(connection: Connection, operation: Operation) -> Outcome:
    try:
        with connection.begin_nested():
            return Outcome(_together(connection, [operation])[0])
    except Exception as error:
        if is_down(error):
            raise
        return Outcome(error=as_raised(error))
