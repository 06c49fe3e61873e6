"""The same request_id with another body: refused, counted as that, and never a request that failed in some lane."""

import asyncio

from sqlalchemy import Connection, select
from tests.batch.lane import Lane
from tests.gate import check_fault, until

from batchway.store import tables


def recorded(connection: Connection) -> list[tuple[str, str, str]]:
    """Every request in the store."""
    columns = tables.requests.c
    return [tuple(row) for row in connection.execute(select(columns.request_id, columns.lane, columns.status))]


async def test_what_was_refused_for_its_id_is_no_failed_request(lane: Lane) -> None:
    """Whether its equal is under way, answered and remembered, or only on disk."""
    gateway = lane.gate.gateway
    assert gateway.storage is not None
    lane.fault("delay", seconds=0.5, endpoint="chat")
    first = asyncio.create_task(lane.ask("mine please", priority="normal", request_id="mine"))
    await until(lane.gate.under_way())
    refused = [await lane.ask("other", priority="normal", request_id="mine")]
    assert (await first).status_code == 200
    refused.append(await lane.ask("other", priority="normal", request_id="mine"))
    gateway.planner.memory.named.clear()
    refused.append(await lane.ask("other", priority="normal", request_id="mine"))
    refused.append(await lane.ask("other", request_id="mine"))
    # Behind all of them: what is recorded is recorded in order.
    assert (await lane.ask("last", priority="normal")).status_code == 200
    await until(lambda: gateway.storage is not None and gateway.storage.database.health().behind_bytes == 0)

    for answer in refused:
        check_fault(answer, 409, "request_id_conflict", "request_id")
    rows = await gateway.storage.database.read(recorded)
    assert [row for row in rows if row[0] == "mine"] == [("mine", "direct", "completed")]
    assert len(rows) == 2, rows
    assert {status for *_, status in rows} == {"completed"}
    shown = (await lane.gate.http.get("/stats")).json()
    assert shown["requests"]["refused"] == 4
