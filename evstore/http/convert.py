"""/nbconvert: notebooks as other formats. What comes out may be hostile, so it stands in a sandbox like any file."""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import quote

from aiohttp import web

from evstore.http.cancel_on_disconnect import cancel_on_disconnect
from evstore.http.files import attachment, sandboxed
from evstore.http.paths import readable
from evstore.http.pictures import Attachments
from evstore.http.redirect import redirect
from evstore.http.reply import json_reply, moment
from evstore.http.save_request import read_body
from evstore.http.services import SERVICES, services
from evstore.processes.convert.jobs import Converted, Job

NOT_KEPT = "no-store, no-cache, must-revalidate, max-age=0"


async def exporters(request: web.Request) -> web.Response:
    """GET /api/nbconvert: the formats that a notebook can be converted to, for JupyterLab's menu."""
    found = await services(request).converter.exporters()
    return json_reply({name: {"output_mimetype": mimetype} for name, mimetype in found.items()})


async def get(request: web.Request) -> web.Response:
    """GET /nbconvert/{format}/{path}?download=true&sanitize_html=true&at="""
    app = services(request)
    path, at = readable(request.match_info["path"]), moment(request)
    format = request.match_info["format"]
    entry = (await app.contents.get(path, at)).entry
    if entry.is_directory or not entry.name.endswith(".ipynb"):
        # An exported page refers to what lies beside its notebook, and so asks for it here.
        there = app.config.url(f"{'tree' if entry.is_directory else 'files'}/{quote(path, safe='/~')}")
        query = request.rel_url.raw_query_string
        return redirect(f"{there}?{query}" if query else there)
    job = Job(
        format=format,
        body=(await app.contents.read(entry))[1],
        name=entry.name,
        modified=entry.modified,
        sanitize=_sanitize(request) if format == "html" else None,
    )
    beside = Attachments(app, path.parent, at)
    converted = await cancel_on_disconnect(request, app.converter.convert(job, beside.find))
    download = request.query.get("download", "").lower() in ("true", "1")
    response = render(request, converted, download=download)
    response.headers["Last-Modified"] = formatdate(entry.modified / 1_000_000, usegmt=True)
    return response


async def post(request: web.Request) -> web.Response:
    """POST /nbconvert/{format} {"name": ..., "content": notebook}: convert what need not be saved."""
    app = services(request)
    body = bytes(await read_body(request, app.config.max_body_size))
    job = Job(format=request.match_info["format"], body=body, posted=True)
    converted = await cancel_on_disconnect(request, app.converter.convert(job))
    return render(request, converted, download=False)


def render(request: web.Request, converted: Converted, *, download: bool) -> web.Response:
    """The answer with what has been converted; several files come as an archive, which is always a download."""
    headers = {
        "Content-Type": converted.mimetype + ("; charset=utf-8" if converted.is_text else ""),
        "Content-Security-Policy": sandboxed(services(request).config.base_url),
        "Cache-Control": NOT_KEPT,
    }
    if download or converted.is_archive:
        headers["Content-Disposition"] = attachment(converted.filename)
    return web.Response(body=converted.body, headers=headers)


def _sanitize(request: web.Request) -> bool | None:
    value = request.query.get("sanitize_html")
    return None if value is None else value.lower() == "true"


async def close(app: web.Application) -> None:
    """The server stops: no process goes on converting for clients that are sent away."""
    await app[SERVICES].converter.close()
