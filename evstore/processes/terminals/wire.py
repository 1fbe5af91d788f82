"""What goes over a terminal's websocket: JSON arrays, the first member says what it is. Pure.

The protocol is terminado's, and its only description is that code (terminado/websocket.py).
Server: `["setup", {}]` first, then `["stdout", text]`, and `["disconnect", 1]` when the shell has ended.
Client: `["stdin", text]` and `["set_size", rows, columns, height, width]`; the last two are pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import orjson

from evstore.core.errors import Invalid

SETUP = b'["setup",{}]'
DISCONNECT = b'["disconnect",1]'
LARGEST = 10_000  # rows or columns; terminado takes larger ones for a mistake, too


@dataclass(frozen=True, slots=True)
class Typed:
    """Input for the shell."""

    text: str


@dataclass(frozen=True, slots=True)
class Resized:
    """How much one client can show, in characters."""

    rows: int
    columns: int


def stdout(text: str) -> bytes:
    """The frame for a piece of output."""
    return orjson.dumps(["stdout", text])


def parse(frame: str | bytes) -> Typed | Resized | None:
    """What the client says; None for what means nothing here: other verbs, sizes that can't be.

    Raises Invalid for what is no such array.
    """
    try:
        data: object = orjson.loads(frame)
    except orjson.JSONDecodeError:
        raise Invalid("A terminal's frames are JSON.") from None
    if not isinstance(data, list) or not data:
        raise Invalid("A terminal's frames are JSON arrays that begin with a verb.")
    verb, *rest = cast("list[Any]", data)
    match verb, rest:
        case "stdin", [str(text), *_]:
            return Typed(text)
        case "stdin", _:
            raise Invalid("What is typed into a terminal is a string.")
        case "set_size", [rows, columns, *_]:
            return Resized(rows, columns) if _is_size(rows) and _is_size(columns) else None
        case str(), _:
            return None
        case _:
            raise Invalid("A terminal's frames are JSON arrays that begin with a verb.")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST
