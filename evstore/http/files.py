"""/files/{path}: a file's bytes as they are, streamed, with ranges; in a sandbox, as they may be hostile."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.utils import formatdate
from urllib.parse import quote

from aiohttp import web

from evstore.core.entry import Entry
from evstore.core.errors import Forbidden
from evstore.http import conditions
from evstore.http.conditions import fleeting
from evstore.http.csp import content_security_policy
from evstore.http.paths import readable
from evstore.http.reply import moment
from evstore.http.services import services

SANDBOX = "sandbox allow-scripts"  # no allow-same-origin: a page from here can't use the user's session
TEN_YEARS = 315_360_000  # seconds
NO_HEADER = re.compile(r'[\x00-\x1f\x7f"\\]')  # what would end a quoted string, or the header
OWN_CHARSET = ("text/html", "text/xml")  # these say in themselves how they are written


async def get(request: web.Request) -> web.StreamResponse:
    """GET, HEAD /files/{path}?download=1&at=&v="""
    app = services(request)
    path = readable(request.match_info["path"])
    entry = (await app.contents.get(path, moment(request))).entry
    if entry.is_directory:
        raise Forbidden(f"{path or '/'} is a directory; /files serves files.")
    headers = _headers(request, entry)
    etag, size = entry.etag, entry.size or 0
    if (status := conditions.refusal(request, etag, entry.modified)) is not None:
        return web.Response(status=status, headers=headers)
    span = conditions.span(request, etag, entry.modified, size)
    if span is None:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    start, stop = span
    partial = (start, stop) != (0, size)
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    if partial:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response.content_length = stop - start
    if request.method == "HEAD":
        await response.prepare(request)
    else:
        await _send(request, response, app.contents.stream(entry, start, stop))
    await response.write_eof()
    return response


async def _send(request: web.Request, response: web.StreamResponse, blocks: AsyncGenerator[bytes]) -> None:
    """Send all of `blocks`. Raises what speaks against it before anything is sent, and breaks off when the file has become shorter."""
    async with aclosing(blocks):
        block = await anext(blocks, b"")
        await response.prepare(request)
        left = response.content_length or 0
        while block:
            await response.write(block)
            left -= len(block)
            block = await anext(blocks, b"")
        if left and request.transport is not None:
            request.transport.abort()  # whoever waits for the rest must not take this for the whole


def sandboxed(base_url: str) -> str:
    """The policy of an answer with a user's bytes in it (S9)."""
    return content_security_policy(base_url, SANDBOX)


def attachment(name: str, *, plain: bool = False) -> str:
    """The Content-Disposition of a download, whatever the characters of its name (RFC 6266).

    `plain`: also for clients that know ASCII only, with a stand-in for every other character.
    """
    escaped = f"filename*=utf-8''{quote(name, safe='')}"
    if not plain:
        return f"attachment; {escaped}"
    stand_in = NO_HEADER.sub("_", name.encode("ascii", "replace").decode())
    return f'attachment; filename="{stand_in}"; {escaped}'


def mimetype_of(name: str) -> str:
    """The Content-Type of a file, as Jupyter has it; text is UTF-8 unless it can say otherwise."""
    if name.lower().endswith(".ipynb"):
        return "application/x-ipynb+json"
    mimetype, encoding = mimetypes.guess_type(name)
    if encoding is not None:  # what the name says is what it would be unpacked (RFC 6713)
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    if mimetype is None:
        return "application/octet-stream"
    is_plain = mimetype.startswith("text/") and mimetype not in OWN_CHARSET
    return f"{mimetype}; charset=UTF-8" if is_plain else mimetype


def _headers(request: web.Request, entry: Entry) -> dict[str, str]:
    # `?v=` is how a page says that it will ask for another address when the file changes
    lasting = "v" in request.query
    headers = {
        "Content-Type": mimetype_of(entry.name),
        "Content-Security-Policy": sandboxed(services(request).config.base_url),
        "Last-Modified": formatdate(entry.modified // 1_000_000, usegmt=True),
        "ETag": f'"{entry.etag}"' if entry.has_strong_etag else f'W/"{entry.etag}{fleeting()}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={TEN_YEARS}" if lasting else "no-cache",
    }
    if request.query.get("download") or entry.name.lower().endswith(".ipynb"):
        headers["Content-Disposition"] = attachment(entry.name)
    return headers
