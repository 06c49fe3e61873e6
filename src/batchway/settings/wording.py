"""How settings are spoken of: what one accepts, which name was meant, and how much of a value may be shown."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

_KINDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    ByteSize: "a number of bytes, or a size such as 32MiB",
    SecretStr: "text",
    Mapping: "a table of tables",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}

SHORTEST_SHOWN = 16
"""Secrets of fewer characters are masked whole: four of them would be too much to show."""


def describe_allowed(field: FieldInfo) -> str:
    """What a setting accepts, in words: `a whole number, at least 0, at most 65535`."""
    kind = bare_type(field.annotation)
    bounds = [
        f"{words} {_in_unit(limit, kind)}"
        for mark in field.metadata
        for name, words in _BOUNDS.items()
        if (limit := getattr(mark, name, None)) is not None
    ]
    return ", ".join([_describe_kind(kind), *bounds])


def bare_type(annotation: object) -> object:
    """The bare type of a setting: without `| None` and without what is annotated on it."""
    if get_origin(annotation) in (Union, UnionType):
        return bare_type(next(kind for kind in get_args(annotation) if kind is not NoneType))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _describe_kind(kind: object) -> str:
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(arguments)
    if get_origin(kind) is tuple:
        return _describe_list(arguments[0])
    return _KINDS[get_origin(kind) or kind]


def _describe_list(item: object) -> str:
    return "a comma-separated list" + (" of " + ", ".join(get_args(item)) if get_origin(item) is Literal else "")


def _in_unit(limit: float, kind: object) -> str:
    return format_size(int(limit)) if kind is ByteSize else f"{limit:g}"


def format_size(size: int) -> str:
    """Bytes in the largest unit that divides them: `32MiB`, `1000`."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean port?` where a known name is near, else nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def mask_secret(secret: str) -> str:
    """`***` and the last four characters; short secrets whole."""
    return "***" + (secret[-4:] if len(secret) >= SHORTEST_SHOWN else "")


def mask_url(url: str) -> str:
    """A URL without what people hide in one: user, password, query and fragment. What is no URL may be a pasted key."""
    if "://" not in url:
        return mask_secret(url)
    without_user = re.sub(r"^([\w+.-]*://).*@", r"\1***@", url, flags=re.DOTALL)
    return re.sub(r"[?#].*", "?***", without_user, flags=re.DOTALL)
