"""Reading requests and writing replies, the same way everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

import orjson
from aiohttp import web

from evstore.core.errors import Invalid, TooLarge
from evstore.core.events import Author
from evstore.core.units import MIB
from evstore.http.auth import caller
from evstore.log.log import Moment

MAX_JSON = 4 * MIB  # bytes of a request that carries no file
MAX_DEPTH = 200  # objects and lists in it within each other: Python copies and prints them by recursion
_OFFSET = re.compile(r"-?\d{1,30}", re.ASCII)  # any longer, and Python may refuse to read it


def json_reply(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """`data` as JSON. Datetimes must already be strings."""
    return web.Response(
        status=status, body=orjson.dumps(data), content_type="application/json", headers=headers
    )


def no_content(headers: dict[str, str] | None = None) -> web.Response:
    """204: done, and there is nothing to say."""
    return web.Response(status=204, headers=headers)


async def json_object(
    request: web.Request, *, required: bool = False, limit: int = MAX_JSON
) -> dict[str, Any]:
    """The request's body as a JSON object; `{}` when it is empty and not `required`.

    Raises Invalid (400) when it is not JSON, or JSON but not an object; TooLarge (413) past `limit` bytes,
    for it is parsed on the event loop.
    """
    raw = await read_at_most(request, limit)
    if not raw.strip():
        if required:
            raise Invalid("The request needs a JSON object as its body.")
        return {}
    try:
        data: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The request's body is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise Invalid("The request's body must be a JSON object.")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and is_deeper(cast(object, data), MAX_DEPTH):
        raise Invalid(f"The request's body has more than {MAX_DEPTH} objects and lists within each other.")
    return cast(dict[str, Any], data)


def is_deeper(data: object, depth: int) -> bool:
    """Whether more than `depth` objects and lists of JSON stand within each other."""
    level = [data]
    for _ in range(depth):
        level = [inner for outer in level for inner in _values(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _values(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value)


async def read_at_most(request: web.Request, limit: int) -> bytes:
    """The request's body, for small ones: raises TooLarge (413) after `limit` bytes."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > limit:
            raise TooLarge(f"The request's body is larger than {limit} bytes.")
    return bytes(body)


def flag(request: web.Request, name: str, *, default: bool) -> bool:
    """The query parameter `name` as `0` or `1`; anything else is Invalid (400)."""
    value = request.query.get(name)
    if value is None:
        return default
    if value not in ("0", "1"):
        raise Invalid(f"{name}={value!r}: must be 0 or 1.")
    return value == "1"


def moment(request: web.Request) -> Moment | None:
    """The query parameter `at`: an offset, or an RFC 3339 time. Raises Invalid for anything else."""
    value = request.query.get("at")
    return None if value is None else parse_moment(value)


def parse_moment(value: str | int) -> Moment:
    """An offset, or an RFC 3339 time with its zone, e.g. `2026-11-22T10:00:00Z`."""
    if isinstance(value, int):
        return value
    text = value.strip()
    if _OFFSET.fullmatch(text):
        return int(text)
    when = parse_time(text.replace(" ", "+"))  # an unescaped + arrives as a space
    if when is None:
        raise Invalid(f"at={text!r:.60} is neither an offset nor a time such as 2026-11-22T10:00:00Z.")
    return when


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time with its zone; None when it is something else."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if when.tzinfo is None else when


def author(request: web.Request) -> Author:
    """On whose behalf this request changes something: all its events carry one command id."""
    return Author.new(caller(request).actor)
