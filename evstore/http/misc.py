"""The small endpoints that are about the server itself."""

from __future__ import annotations

import logging
from importlib.metadata import version as version_of

from aiohttp import web

from evstore.http.redirect import redirect
from evstore.http.reply import json_reply, read_at_most
from evstore.http.scrub import scrub
from evstore.http.services import services
from evstore.lab.apps import APPS

logger = logging.getLogger(__name__)

VERSION = version_of("evstore")
MAX_REPORT = 16 * 1024  # bytes of a CSP report


async def version(request: web.Request) -> web.Response:
    """GET /api: the version and nothing more, for anybody who asks."""
    return json_reply({"version": VERSION})


async def root(request: web.Request) -> web.Response:
    """GET /: the front end that the server was started with."""
    config = services(request).config
    return redirect(config.url(APPS[config.app].start))


async def shutdown(request: web.Request) -> web.Response:
    """POST /api/shutdown: the server stops, after this answer."""
    services(request).stop.set()
    return web.Response()


async def csp_report(request: web.Request) -> web.Response:
    """POST /api/security/csp-report: what a browser blocked, into the log on one line (S11)."""
    report = await read_at_most(request, MAX_REPORT)
    logger.warning("Content security violation: %s", ascii(scrub(report.decode(errors="replace"))))
    return web.Response()


async def language_servers(request: web.Request) -> web.Response:
    """GET /lsp/status: JupyterLab asks which language servers run; none do."""
    return json_reply({"version": 2, "sessions": {}, "specs": {}})
