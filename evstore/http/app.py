"""The whole HTTP surface on one screen: every route is a line of ROUTES, and nothing is served besides.

A route's path stands below the base URL. GET answers HEAD too; OPTIONS is answered for every
path by the guard (`guard.py`), which also decides who gets in, before a handler runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from aiohttp import web

from evstore.http import checkpoints, contents, files, history, login, misc, static
from evstore.http.auth import DOORMAN
from evstore.http.guard import Guard
from evstore.http.routing import Access, Route
from evstore.http.services import SERVICES, Services
from evstore.http.sockets import SOCKETS, close_sockets

ROUTES: tuple[Route, ...] = (
    # The server itself
    Route("GET", "/", misc.root, Access.PAGE),
    Route("GET", "/api", misc.version, Access.PUBLIC),
    Route("GET", "/api/me", login.me),
    Route("PATCH", "/api/me", login.update_me),
    Route("GET", "/api/nbconvert", misc.exporters),
    Route("POST", "/api/shutdown", misc.shutdown),
    Route("POST", "/api/security/csp-report", misc.csp_report, xsrf=False, activity=False),
    Route("GET", "/api/events/subscribe", misc.events),
    Route("GET", "/lsp/status", misc.language_servers, activity=False),
    Route("GET", "/login", login.login_page, Access.PUBLIC),
    Route("POST", "/login", login.login, Access.PUBLIC, form=True),
    Route("GET", "/logout", login.logout, Access.PUBLIC),
    Route("GET", "/favicon.ico", static.favicon, Access.PUBLIC),
    Route("GET", "/static/{path:.+}", static.own_file, Access.PUBLIC),
    # Contents and checkpoints
    Route("GET", "/api/contents{path:.*}/checkpoints", checkpoints.get),
    Route("POST", "/api/contents{path:.*}/checkpoints", checkpoints.post),
    Route("POST", "/api/contents{path:.*}/checkpoints/{checkpoint:[^/]+}", checkpoints.restore),
    Route("DELETE", "/api/contents{path:.*}/checkpoints/{checkpoint:[^/]+}", checkpoints.delete),
    Route("POST", "/api/contents{path:.*}/trust", contents.trust),
    Route("GET", "/api/contents{path:.*}", contents.get),
    Route("PUT", "/api/contents{path:.*}", contents.put),
    Route("POST", "/api/contents{path:.*}", contents.post),
    Route("PATCH", "/api/contents{path:.*}", contents.patch),
    Route("DELETE", "/api/contents{path:.*}", contents.delete),
    Route("GET", "/files/{path:.*}", files.get, Access.PAGE, referer=True),
    # Time travel
    Route("GET", "/api/history/versions{path:.*}", history.versions),
    Route("GET", "/api/history/diff{path:.*}", history.diff),
    Route("POST", "/api/history/restore{path:.*}", history.restore),
    Route("GET", "/api/history/deleted{path:.*}", history.deleted),
    Route("POST", "/api/history/undelete", history.undelete),
    Route("GET", "/api/history/log", history.log),
    Route("GET", "/api/history/feed", history.feed),
)


def make_app(services: Services, routes: Sequence[Route] = ROUTES) -> web.Application:
    """The application: all of `routes` behind the guard, below the configured base URL."""
    config = services.config
    guard = Guard(services)
    app = web.Application(middlewares=[guard.middleware()], client_max_size=config.max_body_size)
    app.on_response_prepare.append(guard.dress)
    app[SERVICES] = services
    app[DOORMAN] = guard.doorman
    app[SOCKETS] = weakref.WeakSet()
    app.on_shutdown.append(close_sockets)
    for route in routes:
        guard.add(app, route)
    return app
