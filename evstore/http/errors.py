"""What each error means on the wire: one table, and the JSON that Jupyter clients read."""

from __future__ import annotations

import orjson
from aiohttp import web

from evstore.core import errors
from evstore.worktree.disk import errors as disk

STATUS: dict[type[errors.EvstoreError], int] = {
    errors.NotFound: 404,
    errors.Exists: 409,
    errors.Conflict: 412,
    errors.Invalid: 400,
    errors.Unprocessable: 422,
    errors.Forbidden: 403,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.Busy: 503,
    errors.Full: 507,
    errors.ReadOnly: 503,
    errors.Unavailable: 501,
    errors.NotInstalled: 503,
    errors.Stopping: 503,
    errors.CannotRestart: 500,  # as in jupyter_server
    errors.CannotStartAtGateway: 503,
    errors.GatewayError: 502,
    errors.GatewayAway: 503,
    errors.DatabaseError: 500,
    errors.Locked: 500,
    disk.FolderGone: 503,
    disk.Unreadable: 403,
    disk.NotVersioned: 409,
    disk.Occupied: 409,
    disk.Changed: 409,
    disk.FolderFailed: 500,
    disk.OtherDisk: 422,
    disk.FolderFull: 507,
    disk.FolderReadOnly: 403,
}


HEADERS: dict[type[errors.EvstoreError], dict[str, str]] = {errors.Busy: {"Retry-After": "1"}}


def status_of(error: errors.EvstoreError) -> int:
    """The HTTP status of `error`: its own class's, or that of the nearest class above it."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def error_response(status: int, message: str, *, reason: str | None = None) -> web.Response:
    """Jupyter's error body: `{"message": ..., "reason": ...}`."""
    return web.Response(
        status=status,
        body=orjson.dumps({"message": message, "reason": reason}),
        content_type="application/json",
    )


def response_to(error: errors.EvstoreError) -> web.Response:
    """The answer to a request that ended in `error`."""
    response = error_response(status_of(error), error.message, reason=error.reason)
    if isinstance(error, errors.CannotStart):
        response.body = orjson.dumps({"message": error.message, "short_message": error.short_message})
    response.headers.update(HEADERS.get(type(error), {}))
    return response


def http_error_response(error: web.HTTPException, max_body: int) -> web.Response:
    """aiohttp's own errors, as sentences."""
    match error:
        case web.HTTPNotFound():
            return error_response(404, "There is nothing at this address.")
        case web.HTTPMethodNotAllowed(method=method, allowed_methods=allowed):
            verbs = ", ".join(sorted(allowed))
            response = error_response(405, f"{method} is not possible here; possible: {verbs}.")
            response.headers["Allow"] = verbs
            return response
        case web.HTTPRequestEntityTooLarge():
            return error_response(413, f"The request's body is larger than {max_body} bytes.")
        case _:
            response = error_response(error.status, error.reason)
            if (span := error.headers.get("Content-Range")) is not None:
                response.headers["Content-Range"] = span
            return response
