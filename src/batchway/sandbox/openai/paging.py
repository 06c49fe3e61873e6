"""Lists by the page: query parameters in, `{"object": "list", data, first_id, last_id, has_more}` out."""

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.openai.reading import explain

T = TypeVar("T")


def query(visit: Visit, shape: type[T]) -> T:
    """The query parameters as a struct; unknown ones are let pass. Raises Refused."""
    try:
        return msgspec.convert(dict(parse_qsl(visit.query.decode())), shape, strict=False)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise explain(str(error)) from error


def page(rows: Sequence[dict[str, Any]], after: str | None, limit: int) -> Plan:
    """At most `limit` rows, those that come after the one with the id `after`. Raises Refused if there is none."""
    ids = [row["id"] for row in rows]
    if after is not None and after not in ids:
        raise Refused(400, f"Invalid value for 'after': no object with the id '{after}'.", param="after")
    start = 0 if after is None else ids.index(after) + 1
    data = rows[start : start + limit]
    return answer(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": start + limit < len(rows),
        }
    )


def answer(value: object, status: int = 200) -> Plan:
    """A JSON answer."""
    return Plan(status=status, headers=JSON, parts=(Part(msgspec.json.encode(value)),))
