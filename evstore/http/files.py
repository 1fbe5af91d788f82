"""/files/{path}: a file's bytes as they are, streamed, with ranges; in a sandbox, as they may be hostile."""

from __future__ import annotations

import mimetypes
from email.utils import formatdate
from urllib.parse import quote

from aiohttp import web

from evstore.entry import Entry
from evstore.errors import Invalid
from evstore.http.paths import readable
from evstore.http.policy import content_security_policy
from evstore.http.reply import moment
from evstore.http.services import services

SANDBOX = "sandbox allow-scripts"  # no allow-same-origin: a page from here can't use the user's session


async def get(request: web.Request) -> web.StreamResponse:
    """GET, HEAD /files/{path}?download=1&at="""
    app = services(request)
    path = readable(request.match_info["path"])
    entry = (await app.contents.get(path, moment(request))).entry
    if entry.is_directory:
        raise Invalid(f"{path or '/'} is a directory; /files serves files.")
    headers = _headers(entry, app.config.base_url, download="download" in request.query)
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    size = entry.size or 0
    span = _range(request, headers["ETag"], size)
    if span is None:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    start, stop = span
    partial = (start, stop) != (0, size)
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    if partial:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response.content_length = stop - start
    await response.prepare(request)
    if request.method != "HEAD":
        async for block in app.store.stream(entry.digest, start, stop):
            await response.write(block)
    await response.write_eof()
    return response


def _headers(entry: Entry, base_url: str, *, download: bool) -> dict[str, str]:
    mimetype, encoding = mimetypes.guess_type(entry.name)
    if entry.name.endswith(".ipynb"):
        mimetype, download = "application/x-ipynb+json", True
    elif encoding == "gzip":
        mimetype = "application/gzip"
    elif mimetype is None:
        mimetype = "application/octet-stream"
    elif mimetype == "text/plain":
        mimetype = "text/plain; charset=UTF-8"
    headers = {
        "Content-Type": mimetype,
        "Content-Security-Policy": content_security_policy(base_url, SANDBOX),
        "Last-Modified": formatdate(entry.modified / 1_000_000, usegmt=True),
        "ETag": f'"{entry.digest.hex() if entry.digest else ""}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
    }
    if download:
        headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(entry.name, safe='')}"
    return headers


def _range(request: web.Request, etag: str, size: int) -> tuple[int, int] | None:
    """The bytes asked for, from start to just before stop; None when there are no such bytes.

    A range that can't be read, several ranges, or one for another version (If-Range) mean the
    whole file (RFC 9110, 14.2).
    """
    if "Range" not in request.headers or request.headers.get("If-Range", etag) != etag:
        return 0, size
    try:
        asked = request.http_range
    except ValueError:
        return 0, size
    start, stop, _ = asked.indices(size)
    if asked.start is not None and asked.start < 0 and size == 0:
        return None
    return (start, stop) if start < stop else None
