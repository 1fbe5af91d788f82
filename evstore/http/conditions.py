"""Conditional requests and ranges: what a client has already, and which part it wants (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import NamedTuple

from aiohttp import ETag, web

ANY = "*"
_LAST_NOTHING = re.compile(r"bytes=-0+", re.IGNORECASE)  # the last zero bytes


class Span(NamedTuple):
    """The bytes from `start` to just before `stop`."""

    start: int
    stop: int


def fleeting() -> str:
    """Ends the tag of what may change without getting another one: nobody is told later that it is still the same."""
    return f".{secrets.token_hex(4)}"


def refusal(request: web.Request, etag: str, modified: int) -> int | None:
    """412 or 304 when a precondition says that the body must not be sent, else None.

    `etag` without quotes; `modified` in µs since 1970, of which HTTP knows the seconds. The order is
    that of RFC 9110, 13.2.2; a condition that can't be read does not hold anything up.
    """
    changed = datetime.fromtimestamp(modified // 1_000_000, UTC)
    if request.if_match is not None:
        if not _names(request.if_match, etag, weakly=False):
            return 412
    elif (since := request.if_unmodified_since) is not None and changed > since:
        return 412
    if request.if_none_match is not None:
        return 304 if _names(request.if_none_match, etag, weakly=True) else None
    if (since := request.if_modified_since) is not None and changed <= since:
        return 304
    return None


def _names(tags: tuple[ETag, ...], etag: str, *, weakly: bool) -> bool:
    return any(tag.value == ANY or (tag.value == etag and (weakly or not tag.is_weak)) for tag in tags)


def span(request: web.Request, etag: str, modified: int, size: int) -> Span | None:
    """The bytes asked for of `size`; None when there are no such bytes (416).

    A range that can't be read, several ranges, or one of another version (If-Range) mean the whole
    file, as does the lack of one.
    """
    given = request.headers.get("Range")
    if given is None or not _is_same(request, etag, modified):
        return Span(0, size)
    if _LAST_NOTHING.fullmatch(given.strip()):
        return None
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError:
        return Span(0, size)
    return Span(start, stop) if start < stop else None


def _is_same(request: web.Request, etag: str, modified: int) -> bool:
    """Whether If-Range, a tag or a date, is about the file as it is now. Dates must be equal (13.1.5)."""
    given = request.headers.get("If-Range")
    if given is None or given == f'"{etag}"':
        return True
    when = request.if_range
    return when is not None and when == datetime.fromtimestamp(modified // 1_000_000, UTC)
