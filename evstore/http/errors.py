"""What each error means on the wire: one table, and the JSON that Jupyter clients read."""

from __future__ import annotations

import orjson
from aiohttp import web

from evstore import errors

STATUS: dict[type[errors.EvstoreError], int] = {
    errors.NotFound: 404,
    errors.Exists: 409,
    errors.Conflict: 412,
    errors.Invalid: 400,
    errors.Forbidden: 403,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.Busy: 503,
    errors.Full: 507,
    errors.ReadOnly: 503,
    errors.Unavailable: 501,
    errors.DatabaseError: 500,
    errors.Locked: 500,
}


def status_of(error: errors.EvstoreError) -> int:
    """The HTTP status of `error`: its own class's, or that of the nearest class above it."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_response(status: int, message: str, *, reason: str | None = None) -> web.Response:
    """Jupyter's error body: `{"message": ..., "reason": ...}`."""
    return web.Response(
        status=status,
        body=orjson.dumps({"message": message, "reason": reason}),
        content_type="application/json",
    )
